"""csnn.c gives the same bits however it is compiled, or refuses to compile."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from compilers import COMPILERS
from networks import network

from export.c import program

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
        config = replace(network(name).config, beta=0.9)  # products with beta 0.5 are exact
        program.write_sources(folder, config, network(name).tensors)
        (folder / "dump.c").write_text(DUMP)
        return folder

    return make


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
        "synaptic integrator, values per channel",
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
