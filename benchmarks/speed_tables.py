"""The tables of docs/speed.md that results/train_step*.json and results/dense.json give.

benchmarks/results.py puts them into the pages.
"""

import json
from pathlib import Path
from typing import Any

from csnn_jax.markdown import table, two_digits

RESULTS = Path(__file__).parent.parent / "results"
MISSING = "not measured"
NETWORKS = {
    "train_step": "default, event engine",
    "train_step_scan": "default, scan engine",
    "train_step_fast": "`--recipe fast` and `accurate`, event engine",
}
"""What stands in each file."""
BASELINES = ("snntorch", "snntorch channels last", "snntorch first convolution once")


def sides() -> str:
    """What every side takes on the default network."""
    found, scan = _read("train_step"), _read("train_step_scan")
    shown = {
        "csnn_jax, event engine": (found, "csnn_jax", "event"),
        "csnn_jax, scan engine": (scan, "csnn_jax", "scan"),
    }
    shown |= {side.replace("snntorch", "snnTorch"): (found, side.replace(" ", "_"), side) for side in BASELINES}
    rows = []
    for title, (values, key, side) in shown.items():
        one = values.get(key, {})
        times = (one.get(f"{work}{kind}_s") for work in ("step", "infer") for kind in ("", "_processor"))
        job = values.get("default_job_s_extrapolated", {}).get(side)
        memory = one.get("peak_memory_mb")
        whole = f"{two_digits(job / 60)} min" if job else MISSING, f"{memory / 1000:.1f} GB" if memory else MISSING
        rows.append((title, *map(_seconds, times), *whole))
    header = ("side", "training iteration", "processors", "inference, one batch", "processors")
    return table((*header, "default job, extrapolated", "peak memory"), rows)


def ratios() -> str:
    """How many times as fast csnn_jax is as each baseline, on each network."""
    rows = []
    for name, network in NETWORKS.items():
        found = _read(name)
        cells = (_ratio(found, side, work) for work in ("training", "inference") for side in BASELINES)
        rows.append((network, _densities(found), *cells))
    against = ("snnTorch", "channels last", "first convolution once")
    titles = (f"{work}: {side}" for work in ("training", "inference") for side in against)
    return table(("network", "densities by layer (%)", *titles), rows)


def _read(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _densities(found: dict[str, Any]) -> str:
    values = found.get("csnn_jax", {}).get("densities", {}).values()
    return ", ".join(two_digits(100 * value) for value in values) or MISSING


def _seconds(value: float | None) -> str:
    return MISSING if value is None else f"{two_digits(value)} s"


def _ratio(found: dict[str, Any], side: str, work: str) -> str:
    """A ratio, or why there is none."""
    value = found.get("times_faster", {}).get(side, {}).get(work)
    if value is None:
        return MISSING
    return value if isinstance(value, str) else two_digits(value)


def dense() -> str:
    """How many times as fast the event engine is as the faster of snnTorch's loops, by density, on a wide network."""
    rows = []
    for found in _read("dense").get("rows", ()):
        fired = ", ".join(two_digits(100 * value) for value in list(found["densities"].values())[:-1])
        ours = found["seconds"]["event"]
        cells = []
        for work, key in (("training", "step"), ("inference", "infer")):
            ratio = found["times_as_fast"][work]
            cells += [_seconds(ours[key]), ratio if isinstance(ratio, str) else two_digits(ratio)]
        rows.append((fired, *cells))
    header = ("spike at a step (%)", "training iteration", "times as fast", "inference, one batch", "times as fast")
    return table(header, rows)


TABLES = {made.__name__: made for made in (sides, ratios, dense)}
