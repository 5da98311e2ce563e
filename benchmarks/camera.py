"""Compares the simulated camera of `--dataset saccades` with N-MNIST's real one; prints JSON.

    python benchmarks/camera.py N-MNIST > results/camera.json
    python benchmarks/camera.py N-MNIST --plot docs/camera.png

N-MNIST is its folder, with Train/0/00002.bin and so on; a recording has the number of its digit in MNIST, from 1.
The first 50 recordings of each class set the simulator's constants and are used to compare the cameras, with the same
digits in the simulator; `benchmarks/real_events.py` tests on the rest.

The path is measured from the constancy of brightness: a pixel's events in 10 ms, brighter minus darker, are about
-v * the gradient of the digit's log brightness at the digit's position. For each shift of the digit, the velocity v is
a linear regression over all recordings at once; the shift that explains the most is the digit's position.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import maximum_filter

from csnn_jax import machine
from csnn_jax.data.events import saccades
from csnn_jax.data.events.recording import Events, read_bin
from csnn_jax.data.idx import read_mnist
from csnn_jax.figures.style import GRAY, ORANGE, PAGE, new, png, styled

EACH = 50
"""Number of recordings of each class that the constants were fitted to."""
BINS = saccades.DURATION // saccades.STEP
GAPS = np.array([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 400])
"""Bin edges for the intervals between two events of a pixel (ms)."""
PADDED = 64
"""Size of the Fourier transforms that correlate events with gradients."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nmnist", type=Path)
    parser.add_argument("--plot", metavar="PNG", type=Path, help="draw the figure instead")
    options = parser.parse_args()
    recordings, _ = split(options.nmnist)
    numbers = np.array([int(path.stem) - 1 for path in recordings])
    digits = np.asarray(read_mnist().train[0])[numbers, ..., 0]
    real = [read_bin(path) for path in recordings]
    made = [next(saccades.simulate(digits[i : i + 1], 0, int(n))) for i, n in enumerate(numbers)]
    if options.plot:
        options.plot.write_bytes(png(drawn(digits, real, made)))
        return
    report = {"real": described(real, digits), "simulated": described(made, digits)}
    report |= {"path": {"real": path(real, digits).tolist(), "simulated": path(made, digits).tolist()}}
    command = " ".join(["python", *sys.argv])
    print(json.dumps({"command": command, "commit": machine.commit(), "recordings": len(real), **report}, indent=1))


def split(nmnist: Path) -> tuple[list[Path], list[Path]]:
    """The recordings in the folder's training part: the first `EACH` of each class, and all others."""
    classes = [sorted((nmnist / "Train" / str(name)).glob("*.bin")) for name in range(10)]
    return [path for one in classes for path in one[:EACH]], [path for one in classes for path in one[EACH:]]


def described(recordings: list[Events], digits: np.ndarray) -> dict[str, Any]:
    """Means over the recordings, rounded."""
    counts = np.array([len(events.t) for events in recordings])
    brighter, darker = over_time(recordings)
    noise = np.array([far(*one) for one in zip(recordings, digits, strict=True)]).sum(0)
    gap, same = gaps(recordings)
    return {
        "events": round(float(counts.mean()), 1),
        "deviation of events": round(float(counts.std()), 1),
        "brighter": round(float(brighter.sum()), 1),
        "darker": round(float(darker.sum()), 1),
        "in thirds of the time": [round(float(part.sum()), 1) for part in np.array_split(brighter + darker, 3)],
        "pixels with events": round(float((per_pixel(recordings) > 0).sum(1).mean()), 1),
        "events of a pixel that has some": round(float(counts.sum() / (per_pixel(recordings) > 0).sum()), 2),
        "median interval at a pixel, same polarity (ms)": round(float(np.median(gap[same])), 2),
        "median interval at a pixel, other polarity (ms)": round(float(np.median(gap[~same])), 2),
        "noise events on the whole sensor": round(float(noise[:2].sum() / noise[2] * 34 * 34), 1),
        "share of noise that is brighter": round(float(noise[1] / noise[:2].sum()), 3),
    }


def over_time(recordings: list[Events]) -> tuple[np.ndarray, np.ndarray]:
    """Mean number of events per recording in each 10 ms: brighter ones, and darker ones."""
    counts = np.zeros((2, BINS))
    for events in recordings:
        np.add.at(counts, (events.p, np.minimum(events.t // (1000 * saccades.STEP), BINS - 1)), 1 / len(recordings))
    return counts[1], counts[0]


def per_pixel(recordings: list[Events]) -> np.ndarray:
    """Events of each pixel, [recordings, 1156]."""
    return np.array([np.bincount(events.y * 34 + events.x, minlength=34 * 34) for events in recordings])


def gaps(recordings: list[Events]) -> tuple[np.ndarray, np.ndarray]:
    """Time between consecutive events of a pixel (ms), and whether they have the same polarity."""
    intervals, same = [], []
    for events in recordings:
        pixel = events.y * 34 + events.x
        order = np.lexsort((events.t, pixel))
        near = np.diff(pixel[order]) == 0
        intervals.append(np.diff(events.t[order])[near] / 1000)
        same.append((np.diff(events.p[order]) == 0)[near])
    return np.concatenate(intervals), np.concatenate(same)


def far(events: Events, digit: np.ndarray) -> tuple[int, int, int]:
    """Number of darker events, brighter events and pixels where the digit never is."""
    padded = np.zeros((40, 40), bool)
    padded[1:29, 1:29] = maximum_filter(digit > 0, size=3)
    reached = np.zeros((34, 34), bool)
    for down in range(8):
        for right in range(8):
            reached |= np.roll(padded, (down, right), (0, 1))[:34, :34]
    outside = ~reached[events.y, events.x]
    brighter = int(events.p[outside].sum())
    return int(outside.sum()) - brighter, brighter, int((~reached).sum())


def path(recordings: list[Events], digits: np.ndarray) -> np.ndarray:
    """Row and column of the digit's corner in each 10 ms (pixels), and the fraction it explains, [BINS, 3]."""
    light = np.log1p((255 - np.pad(digits.astype(float), ((0, 0), (6, 6), (6, 6)))) / 28)
    gradients = [np.gradient(light, axis=axis) for axis in (1, 2)]
    inverse = np.linalg.inv([[(one * other).sum() for other in gradients] for one in gradients])
    transformed = [np.conj(np.fft.rfft2(gradient, s=(PADDED, PADDED))) for gradient in gradients]
    places = []
    for signed in maps(recordings):
        seen = np.fft.rfft2(signed, s=(PADDED, PADDED))
        matched = np.stack([np.fft.irfft2((seen * one).sum(0), s=(PADDED, PADDED)) for one in transformed], -1)
        explained = np.einsum("...i,ij,...j", matched, inverse, matched)
        top = np.unravel_index(explained.argmax(), explained.shape)
        places.append([*(at + 6 for at in peak(explained, top)), explained[top] / (signed**2).sum()])
    return np.round(places, 2)


def maps(recordings: list[Events]) -> np.ndarray:
    """Events of each pixel in each 10 ms, brighter minus darker, [BINS, recordings, 34, 34]."""
    differences = np.zeros((BINS, len(recordings), 34, 34))
    for number, events in enumerate(recordings):
        within = events.t < 1000 * saccades.DURATION
        when = events.t[within] // (1000 * saccades.STEP)
        np.add.at(differences, (when, number, events.y[within], events.x[within]), 2 * events.p[within] - 1)
    return differences


def peak(values: np.ndarray, top: tuple[np.intp, ...]) -> list[float]:
    """The peak of a parabola through the highest value and its neighbors, as shifts around 0."""
    shifts = []
    for axis in (0, 1):
        before, at, after = (np.roll(values, step, axis)[top] for step in (1, 0, -1))
        shift = top[axis] - PADDED * (top[axis] > PADDED // 2)
        shifts.append(float(shift + (before - after) / (2 * (before - 2 * at + after))))
    return shifts


@styled
def drawn(digits: np.ndarray, real: list[Events], made: list[Events]) -> Figure:
    """Six comparisons of the two cameras on the same digits."""
    figure = new(PAGE, 4.6)
    (count, time, noise), (pixel, gap, place) = figure.subplots(2, 3)
    for number, (name, recordings, color) in enumerate((("N-MNIST", real, GRAY), ("simulated", made, ORANGE))):
        count.hist(
            [len(one.t) for one in recordings], np.arange(0, 8001, 400), histtype="step", color=color, label=name
        )
        brighter, darker = over_time(recordings)
        middle = (np.arange(BINS) + 0.5) * saccades.STEP
        time.plot(middle, brighter, color=color)
        time.plot(middle, darker, "--", color=color)
        *away, pixels = np.array([far(*one) for one in zip(recordings, digits, strict=True)]).sum(0)
        noise.bar([number / 3, 1 + number / 3], np.array(away) / pixels * 34 * 34, 1 / 3, color=color)
        many = np.minimum(per_pixel(recordings), 30)
        pixel.step(range(1, 31), [(many == n).sum() / len(many) for n in range(1, 31)], where="mid", color=color)
        between, same = gaps(recordings)
        share = np.histogram(between[same], GAPS)[0] / len(between)
        gap.stairs(share, GAPS, color=color)
        corners = path(recordings, digits)
        clear = corners[:, 2] > 0.1
        place.plot(middle[clear], corners[clear, 0], "o-", color=color)
        place.plot(middle[clear], corners[clear, 1], "s--", color=color)
    count.set(title="recordings by events", xlabel="events", ylabel="recordings", ylim=(0, 90))
    count.legend(loc="upper right")
    time.set(title="events in 10 ms", xlabel="ms", ylim=(0, 200))
    for line, text in (("-", "brighter"), ("--", "darker")):
        time.plot([], [], line, color=GRAY, label=text)
    time.legend(loc="upper right")
    noise.set(title="noise events a recording", xticks=[1 / 6, 7 / 6], xticklabels=["darker", "brighter"])
    noise.grid(visible=False, axis="x")
    pixel.set(title="pixels by their events", xlabel="events (30: or more)", ylabel="pixels a recording")
    gap.set(title="interval, same polarity", xlabel="ms", ylabel="share of intervals", xscale="log", xlim=(0.5, 100))
    gap.set_xticks([1, 10, 100], ["1", "10", "100"])
    place.set(title="the digit's path", xlabel="ms", ylabel="pixels")
    for line, text in (("o-", "row"), ("s--", "column")):
        place.plot([], [], line, color=GRAY, label=text)
    place.set_ylim(0, 9)
    place.legend(loc="upper right", ncols=2)
    return figure


if __name__ == "__main__":
    main()
