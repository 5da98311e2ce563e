"""The tables in docs/speed.md and docs/python.md made from results/train_step*.json, dense.json and own_loop.json.

benchmarks/results.py puts them into the pages.
"""

import json
from pathlib import Path
from typing import Any

from csnn_jax.document.markdown import table
from csnn_jax.document.numbers import two_digits

RESULTS = Path(__file__).parent.parent / "results"
MISSING = "not measured"
NETWORKS = {
    "train_step": "default",
    "train_step_fast": "`--recipe fast` and `accurate`",
    "train_step_recurrent": "`--recurrent fc1`",
    "train_step_tutorial6": "tutorial 6",
    "train_step_events": "`--recipe events`",
    "train_step_saccades": "event frames",
}
"""The network in each file."""
BASELINES = {"snntorch": "snnTorch", "snntorch channels last": "channels last"}


def ratios() -> str:
    """The event engine's times on each network, and how many times as long snnTorch takes."""
    rows = []
    for name, network in NETWORKS.items():
        measured = _read(name)
        cells = []
        for work, key in (("training", "step_s"), ("inference", "infer_s")):
            cells.append(_seconds(measured.get("csnn_jax", {}).get(key)))
            cells += [_ratio(measured, side, work) for side in BASELINES]
        rows.append((network, _densities(measured), *cells))
    titles = ("training iteration (s)", *BASELINES.values(), "inference, one batch (s)", *BASELINES.values())
    return table(("network", "densities by layer (%)", *titles), rows)


def _read(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _densities(measured: dict[str, Any]) -> str:
    values = measured.get("csnn_jax", {}).get("densities", {}).values()
    return ", ".join(two_digits(100 * value) for value in values) or MISSING


def _seconds(value: float | None) -> str:
    return MISSING if value is None else two_digits(value)


def _ratio(measured: dict[str, Any], side: str, work: str) -> str:
    """A ratio, or a dash: the file says why there is none."""
    value = measured.get("times_faster", {}).get(side, {}).get(work)
    if value is None:
        return MISSING
    return _figure(value)


def _figure(value: float | str) -> str:
    return "-" if isinstance(value, str) else two_digits(value)


def dense() -> str:
    """How many times as fast the event engine is as the faster of snnTorch's loops, by density, on a wide network."""
    rows = []
    for row in _read("dense").get("rows", ()):
        fired = ", ".join(two_digits(100 * value) for value in list(row["densities"].values())[:-1])
        ours = row["seconds"]["event"]
        cells = []
        for work, key in (("training", "step"), ("inference", "infer")):
            cells += [two_digits(ours[key]), _figure(row["times_as_fast"][work])]
        rows.append((fired, *cells))
    times = "training iteration (s)", "times as fast", "inference, one batch (s)", "times as fast"
    return table(("spike at a step (%)", *times), rows)


def own_loop() -> str:
    """Seconds of a training iteration of docs/python.md's residual network."""
    seconds = _read("own_loop").get("iteration_s", {})
    ours = seconds.get("csnn_jax.ops")
    rows = [
        (f"`{name}`" if value == ours else name, _seconds(value), "" if value == ours else two_digits(value / ours))
        for name, value in seconds.items()
    ]
    return table(("written with", "training iteration (s)", "times as long"), rows)


TABLES = {made.__name__: made for made in (ratios, dense, own_loop)}
