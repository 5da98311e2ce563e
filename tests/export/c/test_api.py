"""What callers of csnn.h can rely on: names, version, sizes, checked arguments, answers before the end of a window."""

import ctypes
import itertools
import re
import subprocess
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
from backends import expected, torch_input
from compilers import COMPILERS, SANITIZE, STRICT
from documents import read
from networks import network
from refusals import assert_line, refusing

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.margins import margins
from export.c import program
from export.c.text import is_prefix, prefixed

WARNINGS = [*STRICT, "-Wconversion"]


def samples(name: str) -> np.ndarray:
    return program.samples(network(name).config, torch_input(name).numpy())


BOTH = """\
#include <stdio.h>

#include "one/classes.h"
#include "one/csnn.h"
#include "one/program.h"
#include "Other_2/classes.h"
#include "Other_2/csnn.h"
#include "Other_2/program.h"

static struct one_state first;
static struct Other_2_state second;

int main(void)
{
    static uint8_t images[ONE_INPUTS], others[OTHER_2_FRAMES * OTHER_2_INPUTS];
    one_score scores[ONE_CLASSES];
    Other_2_score sums[OTHER_2_CLASSES];

    while (fread(images, sizeof images, 1, stdin) && fread(others, sizeof others, 1, stdin)) {
        one_classify(&first, images, scores);
        Other_2_classify(&second, others, sums);
        one_print(scores, 0);
        Other_2_print(sums, 0);
    }
    return 0;
}
"""


@pytest.mark.parametrize("compiler", COMPILERS)
def test_two_networks_in_one_program_have_nothing_in_common(tmp_path, compiler):
    names = {"one": "no pool, no bias, membranes", "Other_2": "delayed spikes"}
    for prefix, name in names.items():
        classes = [f"csnn_{number} CSNN_STATES" for number in range(network(name).config.num_classes)]
        program.write_sources(
            tmp_path / prefix, network(name).config, network(name).tensors, names=classes, prefix=prefix
        )
        library = program.build(tmp_path / prefix, tmp_path / prefix).library
        first_scores = program.Library(library, network(name).config, prefix).classify(samples(name)[0])[1]
        np.testing.assert_array_equal(first_scores, expected(name)["scores"][0])
    (tmp_path / "both.c").write_text(BOTH)
    sources = ["both.c", "one/csnn.c", "Other_2/csnn.c"]
    subprocess.run([*compiler, *WARNINGS, *SANITIZE, "-O1", *sources, "-o", "both"], cwd=tmp_path, check=True)
    bytes_of = b"".join(
        one.tobytes() + other.tobytes() for one, other in zip(*map(samples, names.values()), strict=True)
    )
    done = subprocess.run([tmp_path / "both"], input=bytes_of, capture_output=True, check=True)
    lines = [re.split(", (?:scores|spike counts) ", line) for line in done.stdout.decode().splitlines()]
    for number, name in enumerate(names.values()):
        scores = np.array([line[1].split() for line in lines[number::2]]).astype(np.float32)
        np.testing.assert_array_equal(scores, expected(name)["scores"])
        assert {line[0] for line in lines[number::2]} <= {*(f"class csnn_{k} CSNN_STATES" for k in range(6)), "class -"}


@pytest.mark.parametrize("prefix", ["csnn", "Other_2"])
def test_all_symbols_and_macros_start_with_the_prefix(tmp_path, prefix):
    one = network("delayed spikes")
    program.write_sources(tmp_path, one.config, one.tensors, prefix=prefix)
    program.build(tmp_path, tmp_path)
    symbols = subprocess.run(["nm", "-g", "--defined-only", "csnn.o"], cwd=tmp_path, capture_output=True, text=True)
    functions = [line.split()[-1] for line in symbols.stdout.splitlines()]
    assert len(functions) > 20 and all(name.startswith(f"{prefix}_") for name in functions)
    assert max(map(len, functions)) - len(prefix) + 15 <= 31, "is_prefix leaves room for the longest one"
    (tmp_path / "standard.h").write_text("#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n")
    (tmp_path / "own.h").write_text('#include "standard.h"\n#include "csnn.h"\n#include "program.h"\n')
    macros = []
    for header in ("standard.h", "own.h"):
        command = ["gcc", "-std=c99", "-dM", "-E", header]
        printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        macros.append(set(re.findall(r"^#define (\w+)", printed, re.M)))
    assert len(macros[1] - macros[0]) > 30 and all(
        name.startswith(f"{prefix.upper()}_") for name in macros[1] - macros[0]
    )
    text = "".join((tmp_path / name).read_text() for name in program.FILES)
    assert prefix == "csnn" or not re.search(r"(csnn|CSNN)_\w", text)


def test_a_prefix_is_an_identifier_that_no_node_starts_with(tmp_path):
    assert [*map(is_prefix, ("a", "Net_2", "x" * 15))] == [True] * 3
    assert not any(map(is_prefix, ("", "2a", "_a", "a-b", "a b", "é", "x" * 16, "a\n", "a/*")))
    assert (
        prefixed("csnn_step CSNN_X csnn.h csnn: acsnn_x csnn_ csnn", "net")
        == "net_step NET_X csnn.h csnn: acsnn_x csnn_ csnn"
    )
    one = network("dark half")
    with refusing(UserError, "prefix conv1", "node"):
        program.write_sources(tmp_path / "sources", one.config, one.tensors, prefix="conv1")
    assert not (tmp_path / "sources").exists()
    program.write_sources(tmp_path, one.config, one.tensors, prefix="conv")


def test_the_preprocessor_can_compare_the_version(built, tmp_path):
    major, minor, patch = re.search(r'^version = "(\d+)\.(\d+)\.(\d+)"$', read("pyproject.toml"), re.M).groups()
    number = 10_000 * int(major) + 100 * int(minor) + int(patch)
    (tmp_path / "version.c").write_text(f"""\
#include "csnn.h"
#if CSNN_VERSION_MAJOR != {major} || CSNN_VERSION_MINOR != {minor} || CSNN_VERSION_PATCH != {patch}
#error
#elif CSNN_VERSION_NUMBER != {number} || CSNN_VERSION_NUMBER >= {number + 1}
#error
#endif
#undef CSNN_VERSION_MAJOR
#define CSNN_VERSION_MAJOR 12
#if CSNN_VERSION_NUMBER != {number + 10_000 * (12 - int(major))}
#error
#endif
""")
    command = ["gcc", "-std=c99", "-fsyntax-only", "-I", built("dark half"), "version.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(built("dark half") / "libcsnn.so"))
    library.csnn_version.restype = ctypes.c_char_p
    assert library.csnn_version().decode() == version("csnn-jax") == f"{major}.{minor}.{patch}"


@pytest.mark.parametrize("name", ["no pool, no bias, membranes", "delayed spikes", "synaptic"])
def test_a_caller_without_macros_learns_all_sizes_from_the_library(built, name):
    c = ctypes.CDLL(str(built(name) / "libcsnn.so"))
    c.csnn_state_size.restype = c.csnn_index_size.restype = ctypes.c_size_t
    assert c.csnn_inputs() == c.csnn_height() * c.csnn_width() * c.csnn_channels()
    data, size = samples(name).tobytes(), c.csnn_frames() * c.csnn_inputs()
    state = ctypes.create_string_buffer(c.csnn_state_size())
    scores = ((ctypes.c_float if c.csnn_reads_membranes() else ctypes.c_int32) * c.csnn_classes())()
    for at, sums in zip(range(0, len(data), size), expected(name)["scores"], strict=True):
        c.csnn_classify(state, data[at : at + size], scores)
        assert [*scores] == sums.tolist()
    defined = dict(re.findall(r"^#define CSNN_(\w+) (\d+)\b", (built(name) / "network.h").read_text(), re.M))
    for what in ("time_steps", "input_most", "layers", "states"):
        assert c[f"csnn_{what}"]() == int(defined[what.upper()])
    typedef = re.search(r"typedef uint(\d+)_t csnn_index;", (built(name) / "network.h").read_text())
    assert 8 * c.csnn_index_size() == int(typedef[1])


CALLS = """\
#include <stdio.h>
#include <stdlib.h>

#ifdef OWN
static void report(const char *condition)
{
    fputs(condition, stderr);
    exit(7);
}
#define CSNN_ASSERT(condition) ((condition) ? (void)0 : report(#condition))
#endif
#include "csnn.c"

int main(int argc, char **argv)
{
    static struct csnn_state state;
    static uint8_t frame[CSNN_FRAMES * CSNN_INPUTS];
    csnn_score scores[CSNN_CLASSES];
    csnn_index *begin;
    int32_t count;

    csnn_classify(&state, frame, scores);
    for (int layer = 0; layer < CSNN_LAYERS; layer++)
        csnn_spikes(&state, layer, &count), csnn_membranes(&state, layer, &count);
    csnn_past(&state, CSNN_PAST - 1, &begin);
    frame[CSNN_INPUTS - 1] = CSNN_INPUT_MOST;
    csnn_present(&state, frame);
    switch (argc > 1 ? atoi(argv[1]) : -1) {
        CASES
    }
    return 0;
}
"""
WRONG = (
    *("csnn_reset(NULL)", "csnn_restore(NULL)", "csnn_step(NULL)"),
    *("csnn_present(NULL, frame)", "csnn_present(&state, NULL)"),
    *("frame[CSNN_INPUTS - 1]++; csnn_present(&state, frame)", "frame[0] = 255; csnn_classify(&state, frame, scores)"),
    *("csnn_spikes(NULL, 0, &count)", "csnn_spikes(&state, 0, NULL)"),
    *("csnn_spikes(&state, -1, &count)", "csnn_spikes(&state, CSNN_LAYERS, &count)"),
    *("csnn_past(NULL, 0, &begin)", "csnn_past(&state, 0, NULL)"),
    *("csnn_past(&state, -1, &begin)", "csnn_past(&state, CSNN_PAST, &begin)"),
    *("csnn_values(NULL, 0, 0, &count)", "csnn_values(&state, 0, 0, NULL)"),
    *("csnn_values(&state, -1, 0, &count)", "csnn_values(&state, CSNN_STATES, 0, &count)"),
    *("csnn_membranes(&state, -1, &count)", "csnn_membranes(&state, CSNN_LAYERS, &count)"),
    *("csnn_score_step(NULL, scores)", "csnn_score_step(&state, NULL)", "csnn_class(NULL)", "csnn_decided(NULL, 1)"),
    *("csnn_classify(NULL, frame, scores)", "csnn_classify(&state, NULL, scores)"),
    "csnn_classify(&state, frame, NULL)",
)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_debug_build_checks_arguments(tmp_path, compiler):
    one = network("delayed spikes")
    program.write_sources(tmp_path, replace(one.config, scale=1.0, input_bits=4), one.tensors)
    cases = " ".join(f"case {number}: {{ {call}; break; }}" for number, call in enumerate(WRONG))
    (tmp_path / "calls.c").write_text(CALLS.replace("CASES", cases))
    for flags, code in ((["-DCSNN_DEBUG"], -6), (["-DOWN"], 7), (["-DCSNN_DEBUG", "-DOWN", "-DNDEBUG"], 7)):
        command = [*compiler, *WARNINGS, "-Wno-unused-value", *flags, "-O0", "calls.c", "-o", "calls"]
        subprocess.run(command, cwd=tmp_path, check=True)
        assert subprocess.run([tmp_path / "calls"], check=True, capture_output=True).stderr == b""
        for number, call in enumerate(WRONG):
            done = subprocess.run([tmp_path / "calls", str(number)], capture_output=True, text=True)
            assert done.returncode == code and re.search("state|scores|layer|number|value", done.stderr), (call, done)
    command = [*compiler, "-std=c99", "-DCSNN_DEBUG", "-DNDEBUG", "-fsyntax-only", "csnn.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "NDEBUG removes" in done.stderr


def answer(scores: np.ndarray, margin: int) -> np.ndarray:
    """The class with the most spikes, the lowest of several; -1 without spikes, or below the margin."""
    known = (scores.max(-1) > 0) & (margins(scores) >= margin)
    return np.where(known, scores.argmax(-1), -1)


@pytest.mark.parametrize("margin", [None, 1, 3])
def test_a_class_is_decided_exactly_if_no_later_spikes_can_change_it(tmp_path, margin):
    """Compared with all that can happen to three classes."""
    config = ModelConfig(input_shape=(1, 1, 1), conv_channels=(), hidden=(), num_classes=3)
    tensors = {"fc1.weight": np.ones((3, 1), np.float32), "fc1.bias": np.zeros(3, np.float32)}
    program.write_sources(tmp_path, config, tensors, margin=margin)
    c, least = ctypes.CDLL(str(program.build(tmp_path, tmp_path).library)), margin or 0
    for remaining in range(4):
        gained = np.array([*itertools.product(range(remaining + 1), repeat=3)])
        for scores in itertools.product(range(5), repeat=3):
            can_change = (answer(np.array(scores) + gained, least) != answer(np.array(scores), least)).any()
            assert c.csnn_decided((ctypes.c_int32 * 3)(*scores), remaining) == (not can_change), (scores, remaining)


LINE = re.compile(r"class (.+), spike counts ([\d ]+), after (\d+) of (\d+) steps")


@pytest.mark.parametrize("name", ["dark half", "recurrent", "counts, five channels", "delayed spikes"])
def test_early_answers_are_those_of_the_whole_window(built, name):
    config, rng = network(name).config, np.random.default_rng(5)
    binary, some = built(name) / "csnn", samples(name)
    many = np.concatenate([some * (rng.random(some.shape) < share) for share in np.linspace(0, 1, 40)])
    classes, scores = program.answers(binary, many)
    done = subprocess.run([binary, "--early"], input=many.tobytes(), capture_output=True, text=False, check=True)
    lines = [LINE.fullmatch(line).groups() for line in done.stdout.decode().splitlines()]
    assert [-1 if line[0] == "-" else int(line[0]) for line in lines] == classes.tolist()
    steps = np.array([int(line[2]) for line in lines])
    assert {int(line[3]) for line in lines} == {config.time_steps}
    assert steps.max() <= config.time_steps and (steps < config.time_steps).sum() >= 10 and len(set(classes)) > 1
    counted = np.array([line[1].split() for line in lines], int)
    assert (counted <= scores).all() and (scores - counted <= (config.time_steps - steps)[:, None]).all()


def test_membranes_have_no_early_answer(built):
    folder = built("no pool, no bias, membranes")
    done = subprocess.run([folder / "csnn", "--early"], input=b"", capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert_line(done.stderr.decode().removesuffix("\n"), "--early", "membranes", "spikes")
    c = ctypes.CDLL(str(folder / "libcsnn.so"))
    scores = (ctypes.c_float * c.csnn_classes())(100.0)
    assert [c.csnn_decided(scores, remaining) for remaining in (0, 1)] == [1, 0]
