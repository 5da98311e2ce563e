"""The comparison as files: comparison.md for readers, comparison.json and comparison.png."""

import json
from collections.abc import Iterable
from pathlib import Path

from csnn_jax.document.markdown import table, two_digits
from csnn_jax.figures import Figures, style
from csnn_jax.files import write_atomic
from csnn_jax.runs.equality import KINDS, in_words
from csnn_torch.compare import figure, training
from csnn_torch.compare.comparison import NAME, Comparison, Origin
from csnn_torch.compare.cost import APART, BASE, OTHERS, Cost, Speed, readable
from csnn_torch.compare.results import DENSITY, GRADIENT, GradientResult, SpikeResult, short


def write(found: Comparison, out: Path, figures: Figures = "png") -> None:
    """Writes the three files, and on request a PDF of the picture.

    Raises:
        UserError: the disk is full.
    """
    write_atomic(out / NAME, json.dumps(found.as_json(), indent=1).encode())
    style.save(figure.draw(found.trajectories, found.costs), out, "comparison", figures)
    write_atomic(out / "comparison.md", text(found).encode())


def text(found: Comparison) -> str:
    """The text of comparison.md."""
    return "\n".join(_paragraphs(found))


def _paragraphs(found: Comparison) -> Iterable[str]:
    yield "# csnn_jax and snnTorch\n"
    yield (
        "Here \"snnTorch\" is csnn_torch, this project's companion model: the same network built from snnTorch's "
        "layers, run in the loop of its tutorials.\n"
    )
    yield from _summary(found)
    yield f"\n{_count(len(found.checks), 'bound')} checked, {len(found.broken)} broken."
    yield from (f"- **Broken**: {check}" for check in found.broken)
    if found.spikes:
        yield from _network(found.spikes)
    if found.gradients:
        yield from _gradients(found.gradients)
    if found.trajectories:
        yield from training.section(found.trajectories)
    if found.costs:
        yield from _costs(found)
    yield "\n![loss curves and costs](comparison.png)\n"
    yield from _origins(found.origins)


def _origins(origins: dict[str, Origin]) -> Iterable[str]:
    """A table of what was run, and where."""
    yield "## How it was measured\n"
    rows = [
        (name, f"`{o.command}`", o.commit or "unknown", o.date, f"{o.seconds / 60:.1f}") for name, o in origins.items()
    ]
    yield table(("question", "command", "commit", "date", "minutes"), rows)
    places: dict[str, list[str]] = {}
    for name, origin in origins.items():
        place = origin.machine
        versions = ", ".join(f"{name} {number}" for name, number in place["versions"].items())
        text = f"{place['processor']}, {_count(place['cpus'], 'CPU')}; Python {place['python']}, {versions}"
        places.setdefault(text, []).append(name)
    for text, names in places.items():
        yield f"\n{', '.join(names)}: {text}.\n"


def _summary(found: Comparison) -> Iterable[str]:
    """Answers every question in a sentence."""
    if counted := [result for result in found.spikes if result.counted]:
        total = {name: sum(result.figures[name] for result in counted) for name in counted[0].figures}
        networks = _count(len({result.network for result in counted}), "network")
        yield f"- Same network: {in_words(total, 'snnTorch')}; {networks}, {_count(len(counted), 'comparison')}."
    yield from training.summary(found.trajectories)
    for c, step, infer in _speeds(found.costs):
        if c.side != BASE:
            base = next(cost for cost in found.costs if cost.side == BASE)
            yield (
                f"- Cost, {readable(c.side)}: as multiples of snnTorch's speed, training {step}, inference {infer}; "
                f"{100 * c.peak_memory_mb / base.peak_memory_mb:.0f}% of its memory."
            )


def _speeds(costs: Iterable[Cost]) -> Iterable[tuple[Cost, Speed, Speed]]:
    """Every measured side, with its speed in training and inference; empty if the base wasn't measured."""
    measured = [cost for cost in costs if not cost.failed]
    for base in (cost for cost in measured if cost.side == BASE):
        yield from ((cost, cost.speed(base, "step"), cost.speed(base, "infer")) for cost in measured)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _network(results: list[SpikeResult]) -> Iterable[str]:
    low, high = DENSITY
    yield "\n## Same network?\n"
    yield (
        f"Equal weights on {results[0].images:,} real test images, or the number next to the network's name, in "
        "float32. All must be equal: the membranes and spikes of every layer at every step, and the predictions. For "
        "membranes, 0 equals -0, and values below 2^-126 in magnitude count as 0. `run` is the given network; the "
        "others are variants of it, trained briefly. Every layer that spikes must fire at "
        f"{100 * low:g} to {100 * high:g}% (density: the fraction of its neurons that spike at a step), because a "
        "silent network matches anything.\n"
    )
    engines = list(dict.fromkeys(r.engine for r in results if not r.refused))
    rows = []
    for name in dict.fromkeys(r.network for r in results):
        mine = {r.engine: r for r in results if r.network == name and not r.refused}
        if not mine:
            continue
        one = next(iter(mine.values()))
        densities = ", ".join(f"{100 * d:.1f}" for d in one.densities.values())
        differ = (_differ(mine[engine]) if engine in mine else "not run" for engine in engines)
        status = "" if one.counted else " **(not counted)**"
        few = "" if one.images == results[0].images else f" ({one.images:,} images)"
        rows.append((name + few + status, densities, f"{one.figures['membranes']:,}", *differ))
    header = ("network", "densities by layer (%)", "membranes", *(f"{engine}: differ" for engine in engines))
    yield table(header, rows)
    for reason in dict.fromkeys(f"{r.engine}: {r.refused}" for r in results if r.refused):
        yield f"\nNot run: {reason}."
    if different := [result for result in results if result.comparison.first]:
        yield "\nWhat differs, and where first, by step, then by layer:\n"
        yield from (f"- {result}" for result in different)


def _differ(result: SpikeResult) -> str:
    """What differs, for a table cell."""
    if result.comparison.first is None:
        return "0"
    return ", ".join(f"{kind} {result.figures[f'different_{kind}']:,}" for kind in KINDS)


def _gradients(results: list[GradientResult]) -> Iterable[str]:
    yield "\n### Gradients\n"
    yield (
        "||a - b|| / ||b|| of every parameter's gradient, where b is snnTorch's in float64; the table gives the "
        "largest. All sides have the same rounded weights. "
        f"On the first {results[0].images} images for which snnTorch's float32 spikes equal its float64 spikes. "
        f"Bounds: {short(GRADIENT['float64'])} in float64, {short(GRADIENT['float32'])} in "
        "float32; snnTorch's own float32 gradients, which have no bound, show what float32 can do. No tensor's norm "
        "may be 0.\n"
    )
    columns = list(dict.fromkeys((r.side, r.dtype) for r in results if not r.refused))
    titles = [f"{readable(side)}, {dtype}" for side, dtype in columns]
    rows = []
    for key in dict.fromkeys((r.network, r.surrogate) for r in results):
        cells = {(r.side, r.dtype): _gradient_cell(r) for r in results if (r.network, r.surrogate) == key}
        rows.append((*key, *(cells[column] for column in columns)))
    yield table(("network", "surrogate", *titles), rows)
    first = [r for r in results if (r.network, r.surrogate) == (results[0].network, results[0].surrogate)]
    shown = [r for r in first if not r.refused]
    yield f"\nBy parameter: {shown[0].network}, {shown[0].surrogate}.\n"
    names = shown[0].errors
    rows = [(name, *(f"{r.errors[name]:.1e}" for r in shown)) for name in names]
    yield table(("parameter", *(f"{readable(r.side)}, {r.dtype}" for r in shown)), rows)


def _gradient_cell(result: GradientResult) -> str:
    return "not run" if result.refused else f"{result.worst:.1e}"


def _costs(found: Comparison) -> Iterable[str]:
    batch, steps = found.config.train.batch_size, found.config.model.time_steps
    yield "\n## What does each cost?\n"
    measured = [cost for cost in found.costs if not cost.failed]
    turns = len(measured[0].step.clock) if measured else 0
    yield (
        f"Batch {batch}, {steps} time steps, weights of the run. Medians over {turns} fresh processes of each side, "
        "which take turns, after a warmup (with the shortest and the longest in parentheses). Processors: CPU seconds "
        "of all threads together. Speed: snnTorch's wall seconds divided by the row's; omitted if the medians of a "
        f"side's turns differ by more than {100 * (APART - 1):.0f}%, or if other programs used more than "
        f"{100 * OTHERS:.0f}% of the CPU during a turn. Compile: the additional time of the first training iteration, "
        "from an empty cache. Memory: the peak of the whole process.\n"
    )
    speeds = {cost.side: speeds for cost, *speeds in _speeds(found.costs)}
    header = ("side", "training iteration", "processors", "speed", "inference batch", "processors", "speed")
    rows = []
    for c in found.costs:
        if c.failed:
            rows.append((readable(c.side), "not measured", *[""] * 7))
            continue
        cells: list[str] = []
        for number, rounds in enumerate((c.step, c.infer)):
            low, high = map(two_digits, rounds.range)
            processor = "" if rounds.processor_s is None else f"{two_digits(rounds.processor_s)} s"
            speed = str(speeds[c.side][number]) if speeds else ""
            cells += [f"{two_digits(rounds.clock_s)} s ({low} to {high})", processor, speed]
        rows.append((readable(c.side), *cells, f"{c.compile_s:.1f} s", f"{c.peak_memory_mb:,} MB"))
    yield table((*header, "compile", "memory"), rows)
    if measured:
        shares = ", ".join(f"{name} {two_digits(100 * share)}" for name, share in measured[0].densities.items())
        yield f"\nDensities of the inference batch (%), which determine the event engine's cost: {shares}."
    yield ""
    for c in found.costs:
        yield f"- {readable(c.side)}: " + (f"not measured: {c.failed}" if c.failed else c.description)
