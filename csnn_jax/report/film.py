"""Spikes that play over the window, with membranes and the output's scores."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from csnn_jax.config import NEVER
from csnn_jax.config.graph import NeuronNode
from csnn_jax.document.blocks import Film
from csnn_jax.report import tiles
from csnn_jax.report.measure import Example, Measured
from csnn_jax.report.subject import ReportedRun

ROWS = 64
"""Maximum number of neurons of a layer in a raster."""
TRACES = 3  # membranes shown of a hidden layer

LEGEND = (
    "Each row of a raster is a neuron, sorted by channel; time runs to the right. The curves below are membranes. "
    "In the output layer, blue is the image's class and orange a wrong answer. "
    "In other layers, blue is the neuron with the most spikes."
)


def film(subject: ReportedRun, measured: Measured) -> Film:
    """The film of a run's examples.

    Its data: `steps`, `sums` (whether scores are summed output membranes; otherwise they count spikes), `classes`,
    `layers` (name, shape, threshold) and `examples`, see `_example`.
    """
    layers = subject.config.model.graph.neurons
    heads = [
        {"name": node.name, "shape": node.shape, "threshold": threshold}
        for node, threshold in zip(layers, measured.thresholds, strict=True)
    ]
    data = {
        "steps": len(measured.examples[0].spikes[0]),
        "sums": subject.sums_membranes,
        "classes": subject.classes,
        "layers": heads,
        "examples": [_example(example, layers, subject.classes) for example in measured.examples],
    }
    return Film(f"Spikes of {subject.name}, step by step", data)


def _example(example: Example, layers: Sequence[NeuronNode], classes: Sequence[str]) -> dict[str, Any]:
    name, answer = classes[example.label], classes[example.answer]
    title = name if name == answer else f"{name}, classified as {answer}"
    frames = len(example.image) if example.image.ndim == 4 else 0
    pixels = tiles.film(example.image) if frames else tiles.still(example.image)
    source = base64.b64encode(tiles.png(pixels)).decode()
    height, width = example.image.shape[-3:-1]
    pairs = zip(layers, example.membranes, example.spikes, strict=True)
    return {
        "title": f"{title} (test image {example.index})",
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
        what += f"; membranes of neurons with {', '.join(str(int(flat[:, neuron].sum())) for neuron in traced)} spikes"
    return {
        "what": what,
        "rows": rows,
        "bits": _base64(np.packbits(flat[:, rows].T, axis=1)),
        "traces": [_base64(levels[:, neuron].astype("<f4")) for neuron in traced],
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
