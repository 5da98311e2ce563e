"""The C program, built as users build it: its answers, its errors, and how it's hardened.

tests/test_matrix.py compares every step of every network.
"""

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from backends import expected, torch_input
from compilers import COMPILERS, SANITIZE, STRICT
from networks import RECIPES, Network, made, network
from refusals import assert_line, refusing

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import expected_shapes, on_grid
from export import reference
from export.c import program
from export.proof.runners import zeros

GENERATED = ("network.h", "neurons.h", "weights.h")
USAGE = "usage: csnn [--early] [FILE], or csnn [--early] --events [--window-us N] [FILE]\n"


def samples(name):
    return program.samples(network(name).config, torch_input(name).numpy())


@pytest.mark.parametrize(
    "name",
    ["dark half", "no pool, no bias, membranes", "counts, no convolution, 2 bits", "all pools after, 4 bits"],
)
def test_the_program_and_the_library_give_the_same_answers(built, name):
    config, folder = network(name).config, built(name)
    scores = expected(name)["scores"]
    counts = config.readout == "spikes"
    classes = np.where(~scores.any(1) & counts, -1, scores.argmax(1))
    answers = program.answers(folder / "csnn", samples(name))
    np.testing.assert_array_equal(answers[0], classes)
    np.testing.assert_array_equal(answers[1], scores)
    assert answers[1].dtype == (np.int64 if counts else np.float32)
    library, other = (program.Library(folder / "libcsnn.so", config) for _ in range(2))
    for sample, answer, expected_scores in zip(samples(name), classes, scores, strict=True):
        other.classify(255 - sample)  # shares nothing
        answered, library_scores = library.classify(np.ascontiguousarray(sample))
        assert (answered, library_scores.tolist()) == (answer, expected_scores.tolist())
    count = ctypes.c_int32()
    library._c.csnn_membranes.restype = ctypes.POINTER(ctypes.c_float)
    for number, layer in enumerate(config.graph.neurons):
        membranes = library._c.csnn_membranes(library._state, number, ctypes.byref(count))[: count.value]
        assert membranes == expected(name)[f"{layer.name}.last membrane"][-1].ravel().tolist()
    library._c.csnn_reset(library._state)
    library._c.csnn_step(library._state)  # no frame, and no bias that comes with one
    assert not any(library._c.csnn_membranes(library._state, 0, ctypes.byref(count))[: count.value])


@pytest.mark.parametrize("bits", [None, 8, 4, 2])
def test_no_sum_overflows_if_all_neurons_spike(tmp_path, monkeypatch, bits):
    """Windows have 9 pixels, 40 channels and 4 spikes each, all with the largest or the smallest weight.

    The sanitizer checks indices of arrays, too. The image is white, and its windows have 49 pixels.
    """
    monkeypatch.setenv("OPTIMIZE", "-O0 -fsanitize=undefined -fno-sanitize-recover=all")
    monkeypatch.setenv("LDFLAGS", "-fsanitize=undefined")
    shape = {"input_shape": (8, 8, 1), "conv_channels": (40, 8), "hidden": (), "num_classes": 2, "time_steps": 2}
    config = ModelConfig(**shape, kernel_size=(7, 3), pool="sum", pool_after=True, weight_bits=bits)
    tensors = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(config).items()}
    tensors["conv1.weight"][:], tensors["conv1.bias"][:] = 1, 2
    tensors["conv2.weight"][::2], tensors["conv2.weight"][1::2] = 1, -1
    tensors["fc1.weight"][:] = 0.5
    tensors = on_grid(config, tensors)
    program.write_sources(tmp_path, config, tensors)
    built = program.build(tmp_path, tmp_path)
    program.printed(built.program, np.full((1, 8, 8, 1), 255, np.uint8))  # an error would end this process, too
    library = program.Library(built.library, config)
    step, x = reference.Step(config, tensors), torch.full((1, 1, 8, 8), 255 / 256)
    states, _ = library.step([u.numpy() for u in step.initial_states(1)], x.numpy())
    for mine, theirs in zip(states, step(x, *step.initial_states(1))[1:], strict=True):
        np.testing.assert_array_equal(mine, theirs.numpy())
    assert np.abs(states[1]).max() == 4 * 9 * 40 * np.abs(tensors["conv2.weight"]).max()


def test_the_library_refuses_input_that_is_no_byte(built):
    config = network("dark half").config
    library = program.Library(built("dark half") / "libcsnn.so", config)
    states = zeros(config, 1)
    for value in (1 / 512, 1.5, -1 / 256):
        with refusing(ValueError, 0, 255):
            library.step(states, np.full((1, 2, 12, 24), value, np.float32))


def test_a_sample_has_as_many_steps_as_frames(tmp_path):
    config, tensors = network("dark half").config, network("dark half").tensors
    program.write_sources(tmp_path, config, tensors, frames=6)
    binary = program.build(tmp_path, tmp_path).program
    frames = np.random.default_rng(4).integers(0, 256, (3, 6, *config.input_shape)).astype(np.uint8)
    x = reference.inputs(config, frames)
    expected = reference.trace(reference.Step(config, tensors), x, config.time_steps).spikes
    expected = expected[config.graph.neurons[-1].name].sum(0).numpy()
    assert expected.any() and len(x) == 6 != config.time_steps
    np.testing.assert_array_equal(program.answers(binary, frames)[1], expected)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    "name",
    [
        *("dark half", "reset for each layer", "counts, no convolution, 2 bits", "strides, 5 bits"),
        *("synaptic integrator, values per channel", "averages and sums after, 8 bits", "all pools after, 4 bits"),
        *("names, latency, 3 bits", "recurrent convolution, 4 bits", "at rest", "residual", "delayed sums"),
        "residual, averages after, 3 bits",
    ],
)
def test_it_compiles_without_warnings_everywhere_and_sanitizers_find_nothing(built, tmp_path, compiler, name):
    binary = tmp_path / "sanitized"
    sources = [built(name) / source for source in ("main.c", "events.c", "csnn.c")]
    command = [*compiler, *STRICT, *SANITIZE, "-O1", *sources, "-o", binary]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([binary], input=samples(name).tobytes(), capture_output=True, check=True)
    assert done.stderr == b""
    np.testing.assert_array_equal(program.answers(binary, samples(name))[1], expected(name)["scores"])


def test_the_network_needs_no_heap_and_no_library(built):
    folder = built("dark half")
    network = "".join(
        (folder / name).read_text() for name in ("csnn.c", "csnn.h", "sums.h", "copies.h", "answers.h", *GENERATED)
    )
    release = re.sub(r"^#if defined\(CSNN_DEBUG\).*?^#elif ", "", network, flags=re.M | re.S)
    assert set(re.findall(r"#include <(.+)>", release)) == {"stddef.h", "stdint.h", "float.h", "stdbool.h"}
    needed = subprocess.run(["nm", "-u", folder / "csnn.o"], capture_output=True, text=True, check=True).stdout.split()
    allowed = {"memset", "memcpy", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}  # which a compiler adds on its own
    assert {name for name in needed if name != "U"} <= allowed


def test_read_and_write_errors_are_one_line(built, tmp_path):
    binary = built("dark half") / "csnn"
    for arguments, content, facts in (
        ([tmp_path / "nowhere"], b"", (tmp_path / "nowhere", "No such file")),
        ([tmp_path], b"", (tmp_path, "directory")),
        (["one", "two"], b"", (USAGE.strip(),)),
        (["--events"], bytes(5), ("--events", "images")),
        ([], b"", ("standard input", "0 bytes", "sample 0", "576 bytes")),
        ([], bytes(577), ("standard input", "1 bytes", "sample 1", "576 bytes")),
    ):
        done = subprocess.run([binary, *arguments], input=content, capture_output=True, check=False)
        assert done.returncode == 2
        assert_line(done.stderr.decode().removesuffix("\n"), *facts)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([binary], input=bytes(576), stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (2, b"csnn: standard output: No space left on device\n")
    done = subprocess.run([binary, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, USAGE, "")


def test_a_class_needs_spikes_and_the_margin():
    """Membranes need no spike."""
    scores = np.array([[0, 0, 0], [1, 3, 1], [3, 2, 3], [4, 0, 2]])
    for margin, counted, summed in ((None, [-1, 1, 0, 0], [0, 1, 0, 0]), (2.0, [-1, 1, -1, 0], [-1, 1, -1, 0])):
        assert program.classes(scores, margin).tolist() == counted
        assert program.classes(scores.astype(np.float32), margin).tolist() == summed


@pytest.mark.parametrize(
    ("weight", "bias", "classes", "counts"),
    [
        pytest.param(1.0, (0.0, 0.0), [0, -1], [[3, 3], [0, 0]], id="no class where none spikes"),
        pytest.param(0.0, (0, 2, 2, 0), [1, 1], [[0, 3, 3, 0]] * 2, id="ties go to the lowest class"),
        # U = 1, then 0.5 + 1, then 0.75 + 1 - 1; from just above 1 it is 0.5 + 1 - 1, then 0.25 + 1.
        pytest.param(0.0, (1, np.nextafter(np.float32(1), np.float32(2))), [1, 1], [[1, 2]] * 2, id="strictly above"),
    ],
)
def test_answers_calculated_by_hand(tmp_path, weight, bias, classes, counts):
    """For a white and a black image, in three steps."""
    shape = {"input_shape": (2, 2, 1), "conv_channels": (), "hidden": (), "num_classes": len(bias), "time_steps": 3}
    config = ModelConfig(**shape)
    tensors = {"fc1.weight": np.full((len(bias), 4), weight, np.float32), "fc1.bias": np.array(bias, np.float32)}
    program.write_sources(tmp_path, config, tensors)
    built, images = program.build(tmp_path, tmp_path), np.array([255, 0], np.uint8).repeat(4).reshape(2, 2, 2, 1)
    answers = program.answers(built.program, images)
    assert (answers[0].tolist(), answers[1].tolist()) == (classes, counts)
    library = program.Library(built.library, config)
    assert [library.classify(image)[0] for image in images] == classes
    line = f"class {'-' if classes[1] < 0 else classes[1]}, spike counts {' '.join(map(str, counts[1]))}"
    assert program.printed(built.program, images).splitlines()[1] == line


def test_class_names_are_printed_byte_for_byte(tmp_path):
    """Any folder name works: quotes, escapes, trigraphs, formats, other scripts."""
    names = [
        '"quoted"',
        "back\\slash\\n",
        "what??=!??/",
        "100 %s%n",
        "Größe 7",
        "é7",
        "猫, spike counts 1",
        "a, b",
        "/*",
    ]
    shape = {"input_shape": (3, 3, 1), "conv_channels": (), "hidden": (), "num_classes": 9, "time_steps": 3}
    config = ModelConfig(**shape)
    tensors = {"fc1.weight": np.eye(9, dtype=np.float32), "fc1.bias": np.full(9, 0.4, np.float32)}
    images = np.concatenate([255 * np.eye(9, dtype=np.uint8), np.zeros((1, 9), np.uint8)]).reshape(10, 3, 3, 1)
    program.write_sources(tmp_path, config, tensors, names=names)
    assert (tmp_path / "classes.h").read_bytes().isascii()
    built = program.build(tmp_path, tmp_path).program
    classes, scores = program.answers(built, images, names)
    assert classes.tolist() == [*range(9), -1] and np.array_equal(scores, 2 * np.eye(10, 9))
    lines = program.printed(built, images).splitlines()
    assert [line.rpartition(", spike counts ")[0] for line in lines] == [f"class {name}" for name in (*names, "-")]


def test_a_missing_make_and_a_failing_compiler_are_reported(built, tmp_path, monkeypatch):
    broken = shutil.copytree(built("dark half"), tmp_path / "broken", ignore=shutil.ignore_patterns("csnn", "*.o"))
    (broken / "network.h").write_text((broken / "network.h").read_text() + "int 3;\n")
    with refusing(UserError, "failed", "network.h", "error"):
        program.build(broken, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with refusing(UserError, "make", "PATH"):
        program.build(broken, tmp_path)
    (tmp_path / "make").symlink_to(shutil.which("true", path="/bin:/usr/bin"))
    with refusing(UserError, "cc", "gcc", "clang", "PATH"):
        program.build(broken, tmp_path)


NETWORKS = [made(RECIPES["dark half"], seed) for seed in (1, 2)]
"""Of equal shapes."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """`c` and `golden/c` of two bundles with equal shapes and different weights; all files have the same time stamp."""
    base = tmp_path_factory.mktemp("bundles")
    return [bundle(base / str(number), one) for number, one in enumerate(NETWORKS)]


def bundle(folder: Path, network: Network) -> Path:
    (folder / "golden/c").mkdir(parents=True)
    program.write_sources(folder / "c", network.config, network.tensors)
    built = program.build(folder / "c", folder / "built")
    (folder / "golden/c/expected.txt").write_text(program.printed(built.program, network.x))
    (folder / "golden/c/samples.bin").write_bytes(network.x.tobytes())
    for path in folder.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    return folder


def make(folder: Path, build: Path | str, *more: str) -> subprocess.CompletedProcess:
    command = ["make", "-s", "-C", folder / "c", "-f", "Makefile", f"BUILD={build}", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_bundle_is_tested_in_a_build_folder_that_others_used(bundles, tmp_path):
    for one in (*bundles, bundles[0]):
        done = make(one, tmp_path, "check")
        assert (done.returncode, done.stdout, done.stderr) == (0, "csnn prints what is expected\n", "")
    assert program.build(bundles[1] / "c", tmp_path) == (tmp_path / "csnn", tmp_path / "libcsnn.so")
    expected = (bundles[1] / "golden/c/expected.txt").read_text()
    assert program.printed(tmp_path / "csnn", NETWORKS[1].x) == expected


def test_another_bundles_program_is_not_accepted(bundles, tmp_path):
    """Weights were changed to disagree with the golden files, which the older program in the folder still matches."""
    forged = shutil.copytree(bundles[1], tmp_path / "forged")
    shutil.rmtree(forged / "golden")
    shutil.copytree(bundles[0] / "golden", forged / "golden")
    assert make(bundles[0], tmp_path / "built", "check").returncode == 0
    done = make(forged, tmp_path / "built", "check")
    assert done.returncode != 0 and "differ" in done.stdout + done.stderr


def test_the_build_folder_may_contain_a_space_and_need_not_exist(bundles, tmp_path):
    folder = shutil.copytree(bundles[0], tmp_path / "bundle")
    for where in ("with a space/not there", tmp_path / "with a space/and another"):
        done = make(folder, where, "all", "check")
        assert (done.returncode, done.stderr) == (0, "")
        files = {path.name for path in (folder / "c" / where).iterdir()}
        assert {"csnn", "libcsnn.so"} <= files
        assert make(folder, where, "clean").returncode == 0 and not list((folder / "c" / where).iterdir())
