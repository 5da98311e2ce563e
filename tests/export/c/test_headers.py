"""The headers of the C program hold the network to the last bit, and tell the memory that it takes."""

import re
import subprocess

import numpy as np
import pytest
from c_networks import parameters

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import from_torch, on_grid
from export.c import headers, int8, program


def test_weights_survive_the_text_to_the_last_bit(tmp_path):
    config = ModelConfig(input_shape=(6, 5, 1), conv_channels=(3,), hidden=(4,), num_classes=2)
    tensors = parameters(config)
    extremes = [0.0, -0.0, 1e-45, -1.1754942e-38, 3.4028235e38, 0.1, -1 / 3, 2**-126]
    tensors["fc1.weight"].flat[: len(extremes)] = np.array(extremes, np.float32)
    program.write_sources(tmp_path, config, tensors)
    (tmp_path / "dump.c").write_text(
        """#include <stdio.h>
#include "csnn.c"
int main(void) { return fwrite(fc1_weight, sizeof fc1_weight, 1, stdout) != 1; }
"""
    )
    subprocess.run(["cc", "-std=c99", "dump.c", "-o", "dump"], cwd=tmp_path, check=True)
    dumped = subprocess.run([tmp_path / "dump"], capture_output=True, check=True).stdout
    assert dumped == from_torch(config.layers[1], tensors["fc1.weight"]).tobytes()


def test_the_memory_it_states_is_what_it_takes(built):
    for name in ("default kind", "wide indices"):
        config, tensors, folder = built(name)
        flash, ram, membranes = map(int, re.findall(r"(\d+) (?:bytes|of them)", (folder / "network.h").read_text()))
        state = program.Library(folder / "libcsnn.so", config)._c.csnn_state_size()
        assert 0 <= state - ram < 8
        assert flash == 4 * sum(value.size for value in tensors.values())
        assert membranes == 4 * sum(int(np.prod(layer.out_shape)) for layer in config.layers)


def test_a_weight_of_8_bits_is_the_nearest_multiple_of_a_power_of_two():
    weight = np.random.default_rng(0).normal(size=(3, 4, 3, 3)) * [[[[1.0]]], [[[1e-4]]], [[[30.0]]]]
    weight = weight.astype(np.float32)
    found = int8.quantise(weight)
    assert found.weight.dtype == np.int8 and found.scale.dtype == np.float32 and found.scale.shape == (3,)
    assert (np.frexp(found.scale)[0] == 0.5).all() and (np.abs(found.weight).reshape(3, -1).max(1) >= 64).all()
    clipped = np.abs(weight) > 127.5 * found.scale.reshape(3, 1, 1, 1)
    np.testing.assert_array_equal(found.weight[~clipped], np.rint(weight / found.scale.reshape(3, 1, 1, 1))[~clipped])
    assert (np.abs(found.weight[clipped]) == 127).all()
    again = int8.quantise(found.values)
    np.testing.assert_array_equal(again.weight, found.weight)
    none = int8.quantise(np.zeros((2, 5), np.float32))
    assert not none.weight.any() and not none.values.any()


@pytest.mark.parametrize("inputs", [(5, 4, 2), (28, 28, 1), (32, 32, 3)], ids=["9 bits", "6 and more", "4 and more"])
def test_a_network_of_8_bits_is_on_its_grids_and_its_weights_are_bytes(inputs):
    """Also where the shape leaves fewer bits than a byte has; neurons with few weights have finer grids there."""
    config = ModelConfig(input_shape=inputs, conv_channels=(), hidden=(9,))
    tensors = parameters(config)
    tensors["fc1.weight"][:, 20:] /= 64
    exact = on_grid(config, tensors)
    found = headers.in_8_bits(config, exact)
    again = on_grid(config, found)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    for layer in config.layers:
        weight = found[f"{layer.name}.weight"]
        assert weight.any() and not np.array_equal(weight, exact[f"{layer.name}.weight"])
        np.testing.assert_array_equal(int8.quantise(weight).values, weight)


@pytest.mark.parametrize(
    ("encoding", "scale", "bits", "said"),
    [
        ("direct", None, None, ("256.0f", 255)),
        ("direct", 1.0, 4, ("1.0f", 16)),
        ("rate", None, None, ("1.0f", 1)),
    ],
)
def test_the_scale_is_a_power_of_two_and_the_largest_byte_is_told(encoding, scale, bits, said):
    config = ModelConfig(encoding=encoding, scale=scale, input_bits=bits)
    text = headers.network(config, None)
    assert f"#define CSNN_INPUT_SCALE {said[0]} " in text and f"#define CSNN_INPUT_MOST {said[1]} " in text
