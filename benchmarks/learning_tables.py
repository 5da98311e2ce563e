"""The tables in docs/learning.md, made from results/learning; benchmarks/results.py puts them into the page."""

import json
from pathlib import Path

from learning import TABLE, results

from csnn_jax.config import ModelConfig
from csnn_jax.document.markdown import table

FOLDER = Path(__file__).parent.parent / "results/learning"
DEEP = "16-32-64, hidden 256-128"
"""The stack whose first iteration is shown."""
SHORT = " --time-steps 25"


def networks() -> str:
    """One epoch of every network, with only the flags that name it."""
    return table(("network", *ONE_EPOCH), [(code(flags), *one_epoch(name)) for name, flags in of_table(False)])


def surrogates() -> str:
    """One epoch of the default stack with each surrogate."""
    rows = []
    for name, flags in of_table(True):
        surrogate = flags.split()[1]
        rows.append((f"`{surrogate}`", *one_epoch(name)[1:]))
    return table(("surrogate", *ONE_EPOCH[1:]), rows)


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


ONE_EPOCH = ("steps", "seed 0 (%)", "seed 1 (%)")


def one_epoch(name: str) -> tuple[str, ...]:
    """A network's steps and its accuracy with each seed; empty if nothing was trained."""
    mine = [run for run in results(FOLDER / "table.jsonl") if run["network"] == name]
    found = {seed: 100 * run["accuracy"] for run in mine for seed in (0, 1) if f"--seed {seed} " in run["flags"]}
    steps = "25" if SHORT in TABLE[name] else str(ModelConfig.time_steps)
    return steps, *(f"{found[seed]:.2f}" if seed in found else "" for seed in (0, 1))


def of_table(surrogates: bool) -> list[tuple[str, str]]:
    """The networks named after their surrogate, or all others."""
    return [(name, flags) for name, flags in TABLE.items() if ("--surrogate" in flags) == surrogates]


def code(flags: str) -> str:
    """Flags as shown on the page, without the steps, which have a column."""
    flags = flags.replace(SHORT, "")
    return f"`{flags}`" if flags else "the default"


TABLES = {made.__name__: made for made in (networks, surrogates, first)}
