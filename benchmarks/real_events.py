"""Tests networks on a real event camera after training on the simulated one, on real recordings, or on both.

    python benchmarks/real_events.py N-MNIST --seeds 0 1 2 --runs /tmp/runs

N-MNIST is its folder, see `benchmarks/camera.py`; all networks are tested on its second half. There are three training
runs per seed, each a file in results/real_events: on `saccades` alone; the same, fine-tuned on the 500 recordings that
set the simulator's constants; and on these 500 alone. Finished runs aren't repeated, and --runs keeps the first one for
fine-tuning. The numbers of epochs were chosen on 100 of the 500 recordings.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import camera
import recipes

import csnn_jax
from csnn_jax import data

FOLDER = Path("results/real_events")
SIMULATED = ("--recipe", "events")
TUNED = ("--recipe", "events", "--epochs", "10", "--lr", "0.001", "--schedule", "cosine")
ALONE = ("--recipe", "events", "--epochs", "120")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nmnist", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, required=True, help="folder for the runs on saccades")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        real = laid_out(options.nmnist, Path(folder))
        for seed in options.seeds:
            first = options.runs / f"saccades-{seed}"
            tuned, alone = (*TUNED, "--init-from", str(first), *real), (*ALONE, *real)
            for name, flags, keep in (("saccades", SIMULATED, first), ("tuned", tuned, None), ("alone", alone, None)):
                path = FOLDER / f"{name}-{seed}.json"
                if not path.exists():
                    result = trained([*flags, "--seed", str(seed)], name, seed, keep, real[1])
                    for place, known in ((folder, "REAL"), (str(options.runs), "RUNS")):
                        result["command"] = result["command"].replace(place, known)
                    path.write_text(json.dumps(result, indent=1) + "\n")
                    print(f"{path}: {result['real']:.2%}", flush=True)


def laid_out(nmnist: Path, folder: Path) -> tuple[str, str]:
    """Flags for the real recordings; links the first half as training data and the second as test data."""
    for part, paths in zip(("train", "test"), camera.split(nmnist), strict=True):
        for path in paths:
            link = folder / part / path.parent.name / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
    return "--dataset", f"events:{folder}"


def trained(flags: list[str], name: str, seed: int, keep: Path | None, real: str) -> dict[str, Any]:
    """The result of `recipes.measured`, and on the other real recordings the accuracy `real` and `real_density`."""
    about = {"recipe": "events", "dataset": name, "job": name, "bits": "full", "seed": seed}
    if name == "saccades":
        about["updates"] = recipes.first_updates(SIMULATED)
    result = recipes.measured(flags, rounded=keep is not None, keep=keep, **about)
    if keep is None:
        return result | {"real": result["accuracy"], "real_density": result["density"]}
    model = csnn_jax.load(str(keep))
    tested = model.evaluate(data.load_for(model.config, real).test)
    density = {layer: round(share, 4) for layer, share in tested.densities.items()}
    return result | {"real": tested.accuracy, "real_density": density}


if __name__ == "__main__":
    main()
