"""What a network costs to deploy: parameters, memory, operations and an energy proxy, per layer and in total.

Metrics that NeuroBench (Yik et al., arXiv:2304.04640) has follow its definitions, as implemented in
`neurobench/metrics` 2.3: a synaptic operation is a nonzero weight that meets a nonzero input. It's a MAC if the layer's
input is graded, and an AC (accumulation) if it's only 0 and 1. If pools follow neurons, a layer's input is the pooled
spikes, which are graded for sums and averages. Biases and padding zeros don't count. A convolution counts at all
positions, even those that pooling drops, and the first layer counts at every step, even if the same image is presented
at each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from csnn_jax.config import ModelConfig, Pooling
from csnn_jax.config.graph import IMAGE, Graph, Node, WeightedNode
from csnn_jax.config.operations import Convolution
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
            spikes, or pooled spikes.
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
            source = config.graph.source(node)
            if source.name in active:
                return active[source.name]
            below = entering(source)
            return _active(below, source.operation) if isinstance(source.operation, Pooling) else below

        often = {IMAGE: time_steps if held else 1}
        inputs = [
            entering(node).sum((0, 1)) * often.get(config.graph.origin(node).name, 1) for node in config.graph.weighted
        ]
        graded = bool(((x != 0) & (x != 1)).any())
        fired = tuple(active[node.name].sum((0, 1)) for node in config.graph.neurons)
        return cls(batch, time_steps, held, graded, tuple(inputs), fired)

    def __add__(self, other: "Activity") -> "Activity":
        assert (self.time_steps, self.held) == (other.time_steps, other.held), "windows of different kinds"
        pairs = (self.inputs, other.inputs), (self.spikes, other.spikes)
        summed = (tuple(a + b for a, b in zip(*both, strict=True)) for both in pairs)
        return Activity(self.images + other.images, self.time_steps, self.held, self.graded or other.graded, *summed)


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
        `layers`: one object per layer; `total`: the same for the network; `neurobench`: the metrics under NeuroBench's
        names, for comparison with its own; `energy`: the proxy, with its constants and source. Operations and spikes
        are per image (all T steps), memory is in bytes, energy in nanojoules per image.
    """
    layers = _layers(config, tensors, activity)
    summed = {name: sum(layer[name] for layer in layers) for name in layers[0] if name not in ("name", "operation")}
    total = summed | {"density": summed["spikes"] / (summed["neurons"] * activity.time_steps)}
    return {
        "images": activity.images,
        "time_steps": activity.time_steps,
        "layers": layers,
        "total": total,
        "neurobench": _neurobench(config, tensors, layers, total, activity.time_steps),
        "energy": _energy(layers, total, activity.time_steps * len(config.kind.states)),
    }


def fan_out(graph: Graph, node: WeightedNode, weight: np.ndarray) -> np.ndarray:
    """How many nonzero weights each input of a node meets in one step.

    Args:
        graph: the network.
        node: one of its nodes with weights.
        weight: in torch's layout, [out, in, k, k] or [out, in].

    Returns:
        int64, [C, H, W] or [features]: by input, in torch's layout (flattened C, H, W for the linear layer after a
        convolution).
    """
    present = (weight != 0).astype(np.int64).sum(0)
    operation = node.operation
    if not isinstance(operation, Convolution):
        return present
    height, width, channels = graph.source(node).shape
    pad, stride = operation.padding, operation.stride
    high, wide = (stride * (n - 1) + 1 for n in node.shape[:2])
    reached = np.zeros((channels, height + 2 * pad, width + 2 * pad), np.int64)
    for i, j in np.ndindex(operation.kernel, operation.kernel):  # the inputs under kernel element (i, j)
        reached[:, i : i + high : stride, j : j + wide : stride] += present[:, i, j, None, None]
    return reached[:, pad : pad + height, pad : pad + width]


def _layers(config: ModelConfig, tensors: Tensors, activity: Activity) -> list[dict[str, Any]]:
    rows = []
    graph = config.graph
    for layer, spikes in zip(graph.neurons, activity.spikes, strict=True):
        node = graph.weights(layer)
        weight = tensors[f"{node.name}.weight"]
        arrays = [
            value
            for name, value in tensors.items()
            if name.startswith((f"{node.name}.", f"{layer.name}.")) and not name.endswith(".exponents")
        ]
        parameters = sum(value.size for value in arrays)
        reached = fan_out(graph, node, weight)
        met = int((activity.inputs[graph.weighted.index(node)].reshape(reached.shape) * reached).sum())
        met_per_image, fired = met / activity.images, int(spikes.sum()) / activity.images
        first = graph.origin(node).operation is None
        is_binary = not activity.graded if first else graph.multiplies_spikes(node)
        rows.append(
            {
                "name": node.name,
                "operation": "AC" if is_binary else "MAC",
                "neurons": layer.size,
                "parameters": parameters,
                "bytes": FLOAT_BYTES * parameters,
                "membrane_bytes": FLOAT_BYTES * layer.size * len(layer.operation.kind.states),
                "spikes": fired,
                "density": fired / (layer.size * activity.time_steps),
                "dense_macs_per_step": int(fan_out(graph, node, np.ones_like(weight)).sum()),
                "synaptic_operations": met_per_image,
                "synaptic_operations_first_layer_once": met_per_image / activity.time_steps
                if first and activity.held
                else met_per_image,
            }
        )
    return rows


def _neurobench(
    config: ModelConfig, tensors: Tensors, layers: list[dict[str, Any]], total: dict[str, Any], time_steps: int
) -> dict[str, Any]:
    """The metrics under NeuroBench's names, as it computes them for the companion model in `csnn_torch.model`."""
    weights = [tensors[f"{node.name}.weight"] for node in config.graph.weighted]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    # Scalars that are buffers there, not parameters: the neurons', and the window size that turns averages into sums.
    neurons = [node.operation for node in config.graph.neurons]
    fixed = sum(len(layer.configured) - len(layer.learned) for layer in neurons)
    fixed += sum(pool.kind == "sum" for pool in config.graph.pools)
    effective = {
        kind: sum(x["synaptic_operations"] for x in layers if x["operation"] == kind) for kind in ("MAC", "AC")
    }
    return {
        "Footprint": total["bytes"] + fixed * FLOAT_BYTES + len(layers) * SNNTORCH_BYTES,
        "ConnectionSparsity": round(zeros / sum(weight.size for weight in weights), 4),
        "ActivationSparsity": 1 - total["density"],
        "SynapticOperations": {
            "Effective_MACs": effective["MAC"],
            "Effective_ACs": effective["AC"],
            "Dense": total["dense_macs_per_step"] * time_steps,
        },
    }


def _energy(layers: list[dict[str, Any]], total: dict[str, Any], updates: int) -> dict[str, Any]:
    pj = {"MAC": PJ_PER_MAC, "AC": PJ_PER_ADD}
    synapses = sum(pj[layer["operation"]] * layer["synaptic_operations_first_layer_once"] for layer in layers)
    neurons = PJ_PER_MAC * total["neurons"] * updates
    return {
        "pj_per_add": PJ_PER_ADD,
        "pj_per_mac": PJ_PER_MAC,
        "source": ENERGY_SOURCE,
        "formula": "synapses: MACs x 4.6 pJ + ACs x 0.9 pJ, the first layer once where its input is held; neurons: one "
        "MAC per neuron, state (beta U + I for the membrane) and step; without spikes: every MAC, once",
        "synapses_nj": synapses / 1000,
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
