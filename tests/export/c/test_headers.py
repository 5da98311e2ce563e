"""The headers of the C program reproduce the network bit for bit and state the memory it needs."""

import re
import subprocess

import numpy as np
import pytest
from bundles import drawn
from networks import network

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import from_torch
from export.c import headers, program


def test_weights_in_the_header_are_exact(tmp_path):
    config = ModelConfig(input_shape=(6, 5, 1), conv_channels=(3,), hidden=(4,), num_classes=2)
    tensors = drawn(config)
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
    found = np.frombuffer(dumped, np.float32).reshape(-1, 8)
    entering = config.graph.unflattened(config.graph["fc1"])
    assert found[:, :4].tobytes() == from_torch(tensors["fc1.weight"], entering).tobytes()
    assert not found[:, 4:].any()


def test_the_stated_memory_is_correct(built):
    for name in (
        *("dark half", "70,400 neurons", "averages, zero, 3 bits", "synaptic integrator, values per channel"),
        *("averages and sums after, 8 bits", "all pools after, 4 bits"),
    ):
        config, folder = network(name).config, built(name)
        flash, ram, states = map(int, re.findall(r"(\d+) (?:bytes|of them)", (folder / "network.h").read_text()))
        state = program.Library(folder / "libcsnn.so", config)._c.csnn_state_size()
        assert 0 <= state - ram < 8
        lengths = re.findall(
            r"static const \w+ \w+\[(\d+)\] =",
            "".join((folder / name).read_text() for name in ("weights.h", "neurons.h")),
        )
        assert flash == 4 * sum(map(int, lengths))
        each = 4 * len(config.kind.states)
        assert states == each * sum(node.size for node in config.graph.neurons)


@pytest.mark.parametrize(
    ("encoding", "scale", "bits", "said"),
    [
        ("direct", None, None, ("256.0f", 255)),
        ("direct", 1.0, 4, ("1.0f", 16)),
        ("rate", None, None, ("1.0f", 1)),
    ],
)
def test_the_scale_is_a_power_of_two_and_the_largest_byte_is_stated(encoding, scale, bits, said):
    config = ModelConfig(encoding=encoding, scale=scale, input_bits=bits)
    text = headers.network(config, None)
    assert f"#define CSNN_INPUT_SCALE {said[0]} " in text and f"#define CSNN_INPUT_MOST {said[1]} " in text
