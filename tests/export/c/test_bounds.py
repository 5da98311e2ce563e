"""Bounds of membranes and spikes contain what networks do for any input, and channels that can't fire never do."""

from dataclasses import replace

import bundles
import c_networks
import numpy as np
import pytest
import torch
from backends import torch_input
from networks import NETWORKS, network

from csnn_jax.config import ModelConfig
from csnn_jax.config.graph import IMAGE
from csnn_jax.runs.layouts import Tensors, expected_shapes, from_torch, on_grid
from export import reference
from export.c.bounds import Bounds, bounds
from export.c.widths import units, widths

DRAWN = 8
"""Random inputs of a network."""


def frames(config: ModelConfig, tensors: Tensors) -> np.ndarray:
    """Inputs [N, H, W, C]: random ones, the darkest and brightest, and the worst for channels of first layers."""
    most, rng = min(255, 2**config.entering.bits), np.random.default_rng(5)
    levels = rng.integers(0, most, (DRAWN, *config.input_shape), endpoint=True)
    made = [
        *levels,
        *(most * rng.integers(0, 2, levels.shape)),
        np.zeros_like(levels[0]),
        np.full_like(levels[0], most),
    ]
    for node in config.graph.weighted:
        if all(edge.source != IMAGE for edge in config.graph.reads(node)):
            continue
        kernel = from_torch(tensors[f"{node.name}.weight"], config.graph.unflattened(node))
        for weights in np.moveaxis(kernel, -1, 0)[:4]:
            patch = weights.reshape(-1, *config.input_shape[1:]) if weights.ndim < 3 else weights
            height, width = config.input_shape[:2]
            tiles = -(-height // len(patch)), -(-width // patch.shape[1]), 1
            made += [most * (sign * np.tile(patch, tiles)[:height, :width] > 0) for sign in (1, -1)]
    return np.stack(made).astype(np.uint8)


def outside(config: ModelConfig, tensors: Tensors, limits: Bounds, x: torch.Tensor, steps: int) -> list[str]:
    """How a network isn't within bounds."""
    wrong = []
    trace = reference.trace(reference.Step(config, tensors), x, steps)
    for name, one in limits.items():
        spikes = trace.spikes[name].numpy()
        if spikes.reshape(*spikes.shape[:2], -1).sum(-1).max() > one.spikes:
            wrong.append(f"{name} has more spikes")
        if np.moveaxis(spikes, 2, -1)[..., ~one.fires].any():
            wrong.append(f"{name} has spikes of channels that can't fire")
        for state, values in trace.states[name].items():
            channels_last = np.moveaxis(values.numpy(), 2, -1)
            ends = one.states[state]
            if (channels_last < ends.low).any() or (channels_last > ends.high).any():
                wrong.append(f"{name} has {state} outside")
    return wrong


def case(name: str | int) -> tuple[ModelConfig, Tensors, torch.Tensor]:
    """A network with the input of its own tests."""
    if name not in NETWORKS:
        return c_networks.case(name)
    return network(name).config, network(name).tensors, torch_input(name)


SUITABLE = [name for name in NETWORKS if network(name).config.entering.bits <= 8]
"""Those that take bytes."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (place % 2))
        for place, name in enumerate((*SUITABLE, *c_networks.NETWORKS, *range(c_networks.RANDOM)))
    ],
)
def test_membranes_and_spikes_are_within_the_bounds(name):
    config, tensors, x = case(name)
    always, steps = bounds(config, tensors), min(config.time_steps, 12)
    window = bounds(config, tensors, steps)
    for limits in (always, window):
        assert not outside(config, tensors, limits, x[:steps] if x.ndim == 5 else x, steps)
    if config.encoding == "direct" and np.prod(config.input_shape) < 1000:
        held = torch.from_numpy(frames(config, tensors).astype(np.float32) / config.entering.scale).moveaxis(-1, 1)
        assert not outside(config, tensors, window, held, steps)
        changing = held[torch.randint(len(held), (3 * steps,), generator=torch.Generator().manual_seed(3))]
        assert not outside(config, tensors, always, changing.unflatten(0, (steps, 3)), steps)


def linear(
    reset: str, beta: float, weights: list[list[float]], bias: list[float], **fields
) -> tuple[ModelConfig, Tensors]:
    """One layer on an image of two pixels, with a neuron for each row of weights."""
    shape = {"input_shape": (1, 2, 1), "conv_channels": (), "hidden": (), "num_classes": len(bias), "scale": 1.0}
    config = ModelConfig(**shape, input_bits=0, reset=reset, beta=beta)
    tensors = {"fc1.weight": np.array(weights, np.float32), "fc1.bias": np.array(bias, np.float32)}
    return config, on_grid(config, tensors)


@pytest.mark.parametrize(
    ("reset", "beta", "low", "high"),
    [
        # Currents are from -1.5 to 2.5, and the threshold is 1.
        ("none", 0.5, -3.0, 5.0),
        ("none", 1.0, -np.inf, np.inf),
        ("zero", 0.5, -3.0, 3.0),
        ("mute", 0.5, -3.0, 3.0),
        ("zero", 1.0, -np.inf, 3.5),
        ("subtract", 0.5, -3.0, 3.0),
        ("subtract", 1.0, -np.inf, np.inf),
        ("deduct", 0.5, -3.0, 4.0),
    ],
)
def test_bounds_calculated_by_hand(reset, beta, low, high):
    config, tensors = linear(reset, beta, [[2.0, -2.0], [0, 0]], [0.5, 0])
    (limits,) = bounds(config, tensors).values()
    assert (limits.states["mem"].low[0], limits.states["mem"].high[0]) == pytest.approx((low, high), abs=1e-5)
    assert (limits.fires.tolist(), limits.spikes) == ([True, False], 1)
    shown = limits.figures["membrane"]
    assert [one == "unbounded" for one in shown] == [np.isinf(low), np.isinf(high)]


def test_a_slow_neuron_has_a_finite_bound():
    """After 500 steps, it's still far from its largest membrane."""
    config, tensors = linear("none", 0.9999, [[1.0, 0], [0, 0]], [0.0, 0])
    (limits,) = bounds(config, tensors).values()
    assert 10_000 < limits.states["mem"].high[0] < 30_000 and limits.states["mem"].low[0] == 0


def test_a_channel_fires_only_if_another_can_start_it():
    """Neuron 0 excites itself and neuron 1, but nothing excites neuron 0; 2 is excited by the image."""
    nodes = [
        c_networks.node("flat", "flatten", "image"),
        c_networks.linear("in", "flat", 3, bias=False),
        c_networks.linear("back", "first@1", 3, bias=False),
        c_networks.node("first", "leaky", "in back"),
        c_networks.linear("out", "first", 2, bias=False),
        c_networks.node("answer", "leaky", "out"),
    ]
    config = c_networks.graph(*nodes, input_shape=(1, 2, 1), scale=1.0, input_bits=0)
    tensors = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(config).items()}
    tensors["back.weight"][:2, 0] = 2
    tensors["in.weight"][2] = 2
    tensors["out.weight"][:] = [[0, 2, 0], [0, 0, 2]]
    limits = bounds(config, on_grid(config, tensors))
    assert limits["first"].fires.tolist() == [False, False, True] and limits["answer"].fires.tolist() == [False, True]
    tensors["in.weight"][0] = 2
    limits = bounds(config, on_grid(config, tensors))
    assert limits["first"].fires.all() and limits["answer"].fires.all()


FEW_BITS = {
    "2 bits": ModelConfig(weight_bits=2, time_steps=4, bias=False, conv_channels=(4, 6), hidden=(20,)),
    "4 bits": ModelConfig(weight_bits=4, time_steps=4, conv_channels=(4, 6), hidden=(20,), pool="avg", reset="zero"),
    "synaptic": ModelConfig(weight_bits=3, time_steps=3, bias=False, conv_channels=(4,), hidden=(), neuron="synaptic"),
}


@pytest.mark.parametrize("name", FEW_BITS)
def test_membranes_are_whole_multiples_that_fit(name):
    config = FEW_BITS[name]
    tensors = bundles.drawn(config)
    images = np.random.default_rng(1).integers(0, 256, (6, *config.input_shape)).astype(np.uint8)
    trace = reference.trace(reference.Step(config, tensors), reference.inputs(config, images), config.time_steps)
    bits = widths(config, tensors)
    assert all(width <= 16 for width in bits.values()) == (name == "2 bits"), bits
    for layer, exponents in units(config, tensors).items():
        whole = np.ldexp(trace.membranes[layer].moveaxis(2, -1).double().numpy(), -np.maximum(exponents, -1000))
        if bits[layer] <= 24:
            assert (whole == np.rint(whole)).all() and abs(whole).max() < 2.0 ** (bits[layer] - 1)
    assert name != "4 bits" or bits["lif1"] > 24, "biases are much finer than weights"


def test_widths_calculated_by_hand():
    """Membranes are multiples of 2^-11, because each step halves one of 1/256, and at most 255/256 (2 - 2^-3)."""
    config, tensors = linear("none", 0.5, [[1.0, 0], [0, 0]], [0, 0])
    config = replace(config, scale=256.0, input_bits=8, time_steps=4)
    assert units(config, tensors)["lif1"][0] == -11
    assert widths(config, tensors) == {"lif1": 1 + (255 * 15).bit_length()}
