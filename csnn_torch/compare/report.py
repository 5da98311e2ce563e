"""The comparison as files: comparison.md for readers, comparison.json and comparison.png."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from csnn_jax.document import markdown
from csnn_jax.document.blocks import (
    Block,
    Cell,
    Code,
    Document,
    Items,
    Paragraph,
    Picture,
    Section,
    Strong,
    Table,
    Words,
    coded,
)
from csnn_jax.document.numbers import counted, two_digits
from csnn_jax.figures import Figures, style
from csnn_jax.files import write_atomic
from csnn_jax.runs.equality import KINDS, in_words
from csnn_torch.compare import figure
from csnn_torch.compare.cost import APART, BASE, OTHERS, Cost, readable
from csnn_torch.compare.results import (
    DENSITY,
    GRADIENT,
    LAST,
    NAME,
    PAGE,
    TRAINING,
    Comparison,
    GradientResult,
    Origin,
    SpikeResult,
    Trajectory,
    groups,
    short,
)

NOT_COUNTED = (" ", Strong("(not counted)"))


def write(comparison: Comparison, out: Path, figures: Figures = "png") -> None:
    """Writes the files. There's a picture, and on request a PDF of it, if training or cost was compared.

    Raises:
        UserError: the disk is full.
    """
    write_atomic(out / NAME, json.dumps(comparison.as_json(), indent=1).encode())
    if comparison.pictured:
        style.save(figure.draw(comparison.trajectories, comparison.costs), out, "comparison", figures)
    else:  # no picture of an earlier comparison remains
        for name in ("comparison.png", "comparison.pdf"):
            (out / name).unlink(missing_ok=True)
    write_atomic(out / PAGE, markdown.render(document(comparison)).encode())


def document(comparison: Comparison) -> Document:
    """The contents of comparison.md."""
    about = (
        "Here \"snnTorch\" is csnn_torch, this project's companion model: the same network built from snnTorch's "
        "layers, run in the loop of its tutorials."
    )
    bounds = f"{counted(len(comparison.checks), 'bound')} checked, {len(comparison.broken)} broken."
    broken: list[Words] = [(Strong("Broken"), f": {check}") for check in comparison.broken]
    lead: list[Block] = [Paragraph(about), Items(tuple(_summary(comparison))), Paragraph(bounds), Items(tuple(broken))]
    if comparison.pictured:
        lead.append(Picture("comparison.png", "loss curves and costs"))
    parts = (
        (comparison.spikes, _network),
        (comparison.trajectories, _training),
        (comparison.costs, _costs),
        (comparison.origins, _origins),
    )
    sections = [section(comparison) for results, section in parts if results]
    return Document("csnn_jax and snnTorch", [block for block in lead if block != Items(())], sections)


def _summary(comparison: Comparison) -> Iterator[str]:
    """Answers every question in a sentence."""
    if results := [result for result in comparison.spikes if result.counted]:
        total = {name: sum(result.figures[name] for result in results) for name in results[0].figures}
        networks = counted(len({result.network for result in results}), "network")
        yield f"Same network: {in_words(total, 'snnTorch')}; {networks}, {counted(len(results), 'comparison')}."
    for together in groups(comparison.trajectories):
        yield f"Same training, {together[0].dtype}: " + (_alone if len(together) == 1 else _by_seed)(together)
    for cost, speeds in _speeds(comparison.costs):
        if cost.side != BASE:
            base = next(base for base in comparison.costs if base.side == BASE)
            memory = f"{100 * cost.peak_memory_mb / base.peak_memory_mb:.0f}% of snnTorch's memory"
            yield f"Cost, {readable(cost.side)}: {'; '.join([*_in_words(speeds), memory])}."


def _in_words(speeds: Mapping[str, float | str]) -> list[str]:
    """Speeds in words; works without a speed for the same reason share an entry."""
    entries: dict[str, list[str]] = {}
    for work, speed in speeds.items():
        if isinstance(speed, str):
            entry = f"not compared, because {speed.removeprefix('none: ')}"
        else:
            entry = f"{two_digits(speed)} times as fast as snnTorch"
        entries.setdefault(entry, []).append(work)
    return [f"{' and '.join(works)} {entry}" for entry, works in entries.items()]


def _alone(together: Sequence[Trajectory]) -> str:
    (run,) = together
    parted = "no spike differs" if run.parted is None else f"the first spike differs at iteration {run.parted}"
    return (
        f"over {len(run.differences)} iterations {parted}; losses within "
        f"{max(run.differences[: run.parted] or run.differences):.1e}{'' if run.parted is None else ' until then'}."
    )


def _by_seed(together: Sequence[Trajectory]) -> str:
    apart = [run.apart for run in together]
    return (
        f"over {len(together)} seeds of {len(together[0].differences)} iterations the mean loss of the last {LAST} "
        f"differs by {mean(apart):+.3f} +- {stdev(apart):.3f} (csnn_jax's minus snnTorch's, mean and standard "
        "deviation)."
    )


def _speeds(costs: Iterable[Cost]) -> Iterator[tuple[Cost, dict[str, float | str]]]:
    """Every measured side, with its speed in training and inference, or why there's none; empty without the base."""
    measured = [cost for cost in costs if not cost.failed]
    for base in (cost for cost in measured if cost.side == BASE):
        for cost in measured:
            yield cost, {"training": cost.speed(base, "step"), "inference": cost.speed(base, "infer")}


def _network(comparison: Comparison) -> Section:
    results, (low, high) = comparison.spikes, DENSITY
    lead = coded(
        f"Equal weights on {results[0].images:,} real test images, or the number next to the network's name, in "
        "float32. All must be equal: the membranes and spikes of every layer at every step, and the predictions. For "
        "membranes, 0 equals -0, and values below 2^-126 in magnitude count as 0. {} is the given network; the "
        "others are variants of it, trained briefly. Every layer that spikes must fire at "
        f"{100 * low:g} to {100 * high:g}% (density: the fraction of its neurons that spike at a step), because a "
        "silent network matches anything.",
        "run",
    )
    engines = list(dict.fromkeys(result.engine for result in results if not result.refused))
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(result.network for result in results):
        by_engine = {result.engine: result for result in results if result.network == name and not result.refused}
        if not by_engine:
            continue
        any_result = next(iter(by_engine.values()))
        few = "" if any_result.images == results[0].images else f" ({any_result.images:,} images)"
        network: Words = (name + few, *([] if any_result.counted else NOT_COUNTED))
        differ = [_differ(by_engine[engine]) if engine in by_engine else "not run" for engine in engines]
        rows.append([network, _densities(any_result.densities), any_result.figures["membranes"], *differ])
    header = ("network", "densities by layer (%)", "membranes", *(f"{engine}: differ" for engine in engines))
    refused = dict.fromkeys(f"{result.engine}: {result.refused}" for result in results if result.refused)
    blocks: list[Block] = [Paragraph(lead), Table("Differences", header, rows)]
    blocks += [Paragraph(f"Not run: {reason}.") for reason in refused]
    if different := tuple(str(result) for result in results if result.comparison.first):
        blocks += [Paragraph("What differs, and where first, by step, then by layer:"), Items(different)]
    return Section("Same network?", [*blocks, *([_gradients(comparison.gradients)] if comparison.gradients else [])])


def _differ(result: SpikeResult) -> str:
    """What differs, for a table cell."""
    if result.comparison.first is None:
        return "0"
    return ", ".join(f"{kind} {result.figures[f'different_{kind}']:,}" for kind in KINDS)


def _densities(densities: dict[str, float]) -> str:
    return ", ".join(f"{100 * density:.1f}" for density in densities.values())


def _gradients(results: Sequence[GradientResult]) -> Section:
    lead = (
        "||a - b|| / ||b|| of every parameter's gradient, where b is snnTorch's in float64; the table gives the "
        "largest. All sides have the same rounded weights. "
        f"On the first {results[0].images} images for which snnTorch's float32 spikes equal its float64 spikes. "
        f"Bounds: {short(GRADIENT['float64'])} in float64, {short(GRADIENT['float32'])} in "
        "float32; snnTorch's own float32 gradients, which have no bound, show what float32 can do. No tensor's norm "
        "may be 0."
    )
    columns = {(result.side, result.dtype): _side(result) for result in results if not result.refused}
    cells: dict[tuple[str, str], dict[tuple[str, str], str]] = {
        (result.network, result.surrogate): {} for result in results
    }
    for result in results:
        worst = "not run" if result.refused else f"{result.worst:.1e}"
        cells[result.network, result.surrogate][result.side, result.dtype] = worst
    rows = [(*key, *(row[column] for column in columns)) for key, row in cells.items()]
    first = [r for r in results if (r.network, r.surrogate) == next(iter(cells)) and not r.refused]
    parameters = [(name, *(f"{result.errors[name]:.1e}" for result in first)) for name in first[0].errors]
    return Section(
        "Gradients",
        (
            Paragraph(lead),
            Table("Largest errors", ("network", "surrogate", *columns.values()), rows),
            Paragraph(f"By parameter: {first[0].network}, {first[0].surrogate}."),
            Table("Errors by parameter", ("parameter", *map(_side, first)), parameters),
        ),
    )


def _side(result: GradientResult) -> str:
    return f"{readable(result.side)}, {result.dtype}"


def _training(comparison: Comparison) -> Section:
    """What was compared, a column for each training run or group, and a row for each seed of a group."""
    lead = (
        f"Equal initial weights, equal batches. Bound: in float64, losses and parameters within "
        f"{short(TRAINING)}, at a learning rate at which training doesn't amplify rounding. In "
        "float32, gradients round, and eventually a weight of the two is on different steps of its grid, and a spike "
        "differs; from then on they are different training runs, each as good as the other. Before that, the float32 "
        "losses differ because snnTorch adds up one loss per step, and csnn_jax takes the mean of all at once."
    )
    grouped = groups(comparison.trajectories)
    columns = [_column(run) for run, *_ in grouped]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    heads = [
        run.dtype if len(together) == 1 else f"{run.dtype}, seed {run.seed}"
        for together in grouped
        for run in together[:1]
    ]
    blocks: list[Block] = [Paragraph(lead), Table("Training runs", ("", *heads), rows)]
    for together in (together for together in grouped if len(together) > 1):
        each = f"Every seed, {together[0].dtype}. Losses are the mean of the last {LAST} iterations."
        head = ("seed", *figure.NAMES.values(), "difference", "iterations until a spike differs")
        blocks += [Paragraph(each), Table("Seeds", head, [*map(_seed, together)])]
    return Section("Same training?", blocks)


def _seed(run: Trajectory) -> tuple[str, ...]:
    losses = [f"{mean(losses[-LAST:]):.3f}" for losses in run.losses.values()]
    return str(run.seed), *losses, f"{run.apart:+.3f}", _parted(run)


def _parted(run: Trajectory) -> str:
    return "none differs" if run.parted is None else str(run.parted)


def _column(run: Trajectory) -> dict[str, Words]:
    largest = f"{max(run.differences):.1e}"
    if run.parted is not None and (before := run.differences[: run.parted]):
        largest = f"{max(before):.1e} before a spike differs, {largest} in all"
    name, distance = max(run.distance.items(), key=lambda item: item[1])
    batches = f"{len(run.differences)} on batches of {run.batch_size}"
    return {
        "csnn_jax's side": run.engine,
        "start": f"{run.start} weights",
        "iterations": f"{batches}, learning rate {run.lr:g}, {run.time_steps} time steps",
        "last loss, csnn_jax and snnTorch": ", ".join(f"{losses[-1]:.6f}" for losses in run.losses.values()),
        "largest difference of the losses": largest,
        "iterations until a spike differs": _parted(run),
        "largest relative difference of a parameter at the end": f"{distance:.1e} ({name})",
        "densities at the end by layer (%)": (_densities(run.densities), *([] if run.counted else NOT_COUNTED)),
    }


def _costs(comparison: Comparison) -> Section:
    batch, steps = comparison.config.train.batch_size, comparison.config.model.time_steps
    measured = [cost for cost in comparison.costs if not cost.failed]
    turns = len(measured[0].step.clock) if measured else 0
    lead = (
        f"Batch {batch}, {steps} time steps, weights of the run. Medians over {turns} fresh processes of each side, "
        "which take turns, after a warmup (with the shortest and the longest in parentheses). Processors: CPU seconds "
        "of all threads together. Speed: snnTorch's wall seconds divided by the row's; - if the medians of a "
        f"side's turns differ by more than {100 * (APART - 1):.0f}%, or if other programs used more than "
        f"{100 * OTHERS:.0f}% of the CPU during a turn. Compile: the additional time of the first training iteration, "
        "from an empty cache. Memory: the peak of the whole process."
    )
    speeds = {cost.side: [*speeds.values()] for cost, speeds in _speeds(comparison.costs)}
    header = ("side", "training iteration", "processors", "speed", "inference batch", "processors", "speed")
    rows: list[list[Cell]] = []
    for cost in comparison.costs:
        if cost.failed:
            rows.append([readable(cost.side), "not measured", *[""] * 7])
            continue
        cells: list[Cell] = [readable(cost.side)]
        for number, rounds in enumerate((cost.step, cost.infer)):
            low, high = map(two_digits, rounds.range)
            processor = "" if rounds.processor_s is None else f"{two_digits(rounds.processor_s)} s"
            speed = speeds[cost.side][number] if speeds else ""
            ratio = two_digits(speed) if isinstance(speed, float) else speed and "-"
            cells += [f"{two_digits(rounds.clock_s)} s ({low} to {high})", processor, ratio]
        rows.append([*cells, f"{cost.compile_s:.1f} s", f"{cost.peak_memory_mb:,} MB"])
    blocks: list[Block] = [Paragraph(lead), Table("Costs", (*header, "compile", "memory"), rows)]
    if measured:
        shares = ", ".join(f"{name} {two_digits(100 * share)}" for name, share in measured[0].densities.items())
        text = f"Densities of the inference batch (%), which determine the event engine's cost: {shares}."
        blocks.append(Paragraph(text))
    sides = [
        f"{readable(cost.side)}: " + (f"not measured: {cost.failed}" if cost.failed else cost.description)
        for cost in comparison.costs
    ]
    return Section("What does each cost?", [*blocks, Items(tuple(sides))])


def _origins(comparison: Comparison) -> Section:
    """What was run, and where."""
    rows = [
        (name, Code(origin.command), origin.commit or "unknown", origin.date, f"{origin.seconds / 60:.1f}")
        for name, origin in comparison.origins.items()
    ]
    places: dict[str, list[str]] = {}
    for name, origin in comparison.origins.items():
        places.setdefault(_place(origin), []).append(name)
    table = Table("Origins", ("question", "command", "commit", "date", "minutes"), rows)
    texts = [Paragraph(f"{', '.join(names)}: {text}.") for text, names in places.items()]
    return Section("How it was measured", [table, *texts])


def _place(origin: Origin) -> str:
    place = origin.machine
    versions = ", ".join(f"{name} {number}" for name, number in place["versions"].items())
    return f"{place['processor']}, {counted(place['cpus'], 'CPU')}; Python {place['python']}, {versions}"
