"""The C program: built as a user builds it, fed bytes, compared with torch, and hardened."""

import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from c_networks import COMPILERS, IMAGES, SANITIZE, STACKS, STRICT, images_for, parameters

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from export import reference
from export.c import program
from export.parts import c_program

USAGE = "usage: csnn [FILE], or csnn --events [--window-us N] [FILE]\n"


def torch_window(config, tensors):
    """(input, samples as the program takes them, trace of torch)."""
    images = images_for(config)
    x = reference.inputs(config, images)
    samples = images if x.ndim == 4 else x.movedim(-3, -1).swapaxes(0, 1).numpy().astype(np.uint8)
    return x, samples, reference.trace(reference.Step(config, tensors), x, config.time_steps)


@pytest.mark.parametrize("name", STACKS)
def test_classes_and_counts_are_those_of_torch(built, name):
    config, tensors, folder = built(name)
    _, samples, trace = torch_window(config, tensors)
    assert all(layer.any() and not layer.all() for layer in trace.spikes)
    classes, counts = program.counts(folder / "csnn", samples)
    expected = trace.spikes[-1].sum(0).numpy()
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(classes, np.where(expected.any(1), expected.argmax(1), -1))


@pytest.mark.parametrize("name", STACKS)
def test_each_step_from_torchs_membranes_gives_its_spikes_and_membranes(built, name):
    config, tensors, folder = built(name)
    x, _, trace = torch_window(config, tensors)
    library = program.Library(folder / "libcsnn.so", config)
    before = [u.numpy() for u in reference.Step(config, tensors).initial_membranes(IMAGES)]
    for t, frame in enumerate(reference.frames(x, config.time_steps)):
        after, spikes = library.step(before, frame.numpy())
        before = [u[t].numpy() for u in trace.membranes]
        np.testing.assert_array_equal(spikes, trace.spikes[-1][t].numpy())
        for mine, theirs in zip(after, before, strict=True):
            assert np.all(np.abs(mine - theirs) <= 1e-5 * (1 + np.abs(theirs)))


def test_the_library_refuses_an_input_that_is_no_byte(built):
    config, tensors, folder = built("default kind")
    library = program.Library(folder / "libcsnn.so", config)
    membranes = [u.numpy() for u in reference.Step(config, tensors).initial_membranes(1)]
    for value in (0.5, 1.5, -1 / 255):
        with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
            library.step(membranes, np.full((1, 2, 12, 10), value, np.float32))


def test_a_sample_of_frames_lasts_as_many_steps(tmp_path):
    config = STACKS["default kind"]
    tensors = parameters(config)
    c_program.write_sources(tmp_path, config, tensors, frames=6)
    binary = program.build(tmp_path, tmp_path).program
    frames = np.random.default_rng(4).integers(0, 256, (3, 6, *config.input_shape)).astype(np.uint8)
    x = reference.inputs(config, frames)
    expected = reference.trace(reference.Step(config, tensors), x, config.time_steps).spikes[-1].sum(0).numpy()
    assert expected.any() and len(x) == 6 != config.time_steps
    np.testing.assert_array_equal(program.counts(binary, frames)[1], expected)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["default kind", "three blocks, rate", "no convolution, no reset"])
def test_every_compiler_takes_it_strictly_and_sanitizers_stay_silent(built, tmp_path, compiler, name):
    config, tensors, folder = built(name)
    binary = tmp_path / "sanitized"
    sources = [folder / name for name in ("main.c", "events.c", "csnn.c")]
    command = [*compiler, *STRICT, *SANITIZE, "-O1", *sources, "-o", binary]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    _, samples, trace = torch_window(config, tensors)
    done = subprocess.run([binary], input=samples.tobytes(), capture_output=True, check=True)
    assert done.stderr == b""
    np.testing.assert_array_equal(program.counts(binary, samples)[1], trace.spikes[-1].sum(0).numpy())


def test_several_images_of_a_file(built, tmp_path):
    config, _, folder = built("default kind")
    images = images_for(config)
    (tmp_path / "images.bin").write_bytes(images.tobytes())
    done = subprocess.run([folder / "csnn", tmp_path / "images.bin"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == IMAGES and done.stderr == ""
    assert all(re.fullmatch(r"class \d, spike counts( \d+){6}", line) for line in lines)
    classes, counts = program.counts(folder / "csnn", images)
    expected = [f"class {c}, spike counts {' '.join(map(str, n))}" for c, n in zip(classes, counts, strict=True)]
    assert lines == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 bytes after 0 samples, expected samples of 240 bytes"),
        (bytes(239), "239 bytes after 0 samples, expected samples of 240 bytes"),
        (bytes(240 + 1), "1 bytes after 1 samples, expected samples of 240 bytes"),
    ],
)
def test_input_of_another_size(built, content, said):
    folder = built("default kind")[2]
    done = subprocess.run([folder / "csnn"], input=content, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.decode() == f"csnn: standard input: {said}\n"


def test_files_that_can_not_be_read_or_written(built, tmp_path):
    folder = built("default kind")[2]
    for arguments, said in (
        ([str(tmp_path / "nowhere")], "nowhere: No such file or directory\n"),
        ([str(tmp_path)], "Is a directory\n"),
        (["one", "two"], USAGE),
        (["-v"], USAGE),
        (["--int8"], USAGE),
    ):
        done = subprocess.run([folder / "csnn", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.endswith(said) and done.stderr.count("\n") == 1
    with open("/dev/full", "wb") as full:
        done = subprocess.run([folder / "csnn"], input=bytes(240), stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (2, b"csnn: standard output: No space left on device\n")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_it_says_how_it_is_called(built, flag):
    done = subprocess.run([built("default kind")[2] / "csnn", flag], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, USAGE, "")


def test_where_no_class_spikes_there_is_no_answer(tmp_path):
    """Of two inputs the second makes nothing spike, and no class is made up for it."""
    config = ModelConfig(input_shape=(2, 2, 1), conv_channels=(), hidden=(), num_classes=2, time_steps=3)
    tensors = {"fc1.weight": np.full((2, 4), 1, np.float32), "fc1.bias": np.zeros(2, np.float32)}
    c_program.write_sources(tmp_path, config, tensors)
    built, images = program.build(tmp_path, tmp_path), np.array([255, 0], np.uint8).repeat(4).reshape(2, 2, 2, 1)
    assert program.printed(built.program, images) == "class 0, spike counts 3 3\nclass -, spike counts 0 0\n"
    classes, counts = program.counts(built.program, images)
    assert classes.tolist() == [0, -1] and counts.tolist() == [[3, 3], [0, 0]]
    library = program.Library(built.library, config)
    assert [library.classify(image)[0] for image in images] == [0, -1]


def test_ties_go_to_the_lowest_class(tmp_path):
    config = ModelConfig(input_shape=(2, 2, 1), conv_channels=(), hidden=(), num_classes=4, time_steps=3)
    tensors = {"fc1.weight": np.zeros((4, 4), np.float32), "fc1.bias": np.array([0, 2, 2, 0], np.float32)}
    c_program.write_sources(tmp_path, config, tensors)
    classes, counts = program.counts(program.build(tmp_path, tmp_path).program, np.zeros((1, 2, 2, 1), np.uint8))
    assert classes.tolist() == [1] and counts.tolist() == [[0, 3, 3, 0]]


def test_a_membrane_at_the_threshold_neither_spikes_nor_is_reset(tmp_path):
    config = ModelConfig(input_shape=(2, 2, 1), conv_channels=(), hidden=(), num_classes=2, time_steps=2)
    above = np.nextafter(np.float32(1), np.float32(2))
    tensors = {"fc1.weight": np.zeros((2, 4), np.float32), "fc1.bias": np.array([1, above], np.float32)}
    c_program.write_sources(tmp_path, config, tensors)
    _, counts = program.counts(program.build(tmp_path, tmp_path).program, np.zeros((1, 2, 2, 1), np.uint8))
    assert counts.tolist() == [[1, 1]]  # U = 1, then 0.5 + 1; U just above 1, then 0.5 + 1 - 1


def test_the_network_needs_no_heap_and_no_library(built):
    folder = built("default kind")[2]
    network = "".join((folder / name).read_text() for name in ("csnn.c", "csnn.h", "network.h", "weights.h"))
    assert set(re.findall(r"#include <(.+)>", network)) == {"stddef.h", "stdint.h", "float.h", "stdbool.h"}
    needed = subprocess.run(["nm", "-u", folder / "csnn.o"], capture_output=True, text=True, check=True).stdout.split()
    allowed = {"memset", "memcpy", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}  # what a compiler adds by itself
    assert {name for name in needed if name != "U"} <= allowed


def test_a_builder_without_make_or_compiler_is_told(built, tmp_path, monkeypatch):
    folder = built("default kind")[2]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UserError, match="make is not on the PATH"):
        program.build(folder, tmp_path)
    (tmp_path / "make").symlink_to(shutil.which("true", path="/bin:/usr/bin"))
    with pytest.raises(UserError, match="none of the compilers cc, gcc and clang is on the PATH"):
        program.build(folder, tmp_path)


def test_a_compiler_that_fails_is_named_with_its_reason(built, tmp_path):
    source = built("default kind")[2]
    broken = shutil.copytree(source, tmp_path / "broken", ignore=shutil.ignore_patterns("csnn", "*.o", "*.so"))
    (broken / "network.h").write_text((broken / "network.h").read_text() + "int 3;\n")
    with pytest.raises(UserError, match=r"failed: .*network\.h.*error"):
        program.build(broken, tmp_path)


def test_two_states_do_not_disturb_each_other(built):
    config, tensors, folder = built("three blocks, rate")
    x, _, _ = torch_window(config, tensors)
    one, two = (program.Library(folder / "libcsnn.so", config) for _ in range(2))
    start = [u.numpy() for u in reference.Step(config, tensors).initial_membranes(IMAGES)]
    alone = one.step(one.step(start, x[0].numpy())[0], x[1].numpy())
    first, _ = one.step(start, x[0].numpy())
    two.step(start, torch.ones_like(x[0]).numpy())
    mixed = one.step(first, x[1].numpy())
    np.testing.assert_array_equal(alone[1], mixed[1])
    for a, b in zip(alone[0], mixed[0], strict=True):
        np.testing.assert_array_equal(a, b)
