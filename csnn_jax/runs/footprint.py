"""What a network costs to deploy: parameters, memory, operations and an energy proxy, per layer and in total.

Metrics that NeuroBench (Yik et al., arXiv:2304.04640) has follow its definitions, as implemented in
`neurobench/metrics` 2.3: a synaptic operation is a nonzero weight that meets a nonzero input. It's a MAC if the layer's
input is graded, and an AC (accumulation) if it's only 0 and 1. If pools follow neurons, a layer's input is the pooled
spikes, which are graded for sums and averages. So is a sum of the spikes of several layers, each value of which counts
once. Biases and padding zeros don't count, nor do spikes before the first step, which only negative thresholds cause. A
convolution counts at all positions, even those that pooling drops, and the first layer counts at every step, even if
the same image is presented at each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.config import ModelConfig, Pooling
from csnn_jax.config.graph import IMAGE, Edge, Graph, Node, WeightedNode
from csnn_jax.config.operations import Convolution, OneToOne
from csnn_jax.runs.layouts import Tensors

PJ_PER_ADD = 0.9
PJ_PER_MAC = 4.6
ENERGY_SOURCE = (
    "proxy, not a measurement: float32 arithmetic in 45 nm at 0.9 V, 0.9 pJ an addition and 3.7 pJ a multiplication "
    "(M. Horowitz, Computing's energy problem, ISSCC 2014, doi:10.1109/ISSCC.2014.6757323); moving weights and "
    "membranes through memory, which often costs more, is not in it"
)
FLOAT_BYTES = 4
SNNTORCH_BYTES = 12
"""What snnTorch's `Leaky` stores besides beta and threshold: a float32 for graded spikes, an int64 for the reset."""


@dataclass(frozen=True)
class Activity:
    """A network's activity on some images, summed over images and time steps. Add two to merge them.

    Attributes:
        images: number of images.
        time_steps: T.
        held: whether the same image was presented at every step.
        graded: whether the input had values other than 0 and 1.
        inputs: number of nonzero values in the input of every node with weights, [C, H, W] or [features]: the image,
            spikes, or pooled spikes, or a sum of these.
        spikes: spikes of every layer, [C, H, W] or [features].
    """

    images: int
    time_steps: int
    held: bool
    graded: bool
    inputs: tuple[np.ndarray, ...]
    spikes: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, config: ModelConfig, x: np.ndarray, spikes: Sequence[np.ndarray]) -> "Activity":
        """The activity of one batch.

        Args:
            config: the stack.
            x: input [batch, C, H, W], presented at every step, or [time, batch, C, H, W].
            spikes: spikes of every layer, 0 or 1: [time, batch, C, H, W] or [time, batch, features].
        """
        time_steps, batch = spikes[0].shape[:2]
        held = x.ndim == 4
        active = {IMAGE: x[None] != 0 if held else x != 0}
        active |= {node.name: one.astype(bool) for node, one in zip(config.graph.neurons, spikes, strict=True)}

        def entering(node: Node) -> np.ndarray:
            return reduce(np.logical_or, map(read, node.inputs))  # no input is negative

        def read(edge: Edge) -> np.ndarray:
            source = config.graph[edge.source]
            if edge.source in active:
                values = active[edge.source]
            elif isinstance(source.operation, Pooling):
                values = _active(entering(source), source.operation)
            else:
                values = (below := entering(source)).reshape(*below.shape[:2], -1)
            return _later(values, edge.delay, time_steps) if edge.delay else values

        each = map(entering, config.graph.weighted)
        inputs = [values.sum((0, 1)) * (time_steps // len(values)) for values in each]  # one step if it's held
        graded = bool(((x != 0) & (x != 1)).any())
        fired = tuple(active[node.name].sum((0, 1)) for node in config.graph.neurons)
        return cls(batch, time_steps, held, graded, tuple(inputs), fired)

    def __add__(self, other: "Activity") -> "Activity":
        assert (self.time_steps, self.held) == (other.time_steps, other.held), "windows of different kinds"
        pairs = (self.inputs, other.inputs), (self.spikes, other.spikes)
        summed = (tuple(a + b for a, b in zip(*both, strict=True)) for both in pairs)
        return Activity(self.images + other.images, self.time_steps, self.held, self.graded or other.graded, *summed)


def _later(values: np.ndarray, delay: int, time_steps: int) -> np.ndarray:
    """Values [time, ...] some steps later, after zeros; those of one step are the same at every step."""
    later = np.zeros((time_steps, *values.shape[1:]), values.dtype)
    later[delay:] = np.broadcast_to(values, later.shape)[: max(0, time_steps - delay)]
    return later


def _active(values: np.ndarray, pool: Pooling) -> np.ndarray:
    """Where a pool's window has a nonzero value [time, batch, C, rows, columns], from values [time, batch, C, H, W]."""
    rows, columns = map(pool.positions, values.shape[-2:])
    high, wide = (pool.stride * (n - 1) + 1 for n in (rows, columns))
    active = np.zeros((*values.shape[:-2], rows, columns), bool)
    for i, j in np.ndindex(pool.size, pool.size):
        active |= values[..., i : i + high : pool.stride, j : j + wide : pool.stride] != 0
    return active


def numbers(config: ModelConfig, tensors: Tensors, activity: Activity) -> dict[str, Any]:
    """All the numbers, ready for JSON.

    Args:
        config: the stack.
        tensors: its parameters in torch's layouts.
        activity: measured on test images.

    Returns:
        `layers`: one object per layer of neurons, with all weights that make its current; `total`: the same for the
        network, with the memory for delays; `neurobench`: the metrics under NeuroBench's names, for comparison with its
        own; `energy`: the proxy, with its constants and source. Operations and spikes are per image (all T steps),
        memory is in bytes, energy in nanojoules per image.
    """
    synapses = _synapses(config.graph, tensors, activity)
    layers = _layers(config.graph, tensors, activity, synapses)
    summed = {name: sum(layer[name] for layer in layers) for name in layers[0] if name not in ("name", "operation")}
    stored = sum(math.prod(config.graph[name].shape) * steps for name, steps in config.graph.delays.items())
    density = summed["spikes"] / (summed["neurons"] * activity.time_steps)
    total = summed | {"density": density, "past_bytes": FLOAT_BYTES * stored}
    return {
        "images": activity.images,
        "time_steps": activity.time_steps,
        "layers": layers,
        "total": total,
        "neurobench": _neurobench(config, tensors, synapses, total, activity.time_steps),
        "energy": _energy(synapses, total, activity.time_steps),
    }


def fan_out(graph: Graph, node: WeightedNode, weight: np.ndarray) -> np.ndarray:
    """How many nonzero weights each input of a node meets in one step.

    Args:
        graph: the network.
        node: one of its nodes with weights.
        weight: in torch's layout, [out, in, k, k], [out, in] or [features].

    Returns:
        int64, [C, H, W] or [features]: by input, in torch's layout (flattened C, H, W for the linear layer after a
        convolution).
    """
    present = (weight != 0).astype(np.int64)
    operation = node.operation
    if isinstance(operation, OneToOne):
        return present
    present = present.sum(0)
    if not isinstance(operation, Convolution):
        return present
    height, width, channels = graph.entering(node)
    pad, stride = operation.padding, operation.stride
    high, wide = (stride * (n - 1) + 1 for n in node.shape[:2])
    reached = np.zeros((channels, height + 2 * pad, width + 2 * pad), np.int64)
    for i, j in np.ndindex(operation.kernel, operation.kernel):  # the inputs under kernel element (i, j)
        reached[:, i : i + high : stride, j : j + wide : stride] += present[:, i, j, None, None]
    return reached[:, pad : pad + height, pad : pad + width]


class Synapses(NamedTuple):
    """The operations of a node with weights for an image.

    Attributes:
        kind: `AC` or `MAC`.
        dense: those in a step that meets no zeros.
        met: those in the window.
        once: the same, but a single time if the image is the same at every step.
        dense_once: `dense` for the window, likewise.
    """

    kind: str
    dense: int
    met: float
    once: float
    dense_once: int


def _synapses(graph: Graph, tensors: Tensors, activity: Activity) -> dict[str, Synapses]:
    """The operations of each node with weights."""
    every = {}
    for node, active in zip(graph.weighted, activity.inputs, strict=True):
        weight = tensors[f"{node.name}.weight"]
        reached = fan_out(graph, node, weight)
        met = int((active.reshape(reached.shape) * reached).sum()) / activity.images
        is_binary = not activity.graded if graph.reads(node) == (Edge(IMAGE),) else graph.multiplies_spikes(node)
        dense, steps = int(fan_out(graph, node, np.ones_like(weight)).sum()), activity.time_steps
        constant = activity.held and node.name in graph.constant
        once = (met / steps, dense) if constant else (met, dense * steps)
        every[node.name] = Synapses("AC" if is_binary else "MAC", dense, met, *once)
    return every


def _layers(graph: Graph, tensors: Tensors, activity: Activity, synapses: dict[str, Synapses]) -> list[dict[str, Any]]:
    rows, counted = [], set[str]()
    for layer, spikes in zip(graph.neurons, activity.spikes, strict=True):
        names = [node.name for node in graph.sources(layer) if node.name not in counted]  # layers can share weights
        counted.update(names)
        owners = tuple(f"{name}." for name in (*names, layer.name))
        arrays = [
            value for name, value in tensors.items() if name.startswith(owners) and not name.endswith(".exponents")
        ]
        parameters = sum(value.size for value in arrays)
        mine, fired = [synapses[name] for name in dict.fromkeys(names)], int(spikes.sum()) / activity.images
        rows.append(
            {
                "name": graph.label(layer),
                "operation": " and ".join(sorted({one.kind for one in mine})),
                "neurons": layer.size,
                "parameters": parameters,
                "bytes": FLOAT_BYTES * parameters,
                "membrane_bytes": FLOAT_BYTES * layer.size * len(layer.operation.kind.states),
                "spikes": fired,
                "density": fired / (layer.size * activity.time_steps),
                "dense_macs_per_step": sum(one.dense for one in mine),
                "dense_macs_first_layer_once": sum(one.dense_once for one in mine),
                "synaptic_operations": sum(one.met for one in mine),
                "synaptic_operations_first_layer_once": sum(one.once for one in mine),
            }
        )
    return rows


def _neurobench(
    config: ModelConfig, tensors: Tensors, synapses: dict[str, Synapses], total: dict[str, Any], time_steps: int
) -> dict[str, Any]:
    """The metrics under NeuroBench's names, as it computes them for the companion model in `csnn_torch.model`."""
    weights = [tensors[f"{node.name}.weight"] for node in config.graph.weighted]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    # Scalars that are buffers there, not parameters: the neurons', and the window size that turns averages into sums.
    neurons = [node.operation for node in config.graph.neurons]
    fixed = sum(len(layer.configured) - len(layer.learned) for layer in neurons)
    fixed += sum(pool.kind == "sum" for pool in config.graph.pools)
    effective = {kind: sum(one.met for one in synapses.values() if one.kind == kind) for kind in ("MAC", "AC")}
    return {
        "Footprint": total["bytes"] + fixed * FLOAT_BYTES + len(neurons) * SNNTORCH_BYTES,
        "ConnectionSparsity": round(zeros / sum(weight.size for weight in weights), 4),
        "ActivationSparsity": 1 - total["density"],
        "SynapticOperations": {
            "Effective_MACs": effective["MAC"],
            "Effective_ACs": effective["AC"],
            "Dense": total["dense_macs_per_step"] * time_steps,
        },
    }


def _energy(synapses: dict[str, Synapses], total: dict[str, Any], time_steps: int) -> dict[str, Any]:
    pj = {"MAC": PJ_PER_MAC, "AC": PJ_PER_ADD}
    adding = sum(pj[one.kind] * one.once for one in synapses.values())
    neurons = PJ_PER_MAC * (total["membrane_bytes"] // FLOAT_BYTES) * time_steps
    return {
        "pj_per_add": PJ_PER_ADD,
        "pj_per_mac": PJ_PER_MAC,
        "source": ENERGY_SOURCE,
        "formula": "synapses: MACs x 4.6 pJ + ACs x 0.9 pJ, the first layer once where its input is held; neurons: one "
        "MAC per neuron, state (beta U + I for the membrane) and step; without spikes: every MAC, once",
        "synapses_nj": adding / 1000,
        "neurons_nj": neurons / 1000,
        "one_pass_nj": PJ_PER_MAC * total["dense_macs_per_step"] / 1000,
    }


def energy_in_words(numbers: dict[str, Any]) -> str:
    """The energy per image in words, from the result of `numbers`."""
    return (
        f"Energy per image: {numbers['synapses_nj'] + numbers['neurons_nj']:,.0f} nJ (synapses "
        f"{numbers['synapses_nj']:,.0f} nJ, neurons {numbers['neurons_nj']:,.0f} nJ). A network of this shape without "
        f"spikes, which processes an image once, takes {numbers['one_pass_nj']:,.0f} nJ. Formula: "
        f"{numbers['formula']}. Source: {numbers['source']}."
    )
