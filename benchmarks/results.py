"""Writes the tables of accuracies and speed from results into README and the docs, and draws three charts.

python benchmarks/results.py
"""

import argparse
import json
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import bits_tables
import learning_tables
import microcontroller
import peers_tables
import recipes as trainings
import speed_tables
from matplotlib.figure import Figure

from csnn_jax.document.markdown import table
from csnn_jax.document.numbers import two_digits
from csnn_jax.figures.style import BLUE, ORANGE, SKY, new, png, styled
from csnn_jax.figures.style import PAGE as WIDTH
from csnn_jax.flags import job_words
from csnn_jax.recipes import RECIPES

ROOT = Path(__file__).parent.parent
NAMES = ("results", "learning", "events", "speed", "deploy", "deploy/microcontroller", "coming-from-snntorch", "python")
PAGES = (ROOT / "README.md", *(ROOT / f"docs/{name}.md" for name in NAMES))
PICTURE, BITS, PEERS = (ROOT / f"docs/{name}.png" for name in ("results", "bits", "peers"))
DATASETS = {"mnist": "MNIST", "fashion": "Fashion-MNIST", "saccades": "`saccades`"}
SHOWN = {name: title for name, title in DATASETS.items() if name != "saccades"}
"""The data sets with published results of others."""
TRAINED_ON = {
    "saccades": "`saccades`, 60,000 simulated recordings",
    "tuned": "the same, then 500 real recordings",
    "alone": "500 real recordings",
}
"""The runs of real_events.py."""
LOOKS = {
    "default": (ORANGE, "o"),
    "original": (BLUE, "o"),
    "fast": (ORANGE, "s"),
    "accurate": (SKY, "D"),
    "sparse": (BLUE, "^"),
    "nir": (ORANGE, "v"),
    "events": (SKY, "o"),
}
"""Color and marker of each recipe."""


@dataclass(frozen=True)
class Published:
    """A result published by others, as stated in its source."""

    name: str
    source: str
    parameters: str
    epochs: str
    chosen: str
    mnist: str
    fashion: str


OTHERS = (
    Published(
        *("PLIF", "Fang et al., ICCV 2021"),
        *("13.2 million", "up to 1,024", "validation images", "99.63%", "93.85%"),
    ),
)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    runs = read()
    for path in PAGES:
        path.write_text(filled(path, runs))
    PICTURE.write_bytes(png(draw(runs)))
    BITS.write_bytes(png(bits_tables.draw()))
    if peers_tables.PATH.exists():
        PEERS.write_bytes(png(peers_tables.draw()))


Runs = dict[tuple[str, str], list[dict[str, Any]]]
"""The training runs by recipe and data set, in the order of RECIPES; seeds in order."""


def read() -> Runs:
    runs = trainings.recorded()
    by_recipe: Runs = {}
    for recipe in trainings.JOBS:
        for dataset in DATASETS:
            mine = [run for run in runs if (run["recipe"], run["dataset"]) == (recipe, dataset)]
            if mine:
                by_recipe[recipe, dataset] = sorted(mine, key=lambda run: run["seed"])
    return by_recipe


def filled(path: Path, by_recipe: Runs) -> str:
    """A page with tables filled in from the results; each is between a comment with its name and an end comment."""
    made = {name: partial(make, by_recipe) for name, make in TABLES.items()}
    made |= bits_tables.TABLES | learning_tables.TABLES | speed_tables.TABLES | peers_tables.TABLES
    return re.sub(
        r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{made[match[2]]()}\n{match[3]}",
        path.read_text(),
        flags=re.DOTALL,
    )


def recipes(by_recipe: Runs) -> str:
    """A row for each recipe and data set, marked if the current version wouldn't repeat its runs."""
    rows, updates = [], json.loads(trainings.UPDATES.read_text())
    for (recipe, dataset), runs in by_recipe.items():
        operations = f"{statistics.mean(run['synaptic_operations'] for run in runs) / 1e6:.2f}"
        size = str(runs[0]["time_steps"]), str(runs[0]["epochs"]), operations
        commits = ", ".join(dict.fromkeys(run["commit"][:7] for run in runs))
        mark = "" if all(run.get("updates") == updates[trainings.key(run)] for run in runs) else "†"
        name = f"`{recipe}`" if recipe in RECIPES else "the default"
        rows.append((name, DATASETS[dataset], *summed(runs), *size, f"{commits}{mark}"))
    return table(("recipe", "data set", *SUMMED, "steps", "epochs", "million operations per image", "commit"), rows)


SHARED = ("--surrogate atan", "--init calibrated", "--ema 0.999")
"""Flags of all recipes but `original`."""


TRIED = re.compile(
    r"(?:TRY_.* )?python -m csnn_jax.train --recipe fast(?: --epochs 20)?(?: --seed \d)?(.*) "
    r"--validation 5000 --eval-every 0"
)
"""A job that was tried for the recipe `fast`, with its additional flags; TRY_* are those of tried.patch."""


def ideas(by_recipe: Runs) -> str:
    """What was tried for `fast`: more flags, or a change of the code, and the accuracy on held-out images."""
    del by_recipe
    accuracies: dict[str, list[str]] = {}
    for line in (trainings.FOLDER / "tried.jsonl").read_text().splitlines():
        job = json.loads(line)
        if added := TRIED.fullmatch(job["command"]):
            name = job.get("change") or (f"`{added[1].strip()}`" if added[1] else "nothing else")
            accuracies.setdefault(name, []).append(f"{100 * job['validation_accuracy']:.2f}")
    rows = [(name, ", ".join(values)) for name, values in accuracies.items()]
    return table(("`fast` with 20 epochs and", "held-out images, by seed (%)"), rows)


def flags(by_recipe: Runs) -> str:
    """The flags of each recipe, except those that all but the first share, which the page names."""
    asked = {recipe: " ".join(job_words(RECIPES[recipe])) for recipe in RECIPES}
    for flag in SHARED:
        assert all(flag in ask for recipe, ask in asked.items() if recipe != "original")
        asked = {recipe: ask.replace(flag, "").replace("  ", " ").strip() for recipe, ask in asked.items()}
    rows = [(f"`{recipe}`", f"`{ask}`") for recipe, ask in asked.items()]
    return table(("recipe", "flags"), rows)


def published(by_recipe: Runs) -> str:
    """Other networks, and the recipe with the highest accuracy, which the table of recipes has, too."""
    rows = [(one.name, one.parameters, one.epochs, one.chosen, one.mnist, one.fashion, one.source) for one in OTHERS]
    mine = {dataset: by_recipe["accurate", dataset] for dataset in SHOWN}
    one = next(iter(mine.values()))[0]
    size = f"{one['parameters'] / 1e6:.2f} million", str(one["epochs"])
    rows.append(("`--recipe accurate`", *size, "validation images", *map(accuracy, mine.values()), "this page"))
    return table(("network", "parameters", "epochs", "chosen on", *SHOWN.values(), "source"), rows)


def real_events(by_recipe: Runs) -> str:
    """The accuracy on real recordings that none of the networks was trained on, by seed."""
    del by_recipe
    runs = [json.loads(path.read_text()) for path in sorted(trainings.REAL.glob("*.json"))]
    rows = []
    for name, trained_on in TRAINED_ON.items():
        mine = sorted((run for run in runs if run["job"] == name), key=lambda run: run["seed"])
        rows.append((trained_on, ", ".join(f"{100 * run['real']:.1f}" for run in mine), minutes(mine)))
    return table(("trained on", "500 other real recordings, by seed (%)", "minutes per run"), rows)


def everywhere(by_recipe: Runs) -> str:
    """Counts from everywhere.py: columns of networks and rows of sides; those with equal cells share one."""
    del by_recipe
    networks = {
        path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "results/everywhere").glob("*.json"))
    }
    sides = tuple(dict.fromkeys(row["side"] for one in networks.values() for row in one["rows"]))
    columns: dict[tuple[str, ...], list[str]] = {}
    for name, one in networks.items():
        cells = {row["side"]: row for row in one["rows"]}
        count = f"{max(row.get('membranes', 0) for row in one['rows']):,}"
        column = count, *(_differing(cells.get(side)) for side in sides)
        columns.setdefault(column, []).append(name.replace("_", " "))
    counts, *differing = zip(*columns, strict=True)
    rows = [("membranes, and as many spikes", *counts)]
    for cells_of_row, alike in groupby(zip(sides, differing, strict=True), key=lambda row: row[1]):
        rows.append(_with_images(_named([side for side, _ in alike]), cells_of_row))
    return table(("against snnTorch", *(", ".join(names) for names in columns.values())), rows)


def zeros(by_recipe: Runs) -> str:
    """The counts from everywhere.py for the default network; sides with equal counts share a row."""
    del by_recipe
    rows = json.loads((ROOT / "results/everywhere/default.json").read_text())["rows"]
    shown = [(row["side"], row["images"], row["membranes"], _differing(row)) for row in rows if "images" in row]
    lines = []
    for (images, membranes, differing), alike in groupby(shown, key=lambda row: row[1:]):
        lines.append((_named([side for side, *_ in alike]), str(images), f"{membranes:,}", differing.split(" ")[0]))
    return table(("compared with snnTorch", "images", "membranes, and as many spikes", "differ"), lines)


def boards(by_recipe: Runs) -> str:
    del by_recipe
    return microcontroller.table(json.loads((ROOT / "results/microcontroller.json").read_text())["rows"])


def few_bits(by_recipe: Runs) -> str:
    del by_recipe
    return microcontroller.few_bits(json.loads((ROOT / "results/microcontroller_few_bits.json").read_text())["rows"])


def rounding(by_recipe: Runs) -> str:
    """What rounding to grids changes in the networks of rounding.py."""
    del by_recipe
    rows = []
    for row in json.loads((ROOT / "results/rounding.json").read_text())["rows"]:
        spikes = f"{row['changed']:,} of {row['spikes']:,} ({two_digits(100 * row['changed'] / row['spikes'])}%)"
        accuracies = ", ".join(f"{correct / row['images']:.1%}" for correct in row["correct"])
        rows.append((row["network"], spikes, f"{row['predictions']} of {row['images']:,}", accuracies))
    return table(("network", "spikes changed", "predictions changed", "accuracy before, after"), rows)


def _named(sides: Sequence[str]) -> str:
    """Variants of one program by their names, of several by their programs."""
    programs = dict.fromkeys(side.partition(", ")[0] for side in sides)
    if len(programs) > 1:
        return f"{', '.join(programs)}: {len(sides)} variants"
    return " and ".join((sides[0], *(side.partition(", ")[2] for side in sides[1:])))


def _with_images(side: str, cells: tuple[str, ...]) -> tuple[str, ...]:
    """A row whose first cell has the number of images, if all other cells have the same."""
    images = {cell.partition(" ")[2] for cell in cells if cell != "-"}
    if len(images) > 1:
        return side, *cells
    return f"{side} {images.pop()}".strip(), *(cell.split(" (")[0] for cell in cells)


def _differing(row: dict[str, Any] | None) -> str:
    if row is None or "images" not in row:
        return "-"
    steps = row["steps_with_other_membranes"] + row["steps_with_other_spikes"]
    some = "" if row["images"] >= 1000 else f" ({row['images']} images)"
    return f"0{some}" if not steps else f"in {steps} steps{some}"


TABLES: dict[str, Callable[[Runs], str]] = {
    made.__name__: made
    for made in (recipes, ideas, flags, published, real_events, everywhere, zeros, boards, few_bits, rounding)
}

SUMMED = ("test accuracy", "seeds", "minutes per run")


def summed(runs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return accuracy(runs), str(len(runs)), minutes(runs)


def accuracy(runs: Sequence[dict[str, Any]]) -> str:
    values = [100 * run["accuracy"] for run in runs]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}%"


def minutes(runs: Sequence[dict[str, Any]]) -> str:
    """Minutes of the fastest run, because the machine may not have been idle during the others."""
    return f"{min(run['seconds'] for run in runs) / 60:.1f}"


@styled
def draw(by_recipe: Runs) -> Figure:
    """Each training run as a point: test accuracy against operations, with a panel for each data set."""
    shown = [dataset for dataset in SHOWN if any(of == dataset for _, of in by_recipe)]
    figure = new(WIDTH, 2.6)
    for axes, dataset in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for (recipe, of), runs in by_recipe.items():
            if of == dataset:
                colour, mark = LOOKS[recipe]
                points = [(run["synaptic_operations"] / 1e6, 100 * run["accuracy"]) for run in runs]
                axes.plot(*zip(*points, strict=True), mark, color=colour, label=recipe, linestyle="none", markersize=5)
        axes.set(title=DATASETS[dataset], ylabel="test accuracy (%)")
        axes.set(xlabel="synaptic operations per image (million)", xlim=(0, 1.1 * axes.get_xlim()[1]))
        axes.legend(loc="best")
    return figure


if __name__ == "__main__":
    main()
