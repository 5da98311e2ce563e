"""Draws a recording from the simulated camera, and a network's spikes.

python benchmarks/saccades.py RUN docs/saccades.png
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import csnn_jax
from csnn_jax import data
from csnn_jax.data.events import saccades
from csnn_jax.figures.style import BLUE, ORANGE, PAGE, new, png, styled

SHOWN = 7
"""The index of the test image to draw the recording of."""
ROWS = 150
"""Maximum number of neurons to draw per layer, evenly spaced."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run on saccades")
    parser.add_argument("png", type=Path)
    options = parser.parse_args()
    options.png.write_bytes(png(drawn(options.run)))


@styled
def drawn(run: str) -> Figure:
    """A recording in space and time, some of its frames, and the spikes of each layer."""
    model = csnn_jax.load(run)
    test = data.load_for(model.config).test
    frames = test.images[np.array([SHOWN])]
    trace = model.trace(frames)
    digit = data.load("mnist", (28, 28, 1)).test.images[SHOWN : SHOWN + 1, ..., 0]
    (events,) = saccades.simulate(digit, 1, SHOWN)
    figure = new(PAGE, 4.4)
    above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    left, right = above.subfigures(1, 2, width_ratios=(1, 1.1))
    space = left.add_subplot(projection="3d")
    colours = np.where(events.p, ORANGE, BLUE)
    space.scatter(events.t / 1000, events.x, 33 - events.y, s=0.4, c=colours, linewidths=0)
    space.set(xlabel="ms", ylabel="column", zlabel="row", title="events: brighter (orange), darker (blue)")
    space.view_init(18, -62)
    count = 8
    shown = np.linspace(0, frames.shape[1] - 1, count).astype(int)
    axes = right.subplots(2, count // 2)
    right.suptitle("frames of it")
    for ax, step in zip(axes.flat, shown, strict=True):
        dark, bright = (np.minimum(frames[0, step, ..., channel] / 3, 1) for channel in (0, 1))
        ax.imshow(np.stack([1 - dark, 1 - 0.55 * (dark + bright).clip(0, 1), 1 - bright], -1))
        ax.set(title=f"step {step}", xticks=[], yticks=[])
        ax.grid(False)
    for ax, (node, spikes) in zip(below.subplots(1, len(trace.spikes)), trace.spikes.items(), strict=True):
        flat = spikes[:, 0].reshape(len(spikes), -1)
        seen = flat[:, np.linspace(0, flat.shape[1] - 1, min(ROWS, flat.shape[1])).astype(int)]
        step, neuron = np.nonzero(seen)
        ax.plot(step, neuron, "|", color=BLUE, markersize=2.5, markeredgewidth=0.6)
        ax.set(title=f"{node}, {seen.shape[1]} of {flat.shape[1]:,} neurons", xlabel="step", xlim=(-1, len(spikes)))
    below.supylabel("neuron")
    return figure


if __name__ == "__main__":
    main()
