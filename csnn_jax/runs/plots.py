"""The pictures of a run directory (matplotlib, no window unless asked for)."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure  # without pyplot, whose backend is the caller's affair

from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_jax.runs.rundir import RunDir

INK, BLUE, ORANGE, GREEN, GREY = "#222222", "#1f5fa8", "#d9601a", "#3a8f4d", "#999999"
RASTER_ROWS = 128  # neurons of a layer that a raster shows


def accuracy(run: RunDir) -> None:
    """accuracy.png: accuracy and loss against the iteration, from metrics.jsonl."""
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    _draw_accuracy(figure, run)
    write_atomic(run.path / "accuracy.png", png(figure))


def spikes(
    run: RunDir,
    image: np.ndarray,
    label: int,
    membranes: Sequence[np.ndarray],
    spikes: Sequence[np.ndarray],
    thresholds: Sequence[float],
) -> None:
    """spikes.png: the `raster` of an image."""
    write_atomic(run.path / "spikes.png", raster(image, label, membranes, spikes, thresholds))


def raster(
    image: np.ndarray,
    label: int,
    membranes: Sequence[np.ndarray],
    spikes: Sequence[np.ndarray],
    thresholds: Sequence[float],
) -> bytes:
    """Raster of every layer and membrane traces of the output layer, for one image, as a PNG.

    Args:
        image: [H, W, C] uint8, or [T, H, W, C].
        label: its class.
        membranes: U of every layer, [time, *shape].
        spikes: S of every layer, [time, *shape].
        thresholds: of every layer.
    """
    rows = len(spikes) + 2
    figure = Figure(figsize=(11, 2.0 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 2, width_ratios=(1, 4.5))
    axes = figure.add_subplot(grid[0, 0])
    still = image.mean(0) if image.ndim == 4 else image
    axes.imshow(still.squeeze() if still.shape[-1] in (1, 3) else still.sum(-1), cmap="gray_r")
    axes.set(title=f"test image, class {label}", xticks=[], yticks=[])
    flat = [layer.reshape(len(layer), -1) for layer in spikes]
    shared = None
    for i, layer in enumerate(flat):
        shared = figure.add_subplot(grid[i, 1], sharex=shared)
        _raster(shared, layer, f"LIF {i + 1}")
        shared.tick_params(labelbottom=False)
    for row, number, what in ((rows - 2, 0, "of three neurons of LIF 1"), (rows - 1, -1, "of the output neurons")):
        axes = figure.add_subplot(grid[row, 1], sharex=shared)
        _membranes(axes, membranes[number].reshape(len(flat[number]), -1), flat[number], thresholds[number])
        axes.set_title(f"Membranes {what}", loc="left", fontsize=10)
        axes.tick_params(labelbottom=row == rows - 1)
        beside = figure.add_subplot(grid[row, 0], frame_on=False, xticks=[], yticks=[])
        beside.legend(*axes.get_legend_handles_labels(), loc="center left", frameon=False, fontsize=9)
    axes.set(xlabel="time step")
    axes.set_xlim(-0.5, len(flat[-1]) - 0.5)
    return png(figure)


def confusion(path: Path, matrix: np.ndarray, accuracy: float) -> None:
    """A confusion matrix [true class, predicted class] as a picture."""
    classes = len(matrix)
    size = min(12.0, max(5.0, 0.55 * classes + 1.5))
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ticks = range(0, classes, 1 if classes <= 30 else 10)
    axes.set(xlabel="predicted class", ylabel="true class", xticks=ticks, yticks=ticks)
    axes.set_title(f"{matrix.sum()} test images, accuracy {accuracy:.2%}", loc="left")
    if classes <= 20:
        for row, column in np.ndindex(*matrix.shape):
            if matrix[row, column]:
                ink = "white" if share[row, column] > 0.5 else INK
                axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=ink, fontsize=9)
    write_atomic(path, png(figure))


def require_window() -> None:
    """Raises UserError unless matplotlib can open a window here."""
    import matplotlib.pyplot as plt

    before = plt.get_backend()
    try:
        plt.switch_backend("TkAgg")
    except ImportError as error:
        raise UserError(f"--show: no window can be opened: {error}") from None
    plt.switch_backend(before)


def show(run: RunDir) -> None:
    """Opens a window with the accuracy plot and waits until it is closed."""
    import matplotlib.pyplot as plt

    plt.switch_backend("TkAgg")
    _draw_accuracy(plt.figure(figsize=(8, 6.5), layout="constrained"), run)
    plt.show()


def _draw_accuracy(figure: Figure, run: RunDir) -> None:
    train, final = run.records("train"), run.records("end")
    top, bottom = figure.subplots(2, sharex=True)
    for kind, color in (("validation", ORANGE), ("test", BLUE)):
        if points := run.records(kind):
            x, y = [p["iter"] for p in points], [100 * p["accuracy"] for p in points]
            top.plot(x, y, "o-", color=color, markersize=4, label=f"{kind} accuracy")
    if final and not final[-1]["interrupted"]:
        last = 100 * final[-1]["accuracy"]
        top.plot(final[-1]["iter"], last, "*", color=INK, markersize=11, label=f"final test accuracy {last:.2f} %")
    top.set(ylabel="accuracy (%)", title=f"Accuracy and loss ({run.path.name})", ylim=(0, 102))
    if top.get_legend_handles_labels()[0]:
        top.legend(loc="lower right", frameon=False)
    steps, losses = np.array([r["iter"] for r in train]), np.array([r["loss"] for r in train])
    bottom.plot(steps, losses, color=GREY, linewidth=0.7, label="each iteration")
    if len(losses) >= 50:
        width = 25
        mean = np.convolve(losses, np.ones(width) / width, "valid")
        bottom.plot(steps[width - 1 :], mean, color=BLUE, label=f"mean of the last {width}")
    bottom.set(xlabel="iteration", ylabel="training loss (nats)")
    bottom.legend(loc="upper right", frameon=False)
    for axes in (top, bottom):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def _raster(axes, spikes: np.ndarray, name: str) -> None:
    """Neurons of a layer [time, neurons] that spike, evenly spaced where there are too many, in the layer's order."""
    active = np.flatnonzero(spikes.any(0))
    if spikes.shape[1] <= 20:
        active = np.arange(spikes.shape[1])
    shown = active[np.linspace(0, len(active) - 1, min(len(active), RASTER_ROWS)).astype(int)]
    time, row = np.nonzero(spikes[:, shown])
    axes.scatter(time, row, s=4 if len(shown) > 20 else 14, marker="|", linewidths=0.8, color=INK)
    which = f"{len(shown)} of the {len(active)} neurons that spike, of {spikes.shape[1]}"
    if len(shown) == spikes.shape[1]:
        which = f"{len(shown)} neurons"
    axes.set_title(f"{name}: {which}; density {spikes.mean():.1%}", loc="left", fontsize=10)
    axes.set(ylim=(-1, max(1, len(shown))), ylabel="neuron")
    axes.yaxis.get_major_locator().set_params(integer=True)


def _membranes(axes, membranes: np.ndarray, spikes: np.ndarray, threshold: float) -> None:
    """Traces of a layer [time, neurons]: all of an output layer's, else of three neurons with differing rates."""
    neurons = membranes.shape[1]
    by_spikes = np.argsort(-spikes.sum(0), kind="stable")
    if neurons <= 20:
        chosen = np.argsort(-membranes.mean(0), kind="stable")[:3]
        for neuron in range(neurons):
            axes.plot(membranes[:, neuron], color=GREY, linewidth=0.5, alpha=0.6)
    else:
        active = by_spikes[: max(3, int(spikes.any(0).sum()))]
        chosen = active[[0, len(active) // 2, len(active) - 1]]
    for neuron, color in zip(chosen, (BLUE, ORANGE, GREEN), strict=False):
        name = "class" if neurons <= 20 else "neuron"
        label = f"{name} {neuron}: {int(spikes[:, neuron].sum())} spikes"
        axes.plot(membranes[:, neuron], color=color, linewidth=1.2, label=label)
    axes.axhline(threshold, color=INK, linestyle="--", linewidth=0.8, label=f"threshold {threshold:g}")
    axes.set_ylabel("membrane U")


def png(figure: Figure) -> bytes:
    """A figure as PNG bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # a run's name in any script
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
