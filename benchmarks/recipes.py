"""Trains a recipe, or the default job, with several seeds, as a user would, and keeps the results.

    python benchmarks/recipes.py fast --seeds 0 1 2 3 4
    python benchmarks/recipes.py accurate --dataset idx:/usr/share/datasets/fashion-mnist --seeds 0 1 2
    python benchmarks/recipes.py --updates          # rewrite updates.json
    python benchmarks/recipes.py --check            # list results that the current version wouldn't repeat

Each training run becomes a file in results/recipes, such as fast-mnist-0.json, with its command, where and how long it
ran, its test accuracy, densities and synaptic operations. Existing files are skipped. The test images weren't used for
any choice: recipes were chosen on 5,000 held-out training images (results/recipes/tried.jsonl).
`python benchmarks/results.py` makes tables and charts from all files.

Each file also has the digest of the parameters after its recipe's first ten updates with seed 0; updates.json has those
of the current version. A result whose digest differs was trained by a version that computed something else.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial, reduce
from itertools import islice
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax import data, machine
from csnn_jax.config import Config
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.engine import process
from csnn_jax.evaluate import by_bits
from csnn_jax.flags import parse_train
from csnn_jax.recipes import RECIPES
from csnn_jax.runs import footprint, layouts, rundir
from csnn_jax.runs.footprint import Activity
from csnn_jax.trained import Trained
from csnn_jax.training.feed import Feed
from csnn_jax.training.prepare import prepare
from csnn_jax.update.trainer import Trainer

ROOT = Path(__file__).parent.parent
FOLDER, REAL = ROOT / "results/recipes", ROOT / "results/real_events"
UPDATES = FOLDER / "updates.json"
JOBS = {"default": (), **{name: ("--recipe", name) for name in RECIPES}}
"""The flags of each recipe, and of the default job."""
NAMES = {"mnist": "mnist", "idx:/usr/share/datasets/fashion-mnist": "fashion"}
"""The data sets, and their names in file names."""
BESIDE = {"idx:/usr/share/datasets/fashion-mnist": ("--flip", "--augment", "1", "5", "0.05")}
"""Additional flags for a data set: clothes may be mirrored, and are shifted less than digits."""
COUNTED = 1000
"""Number of test images, evenly spaced, for counting synaptic operations."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=JOBS, nargs="?")
    parser.add_argument("--dataset", choices=NAMES, default="mnist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--updates", action="store_true", help="record the digests of the current version")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a digest isn't the current version's")
    options = parser.parse_args()
    if options.updates or options.check:
        current = current_updates()
        if options.updates:
            UPDATES.write_text(json.dumps(current, indent=1) + "\n")
        elif others := outdated(current):
            sys.exit(f"trained by a version that computes something else: {', '.join(others)}")
        return
    if options.recipe is None:
        parser.error("expected a recipe")
    for seed in options.seeds:
        path = FOLDER / f"{options.recipe}-{NAMES[options.dataset]}-{seed}.json"
        if not path.exists():
            result = trained(options.recipe, options.dataset, seed)
            path.write_text(json.dumps(result, indent=1) + "\n")
            print(f"{path}: {result['accuracy']:.2%} in {result['seconds'] / 60:.1f} minutes", flush=True)


def trained(recipe: str, dataset: str, seed: int, more: Sequence[str] = ()) -> dict[str, Any]:
    """Trains with a recipe; `more` flags can shorten the training run."""
    flags = flags_of(recipe, dataset)
    about = {"recipe": recipe, "dataset": NAMES[dataset], "seed": seed, "updates": first_updates(flags)}
    return measured([*flags, "--seed", str(seed), *more], **about)


def flags_of(recipe: str, dataset: str) -> list[str]:
    """The flags of a recipe for a data set."""
    other = ("--dataset", dataset, *BESIDE.get(dataset, ())) if dataset != "mnist" else ()
    return [*JOBS[recipe], *other]


def recorded() -> list[dict[str, Any]]:
    """The results of all recipes and of the default job."""
    paths = (*FOLDER.glob("*-*-*.json"), *REAL.glob("saccades-*.json"))
    return [json.loads(path.read_text()) for path in sorted(paths)]


def key(result: dict[str, Any]) -> str:
    """The name of a result's recipe and data set, such as `fast-mnist`."""
    return f"{result['recipe']}-{result['dataset']}"


def current_updates() -> dict[str, str]:
    """The digests of the current version, for each recipe and data set with results."""
    datasets = {name: dataset for dataset, name in NAMES.items()}
    jobs = {key(one): (one["recipe"], datasets.get(one["dataset"], "mnist")) for one in recorded()}
    return {name: first_updates(flags_of(*job)) for name, job in jobs.items()}


def outdated(current: dict[str, str]) -> list[str]:
    """The results whose recipe's digest isn't in `current`."""
    return [f"{key(one)}-{one['seed']}" for one in recorded() if one.get("updates") != current[key(one)]]


def first_updates(flags: Sequence[str], number: int = 10) -> str:
    """The digest of a job's parameters after its first updates."""
    parsed = parse_train(JaxFlags, "csnn-train", "", list(flags))
    job = prepare(parsed, partial(Trainer, devices=parsed.devices))
    for batch in islice(Feed(job.config, job.dataset.train, job.trainer.rows).batches(), number):
        job.trainer.step(batch, job.rates[batch.iteration])
    digest = hashlib.sha256()
    for name, value in sorted(job.trainer.snapshot().items()):
        if name.startswith("params"):
            digest.update(np.ascontiguousarray(value))
    return digest.hexdigest()[:16]


def measured(flags: Sequence[str], rounded: bool = False, keep: Path | None = None, **about: Any) -> dict[str, Any]:
    """Trains in a separate process, and times the whole process.

    Args:
        flags: flags of `csnn_jax.train`.
        rounded: whether to also measure accuracies with fewer bits, without further training.
        keep: folder for keeping the run, which must not exist.
        about: additional entries for the result.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = keep or Path(folder) / "run"
        began = time.monotonic()
        command = [sys.executable, "-m", "csnn_jax.train", *flags, "--out", str(run)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        _, config, tensors = rundir.open_run(str(run))
    process.set_up(config.train.dtype)
    images = data.load_for(config, held_out=True)
    model = Trained(config, tensors)
    result = model.evaluate(images.test)
    operations = footprint.numbers(config.model, tensors, activity(model, config, images.test.images))
    return {
        "command": " ".join(["python -m csnn_jax.train", *flags]),
        "commit": machine.commit(),
        **machine.describe(),
        **about,
        "seconds": round(seconds, 1),
        **({"validation_accuracy": model.evaluate(held_out).accuracy} if (held_out := images.validation) else {}),
        "accuracy": result.accuracy,
        "density": {layer: round(share, 4) for layer, share in result.densities.items()},
        "parameters": operations["total"]["parameters"],
        "time_steps": config.model.time_steps,
        "epochs": config.train.epochs,
        "kilobytes": round(layouts.kilobytes(config.model, tensors), 1),
        **({"rounded": by_bits(config, tensors, images.test)} if rounded else {}),
        "synaptic_operations": round(operations["total"]["synaptic_operations_first_layer_once"]),
    }


def activity(model: Trained, config: Config, images: np.ndarray) -> Activity:
    """The activity on some of the images; footprint expects channels first."""
    chosen = images[np.linspace(0, len(images) - 1, COUNTED).astype(int)]
    parts = []
    for start in range(0, COUNTED, 100):
        batch = chosen[start : start + 100]
        spikes = [np.moveaxis(layer, -1, 2) for layer in model.trace(batch).spikes.values()]
        values = batch / np.float32(config.model.pixels.scale)
        x = np.moveaxis(values.swapaxes(0, 1) if values.ndim == 5 else values, -1, -3)
        parts.append(Activity.of(config.model, x, spikes))
    return reduce(add, parts)


if __name__ == "__main__":
    main()
