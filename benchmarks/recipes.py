"""Trains a recipe with several seeds, as a user would, and keeps the results.

    python benchmarks/recipes.py fast --seeds 0 1 2 3 4
    python benchmarks/recipes.py accurate --dataset idx:/usr/share/datasets/fashion-mnist --seeds 0 1 2

Each training run becomes a file in results/recipes, such as fast-mnist-0.json, with its command, where and how long it
ran, its test accuracy, densities and synaptic operations. Existing files are skipped. The test images weren't used for
any choice: recipes were chosen on 5,000 held-out training images (results/recipes/tried.jsonl).
`python benchmarks/results.py` makes tables and charts from all files.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax import data, machine
from csnn_jax.config import Config
from csnn_jax.engine import process
from csnn_jax.evaluate import by_bits
from csnn_jax.recipes import RECIPES
from csnn_jax.runs import footprint, layouts, rundir
from csnn_jax.runs.footprint import Activity
from csnn_jax.trained import Trained

FOLDER = Path("results/recipes")
NAMES = {"mnist": "mnist", "idx:/usr/share/datasets/fashion-mnist": "fashion"}
"""The data sets, and their names in file names."""
BESIDE = {"idx:/usr/share/datasets/fashion-mnist": ("--flip", "--augment", "1", "5", "0.05")}
"""Additional flags for a data set: clothes may be mirrored, and are shifted less than digits."""
COUNTED = 1000
"""Number of test images, evenly spaced, for counting synaptic operations."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--dataset", choices=NAMES, default="mnist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        path = FOLDER / f"{options.recipe}-{NAMES[options.dataset]}-{seed}.json"
        if not path.exists():
            result = trained(options.recipe, options.dataset, seed)
            path.write_text(json.dumps(result, indent=1) + "\n")
            print(f"{path}: {result['accuracy']:.2%} in {result['seconds'] / 60:.1f} minutes", flush=True)


def trained(recipe: str, dataset: str, seed: int, more: Sequence[str] = ()) -> dict[str, Any]:
    """Trains with a recipe; `more` flags can shorten the training run."""
    flags = ["--recipe", recipe, "--seed", str(seed), *more]
    if dataset != "mnist":
        flags += ["--dataset", dataset, *BESIDE.get(dataset, ())]
    return measured(flags, recipe=recipe, dataset=NAMES[dataset], seed=seed)


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
    images = data.load_for(config)
    model = Trained(config, tensors)
    result = model.evaluate(images.test)
    operations = footprint.numbers(config.model, tensors, activity(model, config, images.test.images))
    return {
        "command": " ".join(["python -m csnn_jax.train", *flags]),
        "commit": machine.commit(),
        **machine.describe(),
        **about,
        "seconds": round(seconds, 1),
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
