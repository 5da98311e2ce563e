"""csnn.c gives the same bits however it is compiled, or refuses to compile."""

import ctypes
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import drawn
from compilers import COMPILERS, constants, stated_memory
from networks import network

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import from_torch
from export.c import headers, program

DUMP = """\
#include <stdio.h>
#include "csnn.h"

static struct csnn_state state;
static uint8_t frame[CSNN_INPUTS];

int main(void)
{
    while (fread(frame, 1, sizeof frame, stdin) == sizeof frame) {
        csnn_reset(&state);
        csnn_present(&state, frame);
        for (int t = 0; t < 30; t++) {
            csnn_step(&state);
            fwrite(state.value, sizeof state.value, 1, stdout);
        }
    }
    return 0;
}
"""
"""Prints the states after every step."""

FUSED = ["-march=haswell", "-ffp-contract=fast"]
"""The compiler is allowed to fuse, and the processor can."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The folder of a network's sources, with `DUMP`."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp("c")
        config = network(name).config
        if config.network is None:
            config = replace(config, beta=0.9)  # products with beta 0.5 are exact
        program.write_sources(folder, config, network(name).tensors)
        (folder / "dump.c").write_text(DUMP)
        return folder

    return make


@pytest.mark.parametrize(("size", "bits"), [((255, 257), 16), ((256, 256), 32)])
def test_indices_have_as_few_bytes_as_the_largest_layer_needs(size, bits):
    config = ModelConfig((*size, 1), (1,), stride=16, pool="none", hidden=(), num_classes=2)
    assert headers.index_type(config) is {16: ctypes.c_uint16, 32: ctypes.c_uint32}[bits]


CPUINFO = Path("/proc/cpuinfo")  # Linux only
FUSES = CPUINFO.exists() and {"fma", "avx2", "bmi2", "movbe"} <= {*CPUINFO.read_text().split()}  # required by FUSED


def compiled(folder: Path, *command: str) -> Path:
    subprocess.run([*command, "csnn.c", "dump.c", "-o", "dump"], cwd=folder, check=True)
    return folder / "dump"


@pytest.mark.skipif(not FUSES, reason="this processor isn't known to fuse operations")
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    "name",
    [
        *("dark half", "averages, zero, 3 bits", "averages and sums after, 8 bits", "synaptic"),
        *("synaptic integrator, values per channel", "residual", "names, latency, 3 bits", "delayed sums"),
    ],
)
def test_fused_operations_change_no_bit(sources, name, compiler):
    folder, frames = sources(name), network(name).x.tobytes()

    def states(*flags: str) -> bytes:
        program = compiled(folder, *compiler, "-std=c99", *flags)
        return subprocess.run([program], input=frames, capture_output=True, check=True).stdout

    assert states("-O3", *FUSED) == states("-O1", "-ffp-contract=off")


@pytest.mark.parametrize("name", ["dark half", "synaptic integrator, values per channel"])
def test_flags_that_change_sums_are_refused_and_only_the_header_compiles_as_cplusplus(sources, name):
    folder = sources(name)
    for flag in ("-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-freciprocal-math"):
        command = ["gcc", "-std=c99", flag, "-fsyntax-only", "csnn.c"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode != 0 and "-ffast-math and the options it implies change sums" in done.stderr
    for source, said in (("csnn.c", "csnn.c is C: compile it with a C compiler"), ("csnn.h", "")):
        command = ["g++", "-x", "c++", "-Wall", "-Wextra", "-fsyntax-only", source]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert (said in done.stderr) if said else (done.returncode, done.stderr) == (0, "")


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
    kernel = np.frombuffer(dumped, np.float32).reshape(-1, 8)
    entering = config.graph.unflattened(config.graph["fc1"])
    assert kernel[:, :4].tobytes() == from_torch(tensors["fc1.weight"], entering).tobytes()
    assert not kernel[:, 4:].any()


def test_the_stated_memory_is_correct(built):
    for name in (
        *("dark half", "70,400 neurons", "averages, zero, 3 bits", "synaptic integrator, values per channel"),
        *("averages and sums after, 8 bits", "all pools after, 4 bits"),
    ):
        config, folder = network(name).config, built(name)
        flash, ram, states = stated_memory(folder)
        state = program.Library(folder / "libcsnn.so", config)._c.csnn_state_size()
        assert 0 <= state - ram < 8
        assert flash == 4 * constants(folder)
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
