"""comparison.md: the comparison as a reader wants it."""

from collections.abc import Iterable, Sequence
from typing import Any

from csnn_torch.comparison import Comparison
from csnn_torch.gradients import BOUNDS, Gradients
from csnn_torch.parity import DENSITY, Flip, Spikes
from csnn_torch.trajectory import Trajectory

CASE = ("network", "type", "engine")  # first columns of the tables of spikes


def lines(found: Comparison, values: dict[str, Any]) -> Iterable[str]:
    """The report, line by line.

    Args:
        found: the results.
        values: what comparison.json holds: command, machine, versions.
    """
    place = values["machine"]
    yield "# csnn_jax and snnTorch\n"
    yield f"`{values['command']}`\n"
    versions = ", ".join(f"{name} {number}" for name, number in place["versions"].items())
    yield f"{place['processor']}, {place['cpus']} CPUs; Python {place['python']}, {versions}.\n"
    yield f"{len(found.checks)} bounds checked, {len(found.broken)} broken."
    yield from (f"- **Broken**: {check}" for check in found.broken)
    if found.spikes:
        yield from _network(found.spikes)
    if found.gradients:
        yield from _gradients(found.gradients)
    if found.trajectories:
        yield from _training(found.trajectories)
    if found.costs:
        yield from _costs(found)
    yield "\n![loss curves and costs](comparison.png)\n"


def _network(results: list[Spikes]) -> Iterable[str]:
    yield "\n## Same network?\n"
    yield (
        f"Equal weights, {results[0].images} real test images: spikes of every layer at every step. Bounds: none "
        "differs in float64, one in a million in float32; every prediction is equal, except where two classes are "
        f"within one spike. A layer's density must lie between {DENSITY[0]:.0%} and {DENSITY[1]:.0%}, for a silent "
        "network matches anything. Membranes that are not equal to the last bit: sums were taken in another order, or "
        "a product and a sum were rounded once in place of twice.\n"
    )
    columns = ("spikes compared", "differ", "predictions differ", "equal membranes", "densities by layer")
    yield from _table((*CASE, *columns), [_spike_row(result) for result in results])
    flips = [(result, flip) for result in results for flip in result.first]
    if flips:
        yield "\nThe first different spike of every image that has one:\n"
        where = ("layer", "step", "image", "neuron", "membrane", "snnTorch's", "from threshold")
        yield from _table((*CASE, *where), [_flip_row(result, flip) for result, flip in flips])


def _spike_row(result: Spikes) -> Sequence[str]:
    start = (result.network, result.dtype, result.engine)
    if result.refused:
        return (*start, f"not run: {result.refused}", "", "", "", "")
    ties = f" (and {result.near_ties} ties)" if result.near_ties else ""
    densities = ", ".join(f"{100 * d:.1f}" for d in (result.densities or {}).values()) + " %"
    return (
        *start,
        f"{result.compared:,}",
        f"{result.different:,}",
        f"{result.predictions}{ties}",
        f"{result.membranes:.1%}",
        densities + ("" if result.counted else ", **not counted**"),
    )


def _flip_row(result: Spikes, flip: Flip) -> Sequence[str]:
    numbers = (f"{flip.ours:.9g}", f"{flip.theirs:.9g}", f"{flip.distance:.1e}")
    place = (flip.layer, str(flip.step), str(flip.image), " ".join(map(str, flip.neuron)))
    return (result.network, result.dtype, result.engine, *place, *numbers)


def _gradients(results: list[Gradients]) -> Iterable[str]:
    yield "\n### Gradients\n"
    yield (
        f"Of every parameter on {results[0].images} images, against snnTorch's in float64: the largest ||a - b|| / "
        f"||b|| of all tensors. Bounds: {BOUNDS['float64']:g} in float64, {BOUNDS['float32']:g} in float32 where every "
        "spike is the float64 one; snnTorch's own float32 gradients show what float32 can do.\n"
    )
    columns = list(dict.fromkeys((r.side, r.dtype) for r in results if not r.refused))
    rows = []
    for key in dict.fromkeys((r.network, r.surrogate) for r in results):
        cells = {(r.side, r.dtype): _gradient_cell(r) for r in results if (r.network, r.surrogate) == key}
        rows.append((*key, *(cells[column] for column in columns)))
    yield from _table(("network", "surrogate", *(f"{side}, {dtype}" for side, dtype in columns)), rows)


def _gradient_cell(result: Gradients) -> str:
    if result.refused:
        return "not run"
    return f"{result.worst:.1e}" + ("" if result.same_spikes else " (a spike flipped)")


def _training(results: list[Trajectory]) -> Iterable[str]:
    yield "\n## Same training?\n"
    yield (
        "Equal weights to start from, equal batches. Bound: in float64, losses and parameters within 1e-9. In "
        "float32, rounding flips a spike some day; from then on the two are different trainings, each as good as the "
        "other.\n"
    )
    header = (
        *("type", "csnn_jax's side", "start", "iterations", "batch", "largest difference of the losses"),
        *("first different spike", "largest relative distance of a parameter", "densities at the end"),
    )
    rows = []
    for r in results:
        flip = "none" if r.first_flip is None else f"iteration {r.first_flip}"
        before = r.differences[: r.first_flip]
        largest = f"{max(r.differences):.1e}"
        if r.first_flip is not None and before:
            largest = f"{max(before):.1e} before it, {largest} after"
        distance = max(r.distance, key=lambda name: r.distance[name])
        densities = ", ".join(f"{100 * d:.1f}" for d in r.densities.values()) + " %"
        rows.append(
            (
                r.dtype,
                r.engine,
                f"{r.start} weights",
                str(len(r.differences)),
                str(r.batch_size),
                largest,
                flip,
                f"{r.distance[distance]:.1e} ({distance})",
                densities,
            )
        )
    yield from _table(header, rows)


def _costs(found: Comparison) -> Iterable[str]:
    batch, steps = found.config.train.batch_size, found.config.model.time_steps
    yield "\n## What does each cost?\n"
    yield (
        f"Batch {batch}, {steps} time steps, weights of the run; medians over fresh processes that take turns, after a "
        "warm-up. Ratios are snnTorch's seconds over the row's. Compile time: what the first training iteration takes "
        "longer, from an empty cache. Memory: the peak of the whole process.\n"
    )
    base = next((c for c in found.costs if c.side == "snntorch" and not c.failed), None)
    header = (
        "side",
        "on",
        "training iteration",
        "images/s",
        "ratio",
        "inference batch",
        "images/s",
        "ratio",
        "compile",
        "memory",
    )
    rows = []
    for c in found.costs:
        if c.failed:
            rows.append((c.side, f"failed: {c.failed}", *[""] * 8))
            continue
        times = []
        for mine, reference in ((c.step_s, base and base.step_s), (c.infer_s, base and base.infer_s)):
            times += [f"{mine:.3f} s", f"{batch / mine:.0f}", f"{reference / mine:.2f}" if reference else ""]
        rows.append((c.side, c.description, *times, f"{c.compile_s:.1f} s", f"{c.peak_memory_mb} MB"))
    yield from _table(header, rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
