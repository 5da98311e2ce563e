from dataclasses import replace

import numpy as np
import pytest
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs import layouts

CONFIG = ModelConfig((6, 4, 2), conv_channels=(3,), hidden=(5,), num_classes=4, learn_beta=True, learn_threshold=True)
SHAPES = {
    "conv1.weight": (3, 2, 3, 3),
    "conv1.bias": (3,),
    "lif1.beta": (),
    "lif1.threshold": (),
    "fc1.weight": (5, 18),
    "fc1.bias": (5,),
    "lif2.beta": (),
    "lif2.threshold": (),
    "fc2.weight": (4, 5),
    "fc2.bias": (4,),
    "lif3.beta": (),
    "lif3.threshold": (),
}


def test_names_and_shapes_follow_the_stack():
    assert layouts.expected_shapes(CONFIG) == SHAPES


def test_all_parameters_go_to_torch_and_back():
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    arrays = layouts.from_tensors(CONFIG, tensors)
    assert arrays["conv1.kernel"].shape == (3, 3, 2, 3) and arrays["fc1.kernel"].shape == (18, 5)
    assert arrays["lif2.beta"] is tensors["lif2.beta"]
    assert arrays["conv1.kernel"][0, 2, 1, 2] == tensors["conv1.weight"][2, 1, 0, 2]
    row, column, channel = 1, 0, 2  # in fc1's input, 3x2x3
    place, torchs = (row * 2 + column) * 3 + channel, (channel * 3 + row) * 2 + column
    np.testing.assert_array_equal(arrays["fc1.kernel"][place], tensors["fc1.weight"][:, torchs])
    back = layouts.to_tensors(CONFIG, arrays)
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(back[name], tensor)


def drawn() -> layouts.Tensors:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("bits", [2, 4, 5, 8])
def test_below_five_bits_a_network_has_exponents(bits):
    tensors = drawn()
    config, rounded = layouts.with_bits(CONFIG, tensors, bits)
    assert config == replace(CONFIG, weight_bits=bits) and list(rounded) == list(layouts.expected_shapes(config))
    assert ("fc1.exponents" in rounded) == (bits < 5)
    for neuron in rounded["fc1.weight"]:
        largest = np.frexp(abs(neuron).max())[1]
        assert (neuron * 2.0 ** (bits + 2 - largest) % 1 == 0).all() and len(np.unique(abs(neuron))) <= 2 ** (bits - 1)
    again = layouts.on_grid(config, rounded)
    assert all(np.array_equal(again[name], value) for name, value in rounded.items())
    back, same = layouts.with_bits(config, rounded, None)
    assert (
        back == CONFIG and np.array_equal(same["conv1.weight"], rounded["conv1.weight"]) and list(same) == list(SHAPES)
    )
    weights, others = 3 * 18 + 5 * 18 + 4 * 5, 3 + 5 + 4 + 6
    assert layouts.kilobytes(config, rounded) == pytest.approx((weights * bits / 8 + 4 * others + 12) / 1000)


@pytest.mark.parametrize("bits", range(2, 9))
def test_weights_of_few_bits_are_whole_numbers_of_steps(bits):
    """Even if fewer than 8 bits are exact, a neuron has no weights, or its bias needs a coarser grid than they do."""
    dense = ModelConfig((28, 28, 1), (), hidden=(16,), weight_bits=bits)
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in layouts.expected_shapes(dense).items()
        if not name.endswith(".exponents")
    }
    tensors["fc1.weight"][3] = 0
    tensors["fc2.bias"][2] = 1e4
    rounded = layouts.on_grid(dense, tensors)
    for layer in dense.graph.weighted:
        whole, steps = layouts.units(dense, layer, rounded)
        weight = rounded[f"{layer.name}.weight"]
        assert whole.dtype == np.int8 and abs(whole.astype(int)).max() < 2 ** (bits - 1)
        assert steps.dtype == np.float32 and (np.frexp(steps)[0] == 0.5).all()
        np.testing.assert_array_equal(whole * steps[:, None], weight)
        assert weight.any()


def test_weights_that_all_become_0_are_refused():
    config, rounded = layouts.with_bits(CONFIG, drawn(), 2)
    rounded["fc2.weight"] = rounded["fc2.weight"] / 1024
    with refusing(UserError, "fc2", "2 bits"):
        layouts.on_grid(config, rounded)
