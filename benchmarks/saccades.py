"""What the simulated camera's recordings are like; prints JSON, draws one of them, and trains on them.

    python benchmarks/saccades.py > results/saccades.json                  # all 70,000, timed: minutes
    python benchmarks/saccades.py --plot RUN docs/saccades.png             # a recording, and what a network makes of it
    python benchmarks/saccades.py --train 0 1 2                            # results/saccades/0.json and so on, by seed

Statistics are means over the recordings, with standard deviations. They are made anew, in an empty folder.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import recipes
from matplotlib.figure import Figure

import csnn_jax
from csnn_jax import data, machine
from csnn_jax.data.events import saccades, simulated
from csnn_jax.data.events.recording import Events
from csnn_jax.data.events.shelf import Shelf
from csnn_jax.data.source import Wanted
from csnn_jax.figures.style import BLUE, ORANGE, PAGE, new, png, styled

TRAINED = Path("results/saccades")
JOB = ("--dataset", "saccades", "--time-steps", "10", "--epochs", "5", "--schedule", "cosine", "--eval-every", "0")
SHOWN = 7
"""The test image whose recording is drawn."""
ROWS = 150
"""Neurons of a layer that are drawn at most, evenly spaced."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subset", type=int, help="recordings to learn from; without it all 60,000")
    parser.add_argument("--plot", nargs=2, metavar=("RUN", "PNG"), help="draw a recording instead")
    parser.add_argument("--train", nargs="+", type=int, metavar="SEED", help="train with these seeds instead")
    options = parser.parse_args()
    if options.train is not None:
        for seed in options.train:
            path = TRAINED / f"{seed}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(json.dumps(recipes.measured([*JOB, "--seed", str(seed)], seed=seed), indent=1) + "\n")
    elif options.plot:
        run, path = options.plot
        Path(path).write_bytes(png(drawn(run)))
    else:
        print(json.dumps(measured(options.subset), indent=2))


def measured(subset: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            raw = simulated.read_saccades("", Wanted((34, 34, 2), 1, cache=Shelf(Path(folder)), subset=subset))
        seconds = time.perf_counter() - began
        places = [place for images, _ in (raw.train, raw.test) for place in images.places]  # type: ignore[attr-defined]
        told = [described(simulated.read_place(place)) for place in places]
    values = {name: np.array([one[name] for one in told], float) for name in told[0]}
    return {
        "command": " ".join(["python", *sys.argv]),
        "commit": machine.commit(),
        **machine.describe(),
        "recordings": len(told),
        "seconds": round(seconds, 1),
        "mean": {name: round(float(of.mean()), 2) for name, of in values.items()},
        "deviation": {name: round(float(of.std()), 2) for name, of in values.items()},
    }


def described(events: Events) -> dict[str, float]:
    saccade = np.bincount(events.t // (1000 * saccades.SACCADE), minlength=3)
    return {
        "events": len(events.t),
        "brighter": int(events.p.sum()),
        "darker": int((1 - events.p).sum()),
        **{f"in saccade {number}": int(count) for number, count in enumerate(saccade, 1)},
        "pixels with events": len(np.unique(events.y * saccades.SENSOR[1] + events.x)),
        "row": float(events.y.mean()),
        "column": float(events.x.mean()),
        "last_ms": float(events.t[-1]) / 1000,
    }


@styled
def drawn(run: str) -> Figure:
    """A recording in space and time, frames of it, and the spikes of each layer."""
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
    for number, (ax, spikes) in enumerate(zip(below.subplots(1, len(trace.spikes)), trace.spikes, strict=True), 1):
        flat = np.asarray(spikes[:, 0]).reshape(len(spikes), -1)
        seen = flat[:, np.linspace(0, flat.shape[1] - 1, min(ROWS, flat.shape[1])).astype(int)]
        step, neuron = np.nonzero(seen)
        ax.plot(step, neuron, "|", color=BLUE, markersize=2.5, markeredgewidth=0.6)
        ax.set(
            title=f"lif{number}, {seen.shape[1]} of {flat.shape[1]:,} neurons", xlabel="step", xlim=(-1, len(spikes))
        )
    below.supylabel("neuron")
    return figure


if __name__ == "__main__":
    main()
