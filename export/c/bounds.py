"""What membranes and spikes can be for any input and any number of steps, from the weights.

A channel's current is largest if all inputs with positive weights are as large as possible and the others 0. A neuron's
step, computed with intervals instead of numbers, then says what its states can become.

Channels that can't fire give later layers nothing. Those that can are found one after another, from those that need no
other's spikes, because the first spike of any channel needs spikes that came before it.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import NamedTuple

import numpy as np

from csnn_jax.config.graph import IMAGE, Edge, Graph, NeuronNode, Node, WeightedNode
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.operations import Flatten, Pooling
from csnn_jax.neurons.neuron import MEMBRANE, NEVER, plain_threshold
from csnn_jax.runs.layouts import Tensors, bias_of, from_torch
from export.c.intervals import Interval, Operations, interval

ITERATIONS, DOUBLINGS = 500, 12
"""Steps after which bounds that still grow are doubled, and how often before they're given up."""

State = dict[str, Interval]
Ends = tuple[np.ndarray, np.ndarray]
"""The smallest and the largest value of each channel or feature, float64."""


class LayerBound(NamedTuple):
    """What the neurons of a layer can do.

    Attributes:
        states: their states after any step by name, a pair of ends for each channel.
        fires: the channels that can fire, bool [channels].
        spikes: the most spikes in a step.
    """

    states: State
    fires: np.ndarray
    spikes: int

    @property
    def figures(self) -> dict[str, object]:
        """For files: the ends of membranes, "unbounded" where none follows, and the most spikes in a step."""
        membrane = self.states[MEMBRANE]
        ends = float(membrane.low.min()), float(membrane.high.max())
        return {
            "membrane": [end if math.isfinite(end) else "unbounded" for end in ends],
            "most_spikes": self.spikes,
        }


Bounds = dict[str, LayerBound]
"""By layer."""


def bounds(config: ModelConfig, tensors: Tensors, steps: int | None = None) -> Bounds:
    """The bounds of all layers of neurons, for all inputs of bytes up to `CSNN_INPUT_MOST`.

    Args:
        config: the network.
        tensors: its parameters on their grids.
        steps: how many steps after `csnn_reset`; None: any number.
    """
    graph, black = config.graph, np.zeros(config.input_shape[-1])
    image = black, black + min(255, 2**config.entering.bits) / config.entering.scale
    kernels = {node.name: _kernel(graph, node, tensors) for node in graph.weighted}
    fires = {node.name: _at_rest(node, tensors) for node in graph.neurons}
    layers: Bounds = {}
    with np.errstate(invalid="ignore", over="ignore"):
        for _ in range(sum(map(len, fires.values())) + 1):  # each pass adds a channel
            values, before = _Values(graph, kernels, {IMAGE: image, **_spikes(fires)}), dict(fires)
            for node in graph:
                if isinstance(node, NeuronNode):
                    layers[node.name] = one = _layer(node, tensors, values.currents(node), steps)
                    fires[node.name] = fires[node.name] | one.fires
                    values.known.update(_spikes({node.name: fires[node.name]}))
                else:
                    values.of(Edge(node.name))
            if all(np.array_equal(fires[name], before[name]) for name in fires):
                break
    return layers


def _spikes(fires: Mapping[str, np.ndarray]) -> dict[str, Ends]:
    """The ends of spikes."""
    return {name: (np.zeros(len(able)), able.astype(np.float64)) for name, able in fires.items()}


def _at_rest(node: NeuronNode, tensors: Tensors) -> np.ndarray:
    """The channels that spike before the first step: membranes of 0 are above their thresholds."""
    return np.broadcast_to(np.asarray(node.operation.values(tensors)["threshold"]) < 0, node.shape[-1:])


def _kernel(graph: Graph, node: WeightedNode, tensors: Tensors) -> tuple[np.ndarray, np.ndarray]:
    """The weights of a node in our layout, and its biases."""
    return from_torch(tensors[f"{node.name}.weight"], graph.unflattened(node)), bias_of(node, tensors)


@dataclass(frozen=True, eq=False)
class _Values:
    """The ends of every node's values, for each channel or feature; those of signals begin at 0.

    Attributes:
        graph: the network.
        kernels: of its nodes, see `_kernel`.
        known: the ends found so far; those of the image and all neurons at first.
    """

    graph: Graph
    kernels: Mapping[str, tuple[np.ndarray, np.ndarray]]
    known: dict[str, Ends]

    def of(self, edge: Edge) -> Ends:
        """The ends of what arrives; what's delayed is 0 at first."""
        if edge.source not in self.known:
            self.known[edge.source] = self._computed(self.graph[edge.source])
        low, high = self.known[edge.source]
        return (np.minimum(low, 0), np.maximum(high, 0)) if edge.delay else (low, high)

    def currents(self, node: NeuronNode) -> list[Interval]:
        """The currents that neurons add: the sum of what they read, or each one."""
        ends = [self.of(edge) for edge in node.inputs]
        added = ends if node.operation.separate else [_sum(ends)]
        return [Interval(low.astype(np.float32), high.astype(np.float32)) for low, high in added]

    def _computed(self, node: Node) -> Ends:
        low, high = _sum([self.of(edge) for edge in node.inputs])
        match node.operation:
            case Flatten():
                pixels = math.prod(self.graph.entering(node)[:-1])
                return np.tile(low, pixels), np.tile(high, pixels)
            case Pooling(kind="sum") as pool:
                return low * pool.window, high * pool.window
            case Pooling():
                return low, high
        return _current(*self.kernels[node.name], high)


def _sum(ends: Sequence[Ends]) -> Ends:
    lows, highs = zip(*ends, strict=True)
    return reduce(add, lows), reduce(add, highs)


def _current(kernel: np.ndarray, bias: np.ndarray, high: np.ndarray) -> Ends:
    """The ends of the current that inputs from 0 to `high` give; float64 adds multiples of a grid exactly."""
    ends = []
    for part in (np.minimum, np.maximum):
        signed = part(kernel, 0, dtype=np.float64)
        total = signed * high if signed.ndim == 1 else high @ signed.reshape(-1, len(high), kernel.shape[-1]).sum(0)
        ends.append(total + bias)
    low, most = ends
    return low, most


def _layer(node: NeuronNode, tensors: Tensors, currents: Sequence[Interval], steps: int | None) -> LayerBound:
    values = {name: interval(value) for name, value in node.operation.values(tensors).items()}
    zero = np.zeros(node.shape[-1], np.float32)
    state = {name: Interval(zero, zero) for name in node.operation.kind.states}
    step = partial(_stepped, node, values, currents)
    state = _settled(step, state) if steps is None else _within(step, state, steps)
    threshold = node.operation.kind.threshold(values, state)
    fires = (state[MEMBRANE].high > threshold.low) & (node.operation["threshold"] < NEVER)
    return LayerBound(state, fires, node.size // node.shape[-1] * int(fires.sum()))


def _stepped(node: NeuronNode, values: State, currents: Sequence[Interval], state: State) -> State:
    """A step of neurons whose membranes were above the threshold, and of those whose membranes weren't."""
    kind, reset, membrane, ops = node.operation.kind, node.operation.reset, state[MEMBRANE], Operations()
    if kind.threshold is not plain_threshold:
        return kind.step(ops, values, state, currents, reset)
    threshold = values["threshold"].low
    lowest, highest = np.array([-np.inf, np.inf], np.float32)
    ranges = Interval(lowest, threshold), Interval(np.nextafter(threshold, highest), highest)
    quiet, spiked = (kind.step(ops, values, {**state, MEMBRANE: membrane & one}, currents, reset) for one in ranges)
    stays, fires = membrane.low <= threshold, membrane.high > threshold
    return {name: quiet[name].where(~fires, spiked[name].where(~stays, quiet[name] | spiked[name])) for name in state}


def _within(step: Callable[[State], State], state: State, steps: int) -> State:
    """The states after 1 to `steps` steps."""
    union = state = step(state)
    for _ in range(steps - 1):
        before, state = state, step(state)
        if all(state[name].same(before[name]) for name in state):
            break
        union = {name: union[name] | state[name] for name in state}
    return union


def _settled(step: Callable[[State], State], state: State) -> State:
    """The states after any number of steps: they're those before the first, or result from others.

    Ends that keep growing are doubled until a step leaves them where they are, which proves them, or to infinity.
    """
    start = state
    for count in itertools.count():
        after = {name: one | state[name] for name, one in step(state).items()}
        if all(after[name].same(state[name]) for name in state):
            break
        if count >= ITERATIONS:
            times = np.float32(2 if count < ITERATIONS + DOUBLINGS else np.inf)
            after = {name: _grown(state[name], one, times) for name, one in after.items()}
        state = after
    for _ in range(ITERATIONS * (count > ITERATIONS)):
        state = {name: (one | start[name]) & state[name] for name, one in step(state).items()}
    return state


def _grown(before: Interval, after: Interval, times: np.float32) -> Interval:
    """The ends after a step, multiplied where they moved."""
    low = np.where(after.low < before.low, after.low * times, after.low)
    return Interval(low, np.where(after.high > before.high, after.high * times, after.high))
