"""Health checks during training: each problem is reported once when it begins and once when it has passed. NumPy only.

`Detectors` receives the metrics of every iteration and evaluation, and finds events. `HealthMonitor` describes them in
the log and in metrics.jsonl. A resumed run first replays the records of earlier iterations, so it finds the same
events.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.config import Config, ModelConfig
from csnn_jax.health import advice
from csnn_jax.health.advice import GRADIENTS, STUCK
from csnn_jax.runs.metrics import NeuronSummary, Records, rounded
from csnn_jax.runs.rundir import RunDir

SILENT, SATURATED = 0.001, 0.6  # densities
VANISHING = 1e-8
"""Norm of a vanishing gradient. Adam divides by the gradient's magnitude plus 1e-8; below this norm, its steps become
small."""
EXPLODING = 1e3
"""Norm of an exploding gradient. A step of 0.001 along it would change the loss by 1, more than there is to gain."""
DEAD = 0.9  # fraction of a layer's channels; in a trained default network it's 0.7
STEADY = 5  # iterations in a row that a density must be out of its bounds, or within them again
PATIENCE = 10  # the same for a gradient; also the iterations that a loss is averaged over
ENOUGH = 32
"""Minimum number of images for reliable figures; smaller batches are averaged over the latest iterations."""
EVIDENCE = {
    "silent": ("density", "gradient", "membranes"),
    "saturated": ("density", "membranes"),
    "vanishing": ("gradient",),
    "exploding": ("gradient",),
    "stuck": ("loss",),
    "dead": ("dead", "membranes"),
}
"""The problems, and the contents of their records besides the text."""


class Event(NamedTuple):
    """Reports that a problem has begun or passed.

    Attributes:
        what: one of `EVIDENCE`.
        layers: indices of the layers where it began; empty if it has passed everywhere.
        since: the first iteration of the new state.
    """

    what: str
    layers: tuple[int, ...]
    since: int


class Detector:
    """Detects one kind of problem in several places.

    A problem begins or passes after `patience` checks in a row with the same outcome. Each time it recurs in a place,
    the patience there doubles, so a density that hovers around a bound isn't reported again and again.
    """

    def __init__(self, what: str, places: int, patience: int):
        self.what, self.on = what, np.zeros(places, bool)
        self._bad, self._good = np.zeros(places, int), np.zeros(places, int)
        self._patience = np.full(places, patience)

    def update(self, iteration: int, bad: np.ndarray, good: np.ndarray, tell: bool = True) -> list[Event]:
        """Makes one check, given where the state is bad and where it is good [places]; in between, nothing changes.

        With tell=False, the check counts, but no problem begins.
        """
        self._bad, self._good = (self._bad + 1) * bad, (self._good + 1) * good
        began = ~self.on & (self._bad >= self._patience) & tell
        ended = self.on & (self._good >= self._patience)
        if not (began | ended).any():
            return []
        self._patience[ended] *= 2
        self.on = (self.on | began) & ~ended
        if began.any():
            places = np.flatnonzero(began)
            return [Event(self.what, tuple(map(int, places)), iteration + 1 - int(self._bad[places].max()))]
        if self.on.any():
            return []
        return [Event(self.what, (), iteration + 1 - int(self._good[ended].min()))]


class Detectors:
    """Watches a job with one detector per kind of problem, and returns the events that they find.

    Args:
        config: the job.
        total: its number of iterations.
    Attributes:
        loss, densities, gradients: the latest figures: means over the images of an iteration, or of several iterations
            if batches are small.
    """

    def __init__(self, config: Config, total: int):
        self.loss, self.densities, self.gradients = math.nan, np.zeros(0), np.zeros(0)
        model, self._train = config.model, config.train
        layers = len(model.graph.neurons)
        self.channels = np.array([node.shape[-1] for node in model.graph.neurons])  # an integrator's are never dead
        self.silent = silence(model)
        self.floor, self.chance = bounds_of_loss(config)
        self.fifth = max(PATIENCE, -(-total // 5))
        self._latest: deque[np.ndarray] = deque(maxlen=-(-ENOUGH // self._train.batch_size))
        self._losses: deque[float] = deque(maxlen=PATIENCE)
        self._spikes = np.zeros(layers, bool)  # at the latest iteration
        densities = {what: Detector(what, layers, STEADY) for what in ("silent", "saturated")}
        gradients = {what: Detector(what, len(model.graph.weighted), PATIENCE) for what in GRADIENTS}
        once = {"stuck": Detector("stuck", 1, 1), "dead": Detector("dead", layers, 1)}
        self.detectors = densities | gradients | once

    def step(self, iteration: int, loss: float, densities: np.ndarray, gradients: np.ndarray) -> list[Event]:
        """Checks the metrics of an iteration; densities [layers] and gradients [nodes with weights], NaN if unknown."""
        self._latest.append(np.array([loss - self._penalty(densities), *densities, *gradients]))
        loss, *rest = np.mean(self._latest, axis=0)
        self.loss, densities, gradients = loss, np.array(rest[: len(densities)]), np.array(rest[len(densities) :])
        self.densities, self.gradients = densities, gradients
        self._losses.append(loss)
        mean = sum(self._losses) / len(self._losses)
        silent = densities < self.silent
        self._spikes = densities > 2 * self.silent
        # Silent layers pass little gradient, and a loss near its floor has little: neither is a separate problem.
        starved = silent.any() or mean < self.floor + 0.05 * (self.chance - self.floor)
        begun = iteration >= self.fifth  # many networks start silent, and wake up by themselves
        events = self._update("silent", iteration, silent, self._spikes, begun)
        events += self._update("saturated", iteration, densities > SATURATED, densities < SATURATED - 0.1)
        events += self._update("vanishing", iteration, (gradients < VANISHING) & ~starved, gradients > 10 * VANISHING)
        events += self._update("exploding", iteration, gradients > EXPLODING, gradients < EXPLODING / 10)
        if begun and not self.detectors["silent"].on.any():  # otherwise spikes are missing, as already reported
            stays, left = min(self._losses) > STUCK * self.chance, mean < (2 * STUCK - 1) * self.chance
            events += self._update("stuck", iteration, np.array([stays]), np.array([left]))
        return events

    def evaluated(self, iteration: int, dead: np.ndarray) -> list[Event]:
        """Checks an evaluation's dead channels [layers]. Layers that are silent or wake up are already reported."""
        share = dead / self.channels
        late = iteration >= self.fifth
        return self._update(
            "dead", iteration, (share >= DEAD) & self._spikes & late, (share < DEAD - 0.1) & self._spikes
        )

    def cause(self, event: Event) -> Event:
        """The problem behind an event: a loss is stuck because of a problem in the layers, if there is one."""
        for what in ("saturated", "vanishing"):
            if event.what == "stuck" and self.detectors[what].on.any():
                return Event(what, tuple(map(int, np.flatnonzero(self.detectors[what].on))), event.since)
        return event

    def replay(self, records: Iterable[dict[str, Any]]) -> None:
        """Replays the records of earlier iterations from metrics.jsonl."""
        for record in records:
            if record["kind"] == "train":
                layers = (np.array(list(record[key].values()), float) for key in ("density", "gradient"))
                self.step(record["iter"], record["loss"], *layers)
            elif record["kind"] in ("test", "validation"):
                self.evaluated(record["iter"], np.array(list(record["dead"].values())))

    def _penalty(self, densities: np.ndarray) -> float:
        """The part of the loss that --rate-target adds; the cross entropy alone is compared with chance."""
        if self._train.rate is None or np.isnan(densities).any():
            return 0.0
        target, weight = self._train.rate
        return float(weight * ((densities[:-1] - target) ** 2).mean())

    def _update(self, what: str, iteration: int, bad: np.ndarray, good: np.ndarray, tell: bool = True) -> list[Event]:
        return self.detectors[what].update(iteration, bad, good, tell)


def bounds_of_loss(config: Config) -> tuple[float, float]:
    """The lowest possible loss, and the loss of a network that ignores its images."""
    classes = config.model.num_classes
    if config.train.loss == "mse_count":
        return 0.0, config.model.time_steps * (classes - 1) / classes**2  # if all counts are T / classes
    floor = math.log(1 + (classes - 1) / math.e) if config.train.loss == "ce_rate" else 0.0
    return floor, math.log(classes)


def silence(config: ModelConfig) -> np.ndarray:
    """The density below which a layer is silent [layers]. A healthy output layer has a density of 1 / classes.

    An integrator is never silent.
    """
    bounds = np.full(len(config.graph.neurons), SILENT)
    bounds[-1] = min(SILENT, 0.05 / config.num_classes) if config.output == "spiking" else -1  # below any density
    return bounds


def states(config: ModelConfig, densities: Mapping[str, float], seen: Mapping[str, NeuronSummary]) -> dict[str, str]:
    """Each layer's state in words: "silent", "saturated", "over half dead", "healthy", or "integrator".

    Args:
        config: the network.
        densities: density of each layer.
        seen: its neurons on some images, see `metrics.summarize`, for the number of dead channels.
    """

    def state(density: float, low: float, neurons: NeuronSummary) -> str:
        if low < 0:
            return "integrator"
        if density < low:
            return "silent"
        if density > SATURATED:
            return "saturated"
        return "over half dead" if 2 * neurons.dead > neurons.channels else "healthy"

    rows = zip(densities.items(), silence(config), strict=True)
    return {name: state(density, low, seen[name]) for (name, density), low in rows}


class HealthMonitor:
    """Prints the events of a job to the log and records them in metrics.jsonl.

    Args:
        config: the job.
        total: its number of iterations.
        run: destination of the records.
        neurons: returns the current state of the network's neurons, by layer; see `metrics.summarize`.
        say: prints a line.
    """

    def __init__(
        self,
        config: Config,
        total: int,
        run: RunDir | Records,
        neurons: Callable[[], dict[str, NeuronSummary]],
        say: Callable[[str], object],
    ):
        self.config, self.total, self.run, self.neurons, self._say = config, total, run, neurons, say
        self.detectors = Detectors(config, total)
        self.names = [node.name for node in config.model.graph.neurons]
        self.weights = [node.name for node in config.model.graph.weighted]

    def resume(self) -> None:
        """Restores the state from the run's records."""
        self.detectors.replay(self.run.records())

    def record(self, densities: np.ndarray, gradients: np.ndarray) -> dict[str, dict[str, float]]:
        """The layers' part of a `train` record, to four digits: density, and norm of each kernel's gradient."""
        pairs = {"density": (self.names, densities), "gradient": (self.weights, gradients)}
        return {key: dict(zip(names, map(_digits, values), strict=True)) for key, (names, values) in pairs.items()}

    def step(self, iteration: int, loss: float, layers: dict[str, dict[str, float]]) -> None:
        """Reports events after an iteration, whose result of `record` is `layers`."""
        densities, gradients = (np.array(list(layers[key].values())) for key in ("density", "gradient"))
        events = self.detectors.step(iteration, loss, densities, gradients)
        silent = any(event.layers and event.what in ("silent", "saturated") for event in events)
        seen = self.record(self.detectors.densities, self.detectors.gradients)
        figures = {"loss": self.detectors.loss, **seen} | (by_figure(self.neurons()) if silent else {})
        for event in events:
            self._tell(iteration, event, figures)

    def evaluated(self, iteration: int, seen: Mapping[str, NeuronSummary]) -> None:
        """Reports events in the state of the neurons after an evaluation."""
        for event in self.detectors.evaluated(iteration, np.array([layer.dead for layer in seen.values()])):
            self._tell(iteration, event, by_figure(seen))

    def _tell(self, iteration: int, event: Event, figures: dict[str, Any]) -> None:
        names = self.weights if event.what in GRADIENTS else self.names
        layers = [] if event.what == "stuck" else [names[layer] for layer in event.layers]
        if event.layers:
            cause, early = self.detectors.cause(event), event.since <= self.detectors.fifth
            text = advice.line(event.what, layers, figures, self.config, f"{iteration} of {self.total}")
            text += f"; try {advice.hint(cause.what, self.config, cause.layers, early, figures)}"
            shown = {key: figures[key] for key in EVIDENCE[event.what] if key in figures}
        else:
            text, shown = f"no {advice.NAMES[event.what]} since iteration {event.since}", {}
        state = "began" if event.layers else "passed"
        values = {"what": event.what, "state": state, "since": event.since, "layers": layers}
        self.run.record("health", iter=iteration, **values, **shown, text=text)  # before it is printed: see Loop.run
        self._say(f"Health: {text}")


def by_figure(seen: Mapping[str, NeuronSummary]) -> dict[str, dict[str, Any]]:
    """The state of the neurons as stored in records: the membranes of each layer, and its dead channels."""
    membranes = {name: dict(list(layer._asdict().items())[:5]) for name, layer in seen.items()}
    return {"membranes": membranes, "dead": {name: layer.dead for name, layer in seen.items()}}


def _digits(value: float) -> float:
    """Rounds to four digits; NaN if the value isn't finite."""
    digits = rounded(float(value))
    return math.nan if digits is None else digits
