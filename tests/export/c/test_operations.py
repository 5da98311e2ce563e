"""The operations that network.h states are those of a program whose neurons all fire, counted in the program."""

import re
from pathlib import Path

import c_networks
import numpy as np
import pytest
from counting import counted, firing
from networks import network

from csnn_jax.config import ModelConfig
from export.c import program


def stated(folder: Path) -> list[int]:
    """What network.h says of csnn_present, csnn_step and csnn_classify."""
    return [
        int(one) for one in re.findall(r"#define CSNN_MOST_\w+_OPERATIONS (\d+) ", (folder / "network.h").read_text())
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("2 bits", "residual, maxima, 4 bits", "residual, averages after, 8 bits"),
        *("residual, strides", "delayed sums", "one weight for each neuron, zero", "averages and sums after, 8 bits"),
        "70,400 neurons",
    ],
)
def test_the_most_operations_are_those_of_a_program_whose_neurons_all_fire(tmp_path, name):
    config = c_networks.NETWORKS[name] if name in c_networks.NETWORKS else network(name).config
    program.write_sources(tmp_path, config, firing(config))
    present, step, window = stated(tmp_path)
    (counts,) = counted(tmp_path, white(config), config.time_steps)
    assert counts[0, 0] == present and counts[-1, 1] == step and (counts <= [present, step]).all()
    frames = 1 if config.encoding == "direct" else config.time_steps
    assert window == frames * present + config.time_steps * step


def white(config: ModelConfig) -> np.ndarray:
    """A sample of the largest bytes."""
    frames = () if config.encoding == "direct" else (config.time_steps,)
    return np.full((1, *frames, *config.input_shape), min(255, 2**config.entering.bits), np.uint8)


@pytest.mark.parametrize("name", ["recurrent convolution, 4 bits", "names, latency, 3 bits", *range(c_networks.RANDOM)])
def test_no_program_takes_more(tmp_path, name):
    shared = network(name) if isinstance(name, str) else None
    config, tensors = (shared.config, shared.tensors) if shared else c_networks.case(name)[:2]
    program.write_sources(tmp_path, config, tensors)
    present, step, _ = stated(tmp_path)
    assert (counted(tmp_path, white(config), config.time_steps) <= [present, step]).all()
