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

from csnn_jax.config import Layer, ModelConfig, Pooling
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
        inputs: number of nonzero values in every layer's input, [C, H, W] or [features]: spikes, or pooled spikes if
            pools follow neurons.
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
        inputs = [(x != 0).sum(0) * time_steps if held else (x != 0).sum((0, 1))]
        graded = bool(((x != 0) & (x != 1)).any())
        fired = tuple(layer.astype(bool).sum((0, 1)) for layer in spikes)
        for layer, one, each in zip(config.layers[1:], spikes, fired, strict=False):
            inputs.append(_active(one, layer.before).sum((0, 1)) if layer.before else each)
        return cls(batch, time_steps, held, graded, tuple(inputs), fired)

    def __add__(self, other: "Activity") -> "Activity":
        assert (self.time_steps, self.held) == (other.time_steps, other.held), "windows of different kinds"
        pairs = (self.inputs, other.inputs), (self.spikes, other.spikes)
        summed = (tuple(a + b for a, b in zip(*both, strict=True)) for both in pairs)
        return Activity(self.images + other.images, self.time_steps, self.held, self.graded or other.graded, *summed)


def _active(spikes: np.ndarray, pool: Pooling) -> np.ndarray:
    """Where a window has a spike [time, batch, C, rows, columns], from spikes [time, batch, C, H, W]."""
    rows, columns = map(pool.positions, spikes.shape[-2:])
    high, wide = (pool.stride * (n - 1) + 1 for n in (rows, columns))
    found = np.zeros((*spikes.shape[:-2], rows, columns), bool)
    for i, j in np.ndindex(pool.size, pool.size):
        found |= spikes[..., i : i + high : pool.stride, j : j + wide : pool.stride] != 0
    return found


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


def fan_out(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """How many nonzero weights each input of a layer meets in one step.

    Args:
        layer: one of a network's layers.
        weight: in torch's layout, [out, in, k, k] or [out, in].

    Returns:
        int64, [C, H, W] or [features]: by input, in the layout of the incoming spikes (flattened C, H, W for the linear
        layer after a convolution).
    """
    present = (weight != 0).astype(np.int64).sum(0)
    if layer.kind == "linear":
        return present
    height, width, channels = layer.in_shape
    pad, stride = layer.padding, layer.stride
    high, wide = (stride * (n - 1) + 1 for n in layer.conv_shape[:2])
    reached = np.zeros((channels, height + 2 * pad, width + 2 * pad), np.int64)
    for i, j in np.ndindex(layer.kernel, layer.kernel):  # the inputs under kernel element (i, j)
        reached[:, i : i + high : stride, j : j + wide : stride] += present[:, i, j, None, None]
    return reached[:, pad : pad + height, pad : pad + width]


def _layers(config: ModelConfig, tensors: Tensors, activity: Activity) -> list[dict[str, Any]]:
    found = []
    for number, layer in enumerate(config.layers, 1):
        weight = tensors[f"{layer.name}.weight"]
        own = [
            value
            for name, value in tensors.items()
            if name.startswith((f"{layer.name}.", f"lif{number}.")) and not name.endswith(".exponents")
        ]
        parameters, neurons = sum(value.size for value in own), int(np.prod(layer.out_shape))
        reached = fan_out(layer, weight)
        met = int((activity.inputs[number - 1].reshape(reached.shape) * reached).sum()) / activity.images
        fired = int(activity.spikes[number - 1].sum()) / activity.images
        first, spikes = number == 1, config.graph.multiplies_spikes(layer.weights)
        found.append(
            {
                "name": layer.name,
                "operation": "AC" if spikes or (first and not activity.graded) else "MAC",
                "neurons": neurons,
                "parameters": parameters,
                "bytes": FLOAT_BYTES * parameters,
                "membrane_bytes": FLOAT_BYTES * neurons * len(layer.neurons.kind.states),
                "spikes": fired,
                "density": fired / (neurons * activity.time_steps),
                "dense_macs_per_step": int(fan_out(layer, np.ones_like(weight)).sum()),
                "synaptic_operations": met,
                "synaptic_operations_first_layer_once": met / activity.time_steps if first and activity.held else met,
            }
        )
    return found


def _neurobench(
    config: ModelConfig, tensors: Tensors, layers: list[dict[str, Any]], total: dict[str, Any], time_steps: int
) -> dict[str, Any]:
    """The metrics under NeuroBench's names, as it computes them for the companion model in `csnn_torch.model`."""
    weights = [tensors[f"{layer.name}.weight"] for layer in config.layers]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    # Scalars that are buffers there, not parameters: the neurons', and the window size that turns averages into sums.
    fixed = sum(len(layer.neurons.configured) - len(layer.neurons.learned) for layer in config.layers)
    pools = [pool for layer in config.layers for pool in (layer.pool, layer.before) if pool]
    fixed += sum(pool.kind == "sum" for pool in pools)
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
