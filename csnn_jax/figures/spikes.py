"""spikes.png: a network's response to one image: rasters, membranes, and where each layer fires."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from csnn_jax.figures.style import BLUE, GRAY, INK, ORANGE, PAGE, SKY, new, short, styled

FEW = 20
"""Layers of up to this many neurons are shown in full, in their own order."""
ROWS = 16
"""Number of neurons shown for any other layer."""
NAMES = 6
"""Maximum number of these that are labeled on the axis."""
LONGEST = 9
"""Maximum characters of a class name."""
ROW = 0.135
"""Height in inches that a labeled row needs."""


class Sample(NamedTuple):
    """An image, and every layer's membranes and spikes in response to it.

    Attributes:
        image: [H, W, C] uint8, or [T, H, W, C].
        label: its class.
        membranes, spikes: U and S of every layer, each [time, *shape].
        thresholds: threshold of every layer; None for an integrator.
        names: names of the classes.
        split: the split that the image is from.
        layers: display names of the layers; None: LIF 1, LIF 2, ...
    """

    image: np.ndarray
    label: int
    membranes: Sequence[np.ndarray]
    spikes: Sequence[np.ndarray]
    thresholds: Sequence[float | None]
    names: Sequence[str]
    split: str = "test"
    layers: Sequence[str] | None = None


@dataclass(frozen=True)
class _Layer:
    """One layer over the window.

    Attributes:
        name: display name.
        naming: label of the axis with the neurons' names.
        shape: (rows, columns, channels), or (neurons,).
        membranes, spikes: [time, neurons].
        threshold: threshold of its neurons; None for an integrator.
        classes: names of the classes, for the last layer; None for others.
    """

    name: str
    naming: str
    shape: tuple[int, ...]
    membranes: np.ndarray
    spikes: np.ndarray
    threshold: float | None
    classes: Sequence[str] | None

    @property
    def integrates(self) -> bool:
        """Whether its neurons never spike and are read from their membranes."""
        return self.threshold is None

    @property
    def counts(self) -> np.ndarray:
        """Spike count of every neuron [neurons]."""
        return self.spikes.sum(0).astype(int)

    @property
    def ranked(self) -> np.ndarray:
        """The neurons that spike, most spikes first."""
        return np.argsort(-self.counts, kind="stable")[: np.count_nonzero(self.counts)]

    @property
    def whole(self) -> bool:
        """Whether all of its neurons are shown."""
        return len(self.counts) <= FEW

    @property
    def shown(self) -> np.ndarray:
        """The neurons that get a row: all if there are few, otherwise some from most to fewest spikes."""
        ranked = self.ranked
        if self.whole:
            return np.arange(len(self.counts))
        return ranked[np.linspace(0, len(ranked) - 1, min(len(ranked), ROWS)).astype(int)]

    def neuron(self, index: int) -> str:
        """Name of a neuron: its class, channel/row/column, or its number."""
        if self.classes is not None:
            return short(self.classes[index], LONGEST)
        if len(self.shape) == 1:
            return str(index)
        row, column, channel = np.unravel_index(index, self.shape)
        return f"{channel}/{row}/{column}"


@styled
def draw(sample: Sample) -> Figure:
    """A row with the first layer's membranes, one for each layer's raster, and one with the last layer's membranes.

    On the left: the image, where each layer fires, and the output's counts. An integrator has summed membranes instead
    of a raster and counts.
    """
    layers = _layers(sample)
    spiking = [layer for layer in layers if not layer.integrates]
    heights = [1.0, *[max(1.0, ROW * len(layer.counts)) if layer.whole else 1.0 for layer in spiking]]
    heights.append(2.2 if layers[-1].integrates else 1.1)
    figure = new(PAGE, sum(heights) + 0.25 * len(heights))
    grid = figure.add_gridspec(len(heights), 2, width_ratios=(1, 4.6), height_ratios=heights)
    axes = figure.add_subplot(grid[0, 1])
    _traces(axes, layers[0], _most_middle_least(layers[0]))
    right = [axes]
    for row, layer in enumerate(spiking, 1):
        right.append(figure.add_subplot(grid[row, 1], sharex=axes))
        _raster(right[-1], layer)
    right.append(figure.add_subplot(grid[-1, 1], sharex=axes))
    _traces(right[-1], layers[-1], np.argsort(-layers[-1].membranes.mean(0), kind="stable")[:3], all_others=True)
    _left(figure, grid, sample, layers)
    for axes in right[:-1]:
        axes.tick_params(labelbottom=False)
    right[-1].set(xlabel="time step", xlim=(-0.5, len(layers[-1].spikes) - 0.5))
    figure.align_ylabels(right)
    return figure


def _layers(sample: Sample) -> list[_Layer]:
    layers = []
    for number, (u, s, threshold) in enumerate(zip(sample.membranes, sample.spikes, sample.thresholds, strict=True), 1):
        last = number == len(sample.spikes)
        naming = "class" if last else "neuron" if u.ndim == 2 else "channel/row/col."
        flat = u.reshape(len(u), -1), s.reshape(len(s), -1)
        classes = sample.names if last else None
        name = f"LIF {number}" if sample.layers is None else sample.layers[number - 1]
        layers.append(_Layer(name, naming, u.shape[1:], *flat, threshold, classes))
    return layers


def _most_middle_least(layer: _Layer) -> np.ndarray:
    """Three neurons with different numbers of spikes; for a silent layer, those with the highest membranes."""
    ranked = layer.ranked
    if not len(ranked):
        return np.argsort(-layer.membranes.max(0), kind="stable")[:3]
    return ranked[sorted({0, len(ranked) // 2, len(ranked) - 1})]


def _raster(axes: Axes, layer: _Layer) -> None:
    """A row of dashes for each shown neuron."""
    shown, density = layer.shown, f"density {layer.spikes.mean():.1%}"
    which = f"all {len(shown)} neurons" if layer.whole else _which(layer)
    axes.set_title(f"{layer.name}: {which}; {density}")
    width = min(2.0, 0.55 * 380 / len(layer.spikes))  # points; the axes are about 380 wide
    times = [np.flatnonzero(layer.spikes[:, neuron]) for neuron in shown]
    if times:
        axes.eventplot(times, lineoffsets=range(len(shown)), linelengths=0.6, linewidths=width, colors=BLUE)
    else:
        axes.text(0.5, 0.5, "no spike", transform=axes.transAxes, ha="center", va="center")
    named = range(0, len(shown), 1 if layer.whole else max(1, -(-len(shown) // NAMES)))
    axes.set_yticks(named, [layer.neuron(shown[row]) for row in named])
    axes.set(ylim=(max(len(shown), 1) - 0.4, -0.6), ylabel=layer.naming)
    axes.grid(axis="y", visible=False)


def _which(layer: _Layer) -> str:
    spiking, there = len(layer.ranked), f"{len(layer.counts):,} neurons"
    if spiking <= ROWS:
        return f"the {spiking} that spike, of {there}"
    return f"{ROWS} of the {spiking:,} that spike, of {there}"


def _traces(axes: Axes, layer: _Layer, chosen: np.ndarray, all_others: bool = False) -> None:
    """Membranes of the chosen neurons, labeled above; with `all_others`, a small layer's other neurons in gray."""
    if all_others and layer.whole:
        axes.plot(layer.membranes, color=GRAY, linewidth=0.5)
    for neuron, color, unit in zip(chosen, (BLUE, ORANGE, SKY), (" spikes", "", ""), strict=False):
        label = layer.neuron(neuron) + ("" if layer.integrates else f": {layer.counts[neuron]}{unit}")
        axes.plot(layer.membranes[:, neuron], color=color, label=label)
    if layer.threshold is not None:
        axes.axhline(layer.threshold, color=INK, linestyle="--", linewidth=0.8, label=f"threshold {layer.threshold:g}")
    axes.set_ylabel(f"membranes\nof {layer.name}")
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "ncols": 4}
    axes.legend(**place, handlelength=1, columnspacing=0.9, handletextpad=0.4)


def _left(figure: Figure, grid, sample: Sample, layers: Sequence[_Layer]) -> None:
    """The image, below it where each layer fires, and finally the output's counts, next to raster and membranes."""
    _image(figure.add_subplot(grid[0, 0]), sample)
    for row, layer in enumerate(layers[:-1], 1):
        panel: Callable[[Axes, _Layer], None] = _places if len(layer.shape) == 3 else _rates
        panel(figure.add_subplot(grid[row, 0]), layer)
    rows = slice(-1 if layers[-1].integrates else -2, None)
    _output(figure.add_subplot(grid[rows, 0]), layers[-1], sample.label)


def _image(axes: Axes, sample: Sample) -> None:
    still = sample.image.mean(0) if sample.image.ndim == 4 else sample.image
    colored = still.shape[-1] == 3
    axes.imshow(still / max(1, still.max()) if colored else still.sum(-1), cmap="gray_r")
    axes.set_title(f"{sample.split} image, class {short(sample.names[sample.label], LONGEST)}")
    _bare(axes, still.shape[:2])


def _places(axes: Axes, layer: _Layer) -> None:
    """A convolution's spikes by position, summed over channels."""
    axes.imshow(layer.counts.reshape(layer.shape).sum(-1), cmap="Blues", vmin=0)
    axes.set_title("spikes by place")
    _bare(axes, layer.shape[:2])


def _bare(axes: Axes, size: tuple[int, ...]) -> None:
    """Labels only the first and last row and column."""
    axes.set(yticks=sorted({0, size[0] - 1}), xticks=sorted({0, size[1] - 1}))
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(True)


def _rates(axes: Axes, layer: _Layer) -> None:
    """Histogram of firing rates of the neurons that fire at all."""
    axes.hist(layer.counts[layer.counts > 0], bins=10, range=(0, len(layer.spikes)), color=BLUE)
    axes.set(xlim=(0, len(layer.spikes)), ylabel="neurons", title="spikes per neuron")
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))


def _output(axes: Axes, layer: _Layer, label: int) -> None:
    """Output spikes, or summed membranes, of each class, with the image's class highlighted."""
    shown = layer.shown
    scores = layer.membranes.sum(0) if layer.integrates else layer.counts
    axes.barh(range(len(shown)), scores[shown], color=[BLUE if neuron == label else GRAY for neuron in shown])
    axes.set_yticks(range(len(shown)), [layer.neuron(neuron) for neuron in shown])
    axes.set(ylim=(max(len(shown), 1) - 0.4, -0.6), ylabel="class")
    if layer.integrates:
        axes.set_title("summed membranes")
    else:
        axes.set(xlim=(0, len(layer.spikes)), title="output spikes")
    axes.grid(axis="y", visible=False)
