"""The tables in docs/learning.md, made from results/learning; benchmarks/results.py puts them into the page."""

import json
from pathlib import Path

from learning import NETWORKS, SURROGATES, results

from csnn_jax.document.markdown import table

FOLDER = Path(__file__).parent.parent / "results/learning"
DEEP = "16-32-64, hidden 256-128"
"""The stack whose first iteration is shown."""


def networks() -> str:
    """One epoch of every network, with the flags that name it."""
    rows = [(f"`{flags}`" if flags else "the default", one_epoch(name)) for name, flags in NETWORKS.items()]
    return table(("network", ONE_EPOCH), rows)


def surrogates() -> str:
    """One epoch of the default stack with each surrogate."""
    return table(("surrogate", ONE_EPOCH), [(f"`{name}`", one_epoch(name)) for name in SURROGATES])


SHOWN = (1, 2, 3, 6)
"""Some layers of the deep stack, counting from 1."""


def first() -> str:
    """Spikes, and root mean squares of the kernels' gradients, in the first iteration of a deep stack."""
    seen = [one for one in json.loads((FOLDER / "silence.json").read_text())["networks"] if one["network"] == DEEP]
    rows = []
    for init in ("torch", "calibrated"):
        mine = [one for one in seen if one["init"] == init]
        rows.append((f"{init}: density (%)", *(f"{100 * mine[0]['density'][layer - 1]:.1f}" for layer in SHOWN)))
        for one in mine:
            values = (f"{value:.1e}" if value else "0" for value in (one["gradient"][layer - 1] for layer in SHOWN))
            rows.append((f"{init}: gradient with `{one['surrogate']}`", *values))
    return table(("initial weights", *(f"layer {layer}" for layer in SHOWN)), rows)


ONE_EPOCH = "test accuracy (%)"


def one_epoch(name: str) -> str:
    """A network's accuracy; empty if it wasn't trained."""
    mine = [run for run in results(FOLDER / "table.jsonl") if run["network"] == name]
    return f"{100 * mine[0]['accuracy']:.2f}" if mine else ""


TABLES = {made.__name__: made for made in (networks, surrogates, first)}
