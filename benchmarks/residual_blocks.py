"""Trains a residual network on Fashion-MNIST with and without batch normalization, and keeps the results.

    python benchmarks/residual_blocks.py --networks plain residual batch_norm --seeds 0 1 2

Each training run becomes a file in results/residual_blocks, such as residual-10-0.json (10 epochs, seed 0), with its
accuracy on 5,000 held-out training images and on the test images; existing files are skipped. `plain` is the network of
the recipe `accurate`. All have at most 1.7 million parameters and the recipe's settings, with fewer epochs.
"""

import argparse
import json
from itertools import product

import recipes

FOLDER = recipes.ROOT / "results/residual_blocks"
RESIDUAL = ("--conv-channels", "32", "64", "128", "--hidden", "300", "--residual", "conv3")
NETWORKS = {
    "plain": (),
    "residual": RESIDUAL,
    "batch_norm": (*RESIDUAL, "--batch-norm"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    job = [*recipes.flags_of("accurate", "idx:/usr/share/datasets/fashion-mnist"), "--validation", "5000"]
    for seed, network in product(options.seeds, options.networks):
        path = FOLDER / f"{network}-{options.epochs}-{seed}.json"
        if not path.exists():
            flags = [*job, *NETWORKS[network], "--epochs", str(options.epochs), "--seed", str(seed)]
            result = recipes.measured(flags, network=network, seed=seed)
            path.write_text(json.dumps(result, indent=1) + "\n")
            print(f"{path}: {result['validation_accuracy']:.2%} in {result['seconds'] / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
