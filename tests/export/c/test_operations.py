"""The operations that network.h states are those of a program whose neurons all fire, counted in the program."""

import re
import subprocess
from pathlib import Path

import c_networks
import numpy as np
import pytest
from networks import network

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import expected_shapes, on_grid
from export.c import program

COUNTING = {
    "sums.h": """
static int64_t operations;
static void count_rows(csnn_sum *restrict sum, const csnn_weight *const *row, int32_t rows, size_t at, bool first)
{
    operations += rows * CSNN_LANES;
    add_rows(sum, row, rows, at, first);
}
static void count_scaled_rows(csnn_sum *restrict sum, const csnn_weight *const *row, const uint8_t *value, int32_t rows,
                              size_t at, bool first)
{
    operations += rows * CSNN_LANES;
    add_scaled_rows(sum, row, value, rows, at, first);
}
#define add_rows count_rows
#define add_scaled_rows count_scaled_rows
""",
    "neurons.h": "#define step(...) (operations++, step(__VA_ARGS__))\n",
    "csnn.c": """
#include <stdio.h>
#include <string.h>
static struct csnn_state state;
static uint8_t frame[CSNN_INPUTS];
int main(void)
{
    csnn_reset(&state);
    for (int t = 0; t < CSNN_TIME_STEPS; t++) {
        memset(frame, CSNN_INPUT_MOST, sizeof frame);
        operations = 0;
        csnn_present(&state, frame);
        printf("%lld ", (long long)operations);
        operations = 0;
        csnn_step(&state);
        printf("%lld\\n", (long long)operations);
    }
    return 0;
}
""",
}
"""Added to the ends of files."""
EVENTS = {
    "copies.h": (r"(again < often\(list\); again\+\+\) \{)", r"\1 operations++;"),
    "csnn.c": (
        r"(sum\[n\] = frame \?|sum\[\*e\] \+=) (.*);",
        lambda found: f"operations += {'frame != NULL' if '[n]' in found[1] else 1}, {found[0]}",
    ),
}
"""Where events are copied or counted."""


def counted(folder: Path) -> np.ndarray:
    """The operations of csnn_present and csnn_step in each step, [steps, 2]."""
    for name, (pattern, replacement) in EVENTS.items():
        text, places = re.subn(pattern, replacement, (folder / name).read_text())
        assert places
        (folder / name).write_text(text)
    for name, more in COUNTING.items():
        (folder / name).write_text((folder / name).read_text() + more)
    subprocess.run(["cc", "-std=c99", "csnn.c", "-o", "count"], cwd=folder, check=True)
    lines = subprocess.run([folder / "count"], capture_output=True, text=True, check=True).stdout.splitlines()
    return np.array([line.split() for line in lines], np.int64)


def stated(folder: Path) -> list[int]:
    """What network.h says of csnn_present, csnn_step and csnn_classify."""
    return [
        int(one) for one in re.findall(r"#define CSNN_MOST_\w+_OPERATIONS (\d+) ", (folder / "network.h").read_text())
    ]


def firing(config: ModelConfig) -> program.Tensors:
    """Parameters with which neurons fire whatever they read."""
    shapes = expected_shapes(config).items()
    names = [name for name, _ in shapes if not name.endswith((".bias", ".exponents"))]
    tensors = {name: np.full(shape, 8.0 if name.endswith(".bias") else 0.5, np.float32) for name, shape in shapes}
    tensors |= {name: np.zeros_like(tensors[name]) for name in names if name.endswith(".weight")}
    return on_grid(config, {name: value for name, value in tensors.items() if not name.endswith(".exponents")})


@pytest.mark.parametrize(
    "name",
    [
        *("2 bits", "residual, maxima, 4 bits", "residual, averages after, 8 bits"),
        *("residual, strides", "delays", "one weight for each neuron, zero", "averages and sums after, 8 bits"),
        "70,400 neurons",
    ],
)
def test_the_most_operations_are_those_of_a_program_whose_neurons_all_fire(tmp_path, name):
    config = c_networks.NETWORKS[name] if name in c_networks.NETWORKS else network(name).config
    program.write_sources(tmp_path, config, firing(config))
    present, step, window = stated(tmp_path)
    found = counted(tmp_path)
    assert found[-1].tolist() == [present, step] and (found <= [present, step]).all()
    frames = 1 if config.encoding == "direct" else config.time_steps
    assert window == frames * present + config.time_steps * step


@pytest.mark.parametrize("name", ["convolutions, 4 bits", "feedback, 8 bits", *range(c_networks.RANDOM)])
def test_no_program_takes_more(tmp_path, name):
    config, tensors, _ = c_networks.case(name)
    program.write_sources(tmp_path, config, tensors)
    present, step, _ = stated(tmp_path)
    assert (counted(tmp_path) <= [present, step]).all()
