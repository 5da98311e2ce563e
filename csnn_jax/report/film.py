"""Spike rasters that play over the window, with membranes and the output's scores: the HTML and data of film.js."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from csnn_jax.config import NEVER
from csnn_jax.config.graph import NeuronNode
from csnn_jax.document.html import Content, Html, data, element
from csnn_jax.report import tiles
from csnn_jax.report.measure import Example, Measured
from csnn_jax.report.subject import ReportedRun

ROWS = 64
"""Maximum number of neurons of a layer in a raster."""
TRACES = 3  # membranes shown of a hidden layer
SPEEDS = (2, 5, 10, 25, 50)  # steps a second
KEYS = "When the player has focus, space plays and pauses, arrow keys move by a step, Home and End go to either end."


def player(subject: ReportedRun, measured: Measured) -> Html:
    """The player of a run's examples, which initially shows the whole window."""
    layers = subject.config.model.graph.neurons
    steps = len(measured.examples[0].spikes[0])
    head: list[dict[str, Any]] = [
        {"name": node.name, "shape": node.shape, "threshold": threshold, "classes": None}
        for node, threshold in zip(layers, measured.thresholds, strict=True)
    ]
    head[-1]["classes"] = subject.classes
    examples = [_example(example, layers, subject.classes) for example in measured.examples]
    film = {"steps": steps, "classes": subject.classes, "layers": head, "examples": examples}
    stage = element("div", _side(subject), _strips(head), class_="stage")
    parts = [_controls([one["title"] for one in examples], steps), stage, data(film)]
    label = f"Spikes of {subject.name}, step by step"
    needs = ("film.css", "film.js")
    sums = subject.sums_membranes
    return element(
        "div", *parts, class_="player", role="group", aria_label=label, tabindex=0, data_sums=sums, needs=needs
    )


def _controls(titles: Sequence[str], steps: int) -> Html:
    options = [element("option", title, value=number) for number, title in enumerate(titles)]
    speeds = [element("option", f"{speed} steps/s", value=speed, selected=speed == 10) for speed in SPEEDS]
    slider = element("input", type="range", class_="at", min=0, max=steps, value=steps, aria_label="Steps shown")
    return element(
        "div",
        element("label", "Image ", element("select", *options, class_="which")),
        element("button", "Play", type="button", class_="play"),
        element("button", "Back", type="button", class_="back"),
        element("button", "Step", type="button", class_="step"),
        element("div", slider, element("span", class_="done"), class_="where"),
        element("label", "Speed ", element("select", *speeds, class_="speed")),
        class_="controls",
    )


def _side(subject: ReportedRun) -> Html:
    what, unit = ("Summed membranes", "sum") if subject.sums_membranes else ("Output spikes", "spikes")
    head = element("tr", *(element("th", name, scope="col") for name in ("class", "", unit)))
    bar, count = element("td", element("span", class_="bar")), element("td", "0", class_="count number")
    rows = [element("tr", element("th", name, scope="row"), bar, count) for name in subject.classes]
    caption = element("caption", f"{what} so far")
    table = element("table", caption, element("thead", head), element("tbody", *rows), class_="counts")
    scrolled = element("div", table, class_="tall", role="region", aria_label=f"{what} so far", tabindex=0)
    verdict = element("p", class_="verdict", aria_live="polite")
    image = element("img", class_="image", src="data:,", alt="")
    return element("div", element("div", image, element("p", class_="frame")), scrolled, verdict, class_="side")


def _strips(head: Sequence[dict[str, Any]]) -> Html:
    strips = []
    for one in head:
        spikes = f"Spikes of {one['name']} over the window"
        raster = element("canvas", class_="raster", role="img", aria_label=spikes)
        below = f"Membranes of {one['name']} over the window"
        membranes = element("canvas", class_="membranes", role="img", aria_label=below)
        name = element("strong", one["name"])
        caption = element("figcaption", name, " ", element("span", class_="what"))
        shown = (membranes,) if one["threshold"] is None else (raster, membranes)
        strips.append(element("figure", caption, *shown, class_="strip"))
    pointed = element("p", "Point at a spike for its neuron. Dashed: the threshold.", class_="pointed")
    return element("div", *strips, pointed, class_="strips")


def _example(example: Example, layers: Sequence[NeuronNode], classes: Sequence[str]) -> dict[str, Any]:
    name, answer = classes[example.label], classes[example.answer]
    said = name if name == answer else f"{name}, classified as {answer}"
    frames = len(example.image) if example.image.ndim == 4 else 0
    pixels = tiles.film(example.image) if frames else tiles.still(example.image)
    source = base64.b64encode(tiles.png(pixels)).decode()
    height, width = example.image.shape[-3:-1]
    pairs = zip(layers, example.membranes, example.spikes, strict=True)
    return {
        "title": f"{said} (test image {example.index})",
        "label": example.label,
        "answer": example.answer,
        "image": f"data:image/png;base64,{source}",
        "alt": f"Test image {example.index}, class {name}",
        "aspect": width / height,
        "frames": frames,
        "key": ": blue darker, orange brighter" if example.image.shape[-1] == 2 else "",
        "layers": [_layer(*each, last=each[0] is layers[-1]) for each in pairs],
    }


def _layer(node: NeuronNode, membranes: np.ndarray, spikes: np.ndarray, last: bool) -> dict[str, Any]:
    """One layer's part of an example: the neurons shown, their spikes as bits, membranes of a few as float32."""
    steps, neurons = len(spikes), node.size
    flat, levels = spikes.reshape(steps, -1), membranes.reshape(steps, -1)
    active = np.flatnonzero(flat.any(0))
    rows = np.arange(neurons) if last else in_order(evenly(active, ROWS), node)
    traced = rows if last else spread(active, flat.sum(0))
    what = f"{len(active):,} of {neurons:,} neurons spike, density {flat.mean():.1%}"
    if node.operation["threshold"] == NEVER:
        what = f"membranes of {neurons:,} neurons that never spike"
    if not last and len(rows) < len(active):
        what += f"; {len(rows)} shown"
    if not last and len(traced):
        what += f"; membranes of neurons with {', '.join(str(int(flat[:, one].sum())) for one in traced)} spikes"
    return {
        "what": what,
        "rows": rows,
        "bits": _base64(np.packbits(flat[:, rows].T, axis=1)),
        "traces": [_base64(levels[:, one].astype("<f4")) for one in traced],
    }


def evenly(neurons: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the neurons, evenly spaced."""
    return neurons[np.linspace(0, len(neurons) - 1, min(len(neurons), most)).astype(int)]


def in_order(neurons: np.ndarray, node: NeuronNode) -> np.ndarray:
    """Sorts neurons by channel, then by position, because spikes are stored by position first."""
    channels = node.shape[-1] if len(node.shape) == 3 else 1
    return neurons[np.lexsort((neurons // channels, neurons % channels))]


def spread(active: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Three of the neurons that spike: the busiest, one in the middle, and the least busy."""
    by_spikes = active[np.argsort(-counts[active], kind="stable")]
    return by_spikes[np.unique(np.linspace(0, len(by_spikes) - 1, min(TRACES, len(by_spikes))).astype(int))]


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def legend() -> Content:
    """Legend of the player."""
    return (
        "Each row of a raster is a neuron, sorted by channel; time runs to the right. The curves below are membranes. "
        "In the output layer, blue is the image's class and orange a wrong answer. "
        "In other layers, blue is the neuron with the most spikes."
    )
