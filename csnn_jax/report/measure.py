"""Measures what a trained network does on its test images, for a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from flax import nnx
from jax import Array

from csnn_jax.config import NEVER, ModelConfig
from csnn_jax.data import Split
from csnn_jax.report.subject import ReportedRun
from csnn_jax.runner import Runners
from csnn_jax.runs import metrics
from csnn_jax.runs.footprint import Activity
from csnn_jax.runs.metrics import LOOKED_AT, Evaluation, Moments, NeuronSummary
from csnn_jax.trained import Trained

BINS = 40
DRAWN = 2_000_000  # membranes of a layer in a histogram
MISTAKES = 2  # among the examples


@dataclass(frozen=True)
class Histogram:
    """Fractions of all values by bin; the first and last bin include the values beyond them.

    Attributes:
        centers: centers of the bins [BINS].
        shares: fractions, 0 to 1 [BINS].
    """

    centers: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class Example:
    """The membranes and spikes of all layers for one test image, and the answer.

    Attributes:
        image: uint8 [H, W, C], or [T, H, W, C].
        index: its index in the test images.
        label: its class.
        answer: the class with the highest score; ties go to the lowest class.
        membranes, spikes: of every layer, [time, *shape].
    """

    image: np.ndarray
    index: int
    label: int
    answer: int
    membranes: list[np.ndarray]
    spikes: list[np.ndarray]


@dataclass(frozen=True)
class Measured:
    """Measurements of a network on its test images.

    Attributes:
        engine: the engine that ran it, in words.
        split: the test images.
        scores: class scores [N, classes]: output spikes over the window, int; or summed output membranes, float.
        by_step: accuracy if the window ended after step 1, 2, ... [time].
        activity: spikes by neuron on `LOOKED_AT` images, evenly spaced in the split.
        neurons: summary of each layer on these images, by name.
        membranes: histogram of each layer on these images.
        thresholds: mean threshold of each layer's channels; None: it's an integrator, which never spikes.
        examples: an image of each class, then some mistakes.
    """

    engine: str
    split: Split
    scores: np.ndarray
    by_step: np.ndarray
    activity: Activity
    neurons: dict[str, NeuronSummary]
    membranes: list[Histogram]
    thresholds: list[float | None]
    examples: list[Example]

    @property
    def result(self) -> Evaluation:
        """Predictions over the whole split."""
        return Evaluation(self.split.labels, self.scores.argmax(1), {}, self.scores.shape[1])

    @property
    def densities(self) -> dict[str, float]:
        """Fraction of neurons that spike at a step, by layer, on the images of `activity`."""
        each = self.activity.images * self.activity.time_steps
        return {name: float(one.mean()) / each for name, one in zip(self.neurons, self.activity.spikes, strict=True)}


def measure(subject: ReportedRun) -> Measured:
    """Runs the network of a run that has weights and images.

    Raises:
        UserError: the job's engine can't run it.
    """
    assert subject.tensors is not None and subject.dataset is not None
    network = _Network(Trained(subject.config, subject.tensors, subject.config.train.engine), subject.dataset.test)
    scores, by_step = network.runner.by_steps(network.params, network.split)
    neurons = network.summarize_neurons()
    activity, membranes = reduce(add, network.activities), network.histograms()
    examples = network.examples(chosen(subject.dataset.test.labels, scores))
    means = [float(theta.mean()) for theta in network.thresholds]
    thresholds = [None if mean == NEVER else mean for mean in means]
    parts = (activity, neurons, membranes, thresholds, examples)
    return Measured(network.engine, subject.dataset.test, scores, by_step, *parts)


def mistakes(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The misclassified images, worst first: by how far the answer's score exceeds the true class's."""
    rows, answers = np.arange(len(labels)), scores.argmax(1)
    margin = scores[rows, answers] - scores[rows, labels]
    wrong = np.flatnonzero(answers != labels)
    return wrong[np.argsort(-margin[wrong], kind="stable")]


def chosen(labels: np.ndarray, scores: np.ndarray) -> list[int]:
    """Images to show: the first of each class, a correctly classified one if possible, then the worst mistakes."""
    right = scores.argmax(1) == labels
    picked = []
    for label in np.unique(labels)[:10]:
        images = np.flatnonzero(labels == label)
        picked.append(int(images[np.argmax(right[images])]))
    worst = [int(index) for index in mistakes(labels, scores) if index not in picked]
    return picked + worst[:MISTAKES]


class _Network:
    """A trained network and the images it's measured on."""

    def __init__(self, trained: Trained, split: Split):
        config = trained.config
        runners = Runners(trained.model, config.train.engine, config.train.seed)
        self.engine, self.params = runners.describe(split.images), nnx.split(trained.model)[1]
        self.model: ModelConfig = config.model
        self.split, self.runner = split, runners.of(split.images)
        self.thresholds = [np.asarray(neurons.in_use["threshold"]) for neurons in trained.model.neurons.values()]
        self.activities: list[Activity] = []
        self._drawn: list[list[np.ndarray]] = []
        self._size = LOOKED_AT

    def summarize_neurons(self) -> dict[str, NeuronSummary]:
        """Summarizes every layer's neurons with `metrics.summarize`, and fills `activities`."""

        def run(images: np.ndarray, number: int) -> list[Moments]:
            self._size = len(images)
            x = self.runner.present(self.runner.hold(images), np.arange(len(images)), (3, number))
            membranes, spikes = self._trace(x)
            self.activities.append(self._activity(np.asarray(x), spikes))
            self._drawn.append([_draw(layer, len(self.activities)) for layer in membranes])
            return [metrics.moments(layer, theta) for layer, theta in zip(membranes, self.thresholds, strict=True)]

        return metrics.summarize(self.split.images, self.model, run)

    def histograms(self) -> list[Histogram]:
        """Histograms of each layer's membranes from `summarize_neurons`: all of them, or a sample of `DRAWN`."""
        return [histogram(np.concatenate(parts)) for parts in zip(*self._drawn, strict=True)]

    def examples(self, which: Sequence[int]) -> list[Example]:
        """Traces some images, in batches of the size in `summarize_neurons`, for which everything is compiled."""
        examples = []
        for start in range(0, len(which), self._size):
            rows = np.resize(np.array(which[start : start + self._size]), self._size)
            x = self.runner.present(self.runner.hold(self.split.images), rows, (2, start))
            membranes, spikes = self._trace(x)
            for place, index in enumerate(which[start : start + self._size]):
                arrays = [[layer[:, place].copy() for layer in layers] for layers in (membranes, spikes)]
                output = arrays[0 if self.model.readout == "membrane" else 1][-1]
                answer = int(output.cumsum(0)[-1].argmax())  # summed in the order of the steps
                label = int(self.split.labels[index])
                examples.append(Example(self.split.images[index], index, label, answer, *arrays))
        return examples

    def _trace(self, x: Array) -> tuple[list[np.ndarray], list[np.ndarray]]:
        trace = self.runner.trace(self.params, x)
        return list(trace.membranes.values()), [layer > 0 for layer in trace.spikes.values()]

    def _activity(self, x: np.ndarray, spikes: Sequence[np.ndarray]) -> Activity:
        """The activity of a batch, channels first."""
        values = x / self.model.entering.scale if x.dtype == np.uint8 else x
        layers = [np.moveaxis(layer, -1, 2) for layer in spikes]
        return Activity.of(self.model, np.moveaxis(values, -1, -3), layers)


def _draw(membranes: np.ndarray, seed: int) -> np.ndarray:
    """Membranes [time, batch, *shape] of all neurons, or of as many as give `DRAWN` for `LOOKED_AT` images."""
    flat = membranes.reshape(membranes.shape[0] * membranes.shape[1], -1)
    share = DRAWN * membranes.shape[1] // LOOKED_AT
    most = max(1, share // len(flat))
    if flat.shape[1] <= most:
        return flat.reshape(-1)
    neurons = np.random.default_rng(seed).choice(flat.shape[1], most, replace=False)
    return flat[:, np.sort(neurons)].reshape(-1)


def histogram(values: np.ndarray, low: float | None = None, high: float | None = None) -> Histogram:
    """Histogram of values from `low` to `high`; None: a bound with a thousandth of the values beyond it."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Histogram(np.zeros(1), np.zeros(1))
    low = float(np.quantile(finite, 0.001)) if low is None else low
    high = float(np.quantile(finite, 0.999)) if high is None else high
    width = (high - low) / BINS or 1.0
    bins = np.clip(((finite - low) / width).astype(np.int64), 0, BINS - 1)
    shares = np.bincount(bins, minlength=BINS) / len(finite)
    return Histogram(low + width * (np.arange(BINS) + 0.5), shares)


def rates(activity: Activity, layer: int) -> np.ndarray:
    """The fraction of steps at which each neuron of a layer spiked [neurons]."""
    return activity.spikes[layer].reshape(-1) / (activity.images * activity.time_steps)


def dead(activity: Activity, layer: int) -> np.ndarray:
    """The channels of a layer that never spiked, or its neurons if it has no channels."""
    spikes = activity.spikes[layer]
    return np.flatnonzero(~spikes.reshape(len(spikes), -1).any(1))
