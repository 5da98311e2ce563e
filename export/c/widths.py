"""How many bits the membranes of a window have as whole numbers, from the weights: whether 16 would suffice.

Weights, inputs and biases are multiples of powers of two, and so are thresholds and decays. A neuron's step on the
exponents of these units, instead of numbers, gives the unit of its membranes, which a decay makes finer at each step.
"""

import math
from functools import reduce
from operator import add

import numpy as np

from csnn_jax.config.graph import Graph, Node, WeightedNode
from csnn_jax.config.grid import MANTISSA
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.operations import Pooling
from csnn_jax.neurons.neuron import MEMBRANE, NEVER
from csnn_jax.runs.layouts import Tensors, bias_of
from export.c.bounds import bounds

ZERO = 10**6
"""The exponent of 0, which is a multiple of everything."""


class Unit:
    """Numbers that are multiples of a power of two, one for each channel.

    Attributes:
        exponent: of the power of two, integers.
    """

    def __init__(self, exponent: np.ndarray):
        self.exponent = exponent

    def __add__(self, other: "Unit | float") -> "Unit":
        return Unit(np.minimum(self.exponent, unit(other).exponent))

    __radd__ = __sub__ = __rsub__ = __add__


def unit(value: "Unit | float | np.ndarray") -> Unit:
    """The largest powers of two that divide numbers, in float32; a unit as it is."""
    if isinstance(value, Unit):
        return value
    mantissa, exponent = np.frexp(np.asarray(value, np.float32).astype(np.float64))
    whole = np.ldexp(mantissa, MANTISSA).astype(np.int64)
    last = np.log2(np.maximum(whole & -whole, 1)).astype(np.int64)
    return Unit(np.where(whole == 0, ZERO, exponent - MANTISSA + last))


class Operations:
    """The operations of a neuron's step on units, see `csnn_jax.neurons.neuron`."""

    def fired(self, membrane: Unit, threshold: Unit) -> None:
        """Either 0 or 1."""

    def masked(self, fired: None, x: Unit | float) -> Unit:
        """x or 0."""
        return unit(x)

    def decayed(self, factor: Unit | float, x: Unit | float) -> Unit:
        """The product, before it's rounded."""
        return Unit(np.minimum(unit(factor).exponent + unit(x).exponent, ZERO))


def units(config: ModelConfig, tensors: Tensors) -> dict[str, np.ndarray]:
    """The exponents of the powers of two that divide the membranes of a window, by layer, integers [channels]."""
    graph, exponents = config.graph, {}
    for node in graph.neurons:
        currents = [_current(graph, graph[edge.source], tensors) for edge in node.inputs]
        added = currents if node.operation.separate else [reduce(add, currents)]
        values = {name: unit(value) for name, value in node.operation.values(tensors).items()}
        if node.operation["threshold"] >= NEVER:
            values["threshold"] = unit(0.0)
        kind, reset = node.operation.kind, node.operation.reset
        state = {name: Unit(np.full(node.shape[-1], ZERO)) for name in kind.states}
        for _ in range(config.time_steps):
            state = kind.step(Operations(), values, state, added, reset)
        exponents[node.name] = np.broadcast_to(state[MEMBRANE].exponent, node.shape[-1:])
    return exponents


def widths(config: ModelConfig, tensors: Tensors) -> dict[str, int]:
    """The bits, with a sign, that hold every membrane of a layer within the window.

    With more than 24, even float32 rounds some, so no whole numbers give the same.
    """
    bits, ends = {}, bounds(config, tensors, config.time_steps)
    for name, exponents in units(config, tensors).items():
        membrane = ends[name].states[MEMBRANE]
        largest = np.ldexp(np.maximum(-membrane.low, membrane.high).astype(np.float64), -np.minimum(exponents, 1000))
        bits[name] = int(np.floor(np.log2(np.maximum(largest, 0.5))).max()) + 2
    return bits


def _current(graph: Graph, node: Node, tensors: Tensors) -> Unit:
    """The units of a current."""
    if isinstance(node, WeightedNode):
        weight = tensors[f"{node.name}.weight"].reshape(node.channels, -1)
        inputs = round(math.log2(node.grid.input_step))
        return Unit(unit(weight).exponent.min(1) + inputs) + unit(bias_of(node, tensors))
    total = reduce(add, (_current(graph, graph[edge.source], tensors) for edge in node.inputs))
    divided = node.operation.window if isinstance(node.operation, Pooling) and node.operation.kind == "avg" else 1
    return Unit(total.exponent - round(math.log2(divided)))
