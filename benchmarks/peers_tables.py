"""The tables and chart about other libraries in README and docs/speed.md, from results/peers.json.

benchmarks/results.py puts them into the pages.
"""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from csnn_jax.document.markdown import table
from csnn_jax.document.numbers import two_digits
from csnn_jax.figures.style import BLUE, GRAY, PAGE, new, powers, styled

PATH = Path(__file__).parent.parent / "results/peers.json"
OURS, TUTORIAL = "csnn_jax", "snnTorch"
"""Our library, and the row of snnTorch's tutorial loop."""
Row = dict[str, Any]


def read() -> tuple[Row, list[Row]]:
    """Everything recorded, and the successful rows, the fastest in training first."""
    recorded = json.loads(PATH.read_text()) if PATH.exists() else {"rows": []}
    return recorded, sorted((row for row in recorded["rows"] if "failed" not in row), key=lambda row: row["step_s"])


def peers() -> str:
    """The cost of each way to train the default network; failed rows come last, with the reason."""
    recorded, rows = read()
    lines = [
        (
            row["name"],
            f"{two_digits(row['step_s'])}{_times(row, 'training')}",
            f"{two_digits(row['infer_s'])}{_times(row, 'inference')}",
            two_digits(row["first_iteration_s"]),
            f"{row['peak_memory_mb'] / 1000:.1f}",
        )
        for row in rows
    ]
    lines += [(row["name"], row["failed"], *[""] * 3) for row in recorded["rows"] if "failed" in row]
    times = "training iteration (s)", "inference, one batch (s)", "start to first iteration (s)"
    return table(("library", *times, "peak memory (GB)"), lines)


def rivals() -> str:
    """Our engines, snnTorch's tutorial loop, and each library's fastest row, with three digits."""
    rows = [row for row in read()[1] if not isinstance(row.get("times_as_long", {}).get("training"), str)]
    fastest = {row["library"]: row for row in reversed(rows) if row["library"] != OURS}
    chosen = [row for row in rows if row["library"] == OURS or row["name"] == TUTORIAL or row in fastest.values()]
    lines = []
    for row in chosen:
        cells = [row["name"]]
        for key, work in (("step_s", "training"), ("infer_s", "inference")):
            cells.append(f"{row[key]:#.3g}".rstrip(".") + _times(row, work))
        lines.append(cells)
    return table(("library", "training iteration (s)", "inference (s)"), lines)


def peers_work() -> str:
    """How each library's work differs, for those that don't do the same."""
    rows = [row for row in read()[1] if row["differs"] != "nothing"]
    lines = []
    for library in dict.fromkeys(row["library"] for row in rows):
        mine = [row for row in rows if row["library"] == library]
        versions = ", ".join(f"{name} {version}" for name, version in list(mine[0]["versions"].items())[:2])
        counts = dict.fromkeys(f"{row['spikes_that_differ']:,}" for row in mine if "spikes_that_differ" in row)
        lines.append((versions, ", ".join(counts), mine[0]["differs"]))
    return table(("versions", "output spikes that differ", "what differs"), lines)


def _times(row: Row, work: str) -> str:
    """The ratio to our row, unless turns differed or the machine was busy, which results/peers.json says."""
    value = row.get("times_as_long", {}).get(work, "")
    return "" if isinstance(value, str) else f" ({two_digits(value)}x)"


@styled
def draw() -> Figure:
    """A bar for each row: seconds per training iteration on the left, per inference batch on the right."""
    _, rows = read()
    figure = new(PAGE, 0.6 + 0.22 * len(rows))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, key, title in zip(panels, ("step_s", "infer_s"), ("training iteration", "inference batch"), strict=True):
        values = [row[key] for row in rows]
        axes.barh(range(len(rows)), values, color=[BLUE if row["library"] == OURS else GRAY for row in rows])
        for place, value in enumerate(values):
            axes.annotate(two_digits(value), (value, place), (2, 0), textcoords="offset points", va="center")
        axes.set(xscale="log", title=title, xlabel="seconds", xlim=(min(values) / 2, max(values) * 3))
        axes.grid(visible=False, axis="y")
        powers(axes, "x")
    panels[0].set_yticks(range(len(rows)), [row["name"] for row in rows])
    panels[0].invert_yaxis()
    return figure


TABLES = {made.__name__: made for made in (peers, rivals, peers_work)}
