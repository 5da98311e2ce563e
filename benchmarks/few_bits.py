"""Trains networks with several weight widths and seeds, and keeps the results.

    python benchmarks/few_bits.py fast --seeds 0 1 2
    python benchmarks/few_bits.py fashion --seeds 0 1 2
    python benchmarks/few_bits.py saccades --bits 8 4 --seeds 0 1 2

Each training run becomes a file in results/bits, such as fast-4-0.json; existing ones are skipped. Full-precision
networks are also rounded to 2 to 8 bits without further training; on `saccades`, real_events.py trains and rounds
those. Then `python benchmarks/results.py` makes the table and the chart.
"""

import argparse
import json
from itertools import product
from pathlib import Path

import recipes

FOLDER = Path("results/bits")
FASHION = "idx:/usr/share/datasets/fashion-mnist"
JOBS = {
    "fast": ("--recipe", "fast", "--loss", "ce_rate", "--lr", "0.005", "--epochs", "14"),  # as it was at first
    "fashion": (*recipes.flags_of("accurate", FASHION), "--epochs", "10"),
    "saccades": ("--recipe", "events"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="+", choices=JOBS)
    parser.add_argument("--bits", nargs="+", default=["full", "8", "4", "3", "2"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed, job, bits in product(options.seeds, options.jobs, options.bits):
        path = FOLDER / f"{job}-{bits}-{seed}.json"
        if path.exists():
            continue
        flags = [*JOBS[job], "--seed", str(seed), *(() if bits == "full" else ("--weight-bits", bits))]
        result = recipes.measured(flags, rounded=bits == "full", job=job, bits=bits, seed=seed)
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{path}: {result['accuracy']:.2%} in {result['seconds'] / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
