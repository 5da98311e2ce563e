"""What the neurons do: rates, membranes and dead channels by layer, the first layer's filters and feature maps."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from csnn_jax.config.graph import NeuronNode
from csnn_jax.document import charts
from csnn_jax.document.blocks import Block, Cell, Chart, Folded, Grid, Paragraph, Picture, Section, Table
from csnn_jax.document.numbers import percent, three_digits
from csnn_jax.health import health
from csnn_jax.report import tiles
from csnn_jax.report.measure import Example, Measured, dead, histogram, rates
from csnn_jax.report.subject import ReportedRun
from csnn_jax.runs.metrics import LOOKED_AT, NeuronSummary

MAPS = 10  # examples whose feature maps are shown
MOST = 64  # filters shown
WIDE = 16  # filters per row


def neurons(subject: ReportedRun, measured: Measured) -> Iterator[Block]:
    """Sections on the neurons of one run."""
    graph = subject.config.model.graph
    states = health.states(subject.config.model, measured.densities, measured.neurons)
    caption = f"On {LOOKED_AT} test images. Density: neurons that spike at a step. {MEANING}"
    if None in measured.thresholds:
        caption += " An integrator never spikes: the class is read from its membranes."
    table = layers(caption, states, measured.densities, measured.neurons)
    yield Section("Layers", (table, *_dead(measured, graph.neurons)))
    lead = (
        f"On {measured.activity.images} test images, at all steps. Bars of firing rates are on a logarithmic scale. "
        "The first and the last bar of membranes include all values beyond them, 0.1% of the total on either side."
    )
    names = enumerate(node.name for node in graph.neurons)
    histograms = [part for number, name in names for part in _histograms(measured, number, name)]
    yield Section("Firing rates and membranes", (Paragraph(lead), Grid(histograms)))
    first = next((node for node in graph.weighted if node.is_convolution), None)
    numbered = enumerate(graph.neurons)
    fed = [number for number, node in numbered if first in graph.sources(node) and len(node.shape) == 3]
    if first and fed:
        assert subject.tensors is not None
        weights = subject.tensors[f"{first.name}.weight"]
        title = f"Filters of {first.name}, and their feature maps"
        yield Section(title, (*_filters(weights, fed[0], measured, subject.classes),))
    else:
        why = "because no convolution makes a current of this network's neurons"
        yield Paragraph(f"Filters and feature maps: not shown, {why}.", note=True)


MEANING = "Dead: no spikes. Membranes: mean \u00b1 standard deviation. Near: within half a threshold of the threshold."
"""Of the columns of `layers`."""


def layers(
    caption: str, states: Mapping[str, str], densities: Mapping[str, float], neurons: Mapping[str, NeuronSummary]
) -> Table:
    """A table of the layers: their state, spike density, dead channels and membranes."""
    rows: list[list[Cell]] = []
    for name, layer in neurons.items():
        spiking: list[Cell] = [percent(densities[name]), f"{layer.dead} of {layer.channels}"]
        density, dead = [None, None] if states[name] == "integrator" else spiking
        spread = f"{three_digits(layer.mean)} \u00b1 {three_digits(layer.deviation)}"
        near = None if layer.near is None else f"{layer.near:.1%}"
        highest, threshold = three_digits(layer.highest), three_digits(layer.threshold)
        rows.append([name, density, states[name], dead, spread, highest, near, threshold])
    head = ("layer", "density", "state", "dead channels", "membranes", "highest", "near", "threshold")
    return Table(caption, head, rows, stacks=True)


def _dead(measured: Measured, nodes: Sequence[NeuronNode]) -> Iterator[Folded]:
    """The numbers of the dead channels, if any."""
    spiking = [number for number, threshold in enumerate(measured.thresholds) if threshold is not None]
    rows = [(nodes[number].name, _listed(dead(measured.activity, number))) for number in spiking]
    rows = [row for row in rows if row[1]]
    if rows:
        yield Folded("Dead channels by number", (Table("No spikes", ("layer", "channels"), rows),))


def _listed(numbers: np.ndarray) -> str:
    """Integers, with consecutive ones as a range: 0-3, 7."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if len(numbers) else []
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _histograms(measured: Measured, number: int, name: str) -> Iterator[Chart]:
    threshold = measured.thresholds[number]
    if threshold is not None:
        shares = rates(measured.activity, number)
        firing = histogram(100 * shares, 0, 100)
        caption = f"{name}, firing rates: {float((shares == 0).mean()):.0%} of the neurons never spike"
        labels = ("steps with a spike (%)", "neurons (%)")
        half = math.log10(50 / shares.size)  # half a neuron
        heights, axis = np.where(firing.shares > 0, 100 * firing.shares, np.nan), {**charts.LOG, "range": [half, 2.1]}
        yield charts.bars(caption, firing.centers, heights, labels, number=number, y_axis=axis)
    levels = measured.membranes[number]
    caption = f"{name}, membranes" + ("" if threshold is None else "; dashed: the threshold")
    lines = () if threshold is None else (threshold,)
    labels = ("membrane U", "membranes (%)")
    yield charts.bars(caption, levels.centers, 100 * levels.shares, labels, number=number, x_lines=lines)


def _filters(weights: np.ndarray, layer: int, measured: Measured, classes: Sequence[str]) -> Iterator[Block]:
    """Filters [out, in, k, k] and the feature maps of the neurons that they feed, a layer by number."""
    shown, inputs = min(len(weights), MOST), weights.shape[1]
    most = float(np.abs(weights).max())
    rows = [tiles.signed(weights[filter_, channel], most) for channel in range(inputs) for filter_ in range(shown)]
    wide = min(shown, WIDE) if inputs == 1 else shown
    picture = tiles.png(tiles.mounted(rows, wide))
    by = f", a row for each of {inputs} input channels" if inputs > 1 else ""
    caption = f"{shown} of {len(weights)} filters{by}, in order. Orange: up to {most:.2g}, blue: down to {-most:.2g}."
    width = min(1000, 8 * (wide * (weights.shape[-1] + 1) - 1))
    yield Picture(picture, f"Filters of the first layer, {shown} of {len(weights)}", caption, width)
    examples = measured.examples[:MAPS]
    mistakes = ", then for mistakes" if len(examples) > len({example.label for example in examples}) else ""
    lead = (
        f"Below, output spikes of each filter over the window, for one image of each class{mistakes}. "
        "Black means none; maps are in the order of the filters."
    )
    yield Paragraph(lead)
    maps = [_maps(example, example.spikes[layer], shown, classes) for example in examples]
    yield Grid(maps, "small")


def _maps(example: Example, spikes: np.ndarray, shown: int, classes: Sequence[str]) -> Picture:
    """Spikes [time, height, width, channels] over the window of each feature map."""
    counts = spikes.sum(0, dtype=int)[..., :shown]
    most = int(counts.max())
    columns = max(1, math.ceil(math.sqrt(2 * shown)))
    maps = [tiles.amounts(counts[..., channel], most) for channel in range(counts.shape[-1])]
    whole = tiles.mounted(maps, columns)
    silent = int((counts.reshape(-1, counts.shape[-1]).sum(0) == 0).sum())
    name, alt = f"{classes[example.label]} (image {example.index})", f"Feature maps of test image {example.index}"
    caption = f"{name}: {counts.sum():,} spikes, up to {most} per neuron, {silent} of {shown} maps silent"
    return Picture(tiles.png(whole), alt, caption, min(360, 3 * whole.shape[1]))
