"""`python -m csnn_jax.predict` end to end on real digits in picture files."""

import re
from dataclasses import replace

import numpy as np
import pytest
from bundles import SMALL, make_checkpoint, make_run
from commands import call, refused, run
from PIL import Image

import csnn_jax
from csnn_jax import data
from csnn_jax.config import ModelConfig


@pytest.fixture(scope="module")
def digits():
    """The first test image of each class: uint8 [10, 28, 28]."""
    test = data.load("mnist", (28, 28, 1)).test
    return np.stack([test.images[np.flatnonzero(test.labels == label)[0], :, :, 0] for label in range(10)])


def classes(printed):
    return [int(found) for found in re.findall(r": class (\d+)", printed)]


def test_digits_as_mnist_has_them(small_run, digits, tmp_path):
    paths = [tmp_path / f"{label}.png" for label in range(10)]
    for path, digit in zip(paths, digits, strict=True):
        Image.fromarray(digit).save(path)
    done = run("csnn_jax.predict", small_run, *paths)
    assert done.returncode == 0, done.stderr
    assert np.equal(classes(done.stdout), range(10)).sum() >= 8
    assert len(re.findall(r"first output spike at step \d+", done.stdout)) == 10
    counts = re.findall(r"spikes: (.*)", done.stdout)
    assert [len(line.split()) for line in counts] == [10] * 10
    for line, label in zip(counts, classes(done.stdout), strict=True):
        numbers = [int(item.split(":")[1]) for item in line.split()]
        assert numbers.index(max(numbers)) == label


def test_digits_of_another_size_colour_and_ground(small_run, digits, tmp_path):
    """Dark blue digits on pale paper, off centre in a large JPEG, are mostly read as the originals are."""
    paths, originals = [], []
    for label, digit in enumerate(digits):
        ink = np.zeros((220, 300), np.float64)
        ink[30:198, 90:258] = np.kron(digit, np.ones((6, 6)))
        share = ink[:, :, None] / 255
        paper = np.array([240, 236, 225]) * (1 - share) + np.array([20, 30, 90]) * share
        paths.append(tmp_path / f"{label}.jpg")
        Image.fromarray(paper.astype(np.uint8)).save(paths[-1], quality=90)
        originals.append(tmp_path / f"{label}.png")
        Image.fromarray(digit).save(originals[-1])
    done = call("csnn_jax.predict", small_run, *paths)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("dark on light: inverted") == 10
    assert done.stdout.count("centred by mass") == 10
    same = np.equal(classes(done.stdout), classes(call("csnn_jax.predict", small_run, *originals).stdout))
    assert same.sum() >= 8


def test_the_network_of_a_checkpoint(digits, tmp_path):
    path, out = tmp_path / "7.png", make_run(tmp_path / "run", SMALL)
    Image.fromarray(digits[7]).save(path)
    folder = make_checkpoint(out, 40)
    before, then = (call("csnn_jax.predict", out, path, *flags).stdout for flags in ((), ("--checkpoint", 40)))
    assert before != then
    (out / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    assert call("csnn_jax.predict", out, path).stdout == then != ""
    assert "--checkpoint 41: expected best, last" in refused("csnn_jax.predict", out, path, "--checkpoint", 41)


def test_a_file_that_is_no_picture(small_run, tmp_path):
    text = tmp_path / "notes.png"
    text.write_text("not a picture")
    assert f"{text}: expected a picture" in refused("csnn_jax.predict", small_run, text)
    cut = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:500])
    assert f"{cut}: expected a picture" in refused("csnn_jax.predict", small_run, cut)
    assert "no such file" in refused("csnn_jax.predict", small_run, tmp_path / "missing.png")


def test_a_network_that_is_not_for_pictures_says_so_once(tmp_path):
    events = make_run(tmp_path / "events", ModelConfig(input_shape=(8, 6, 2), conv_channels=(), time_steps=2))
    expected = f"error: {events}: takes images of 2 channels, expected a network for pictures, with 1 or 3"
    for prepare in ("auto", "resize"):
        assert refused("csnn_jax.predict", events, "a.png", "b.png", "--prepare", prepare) == expected


def test_a_blank_picture(small_run, tmp_path):
    blank = tmp_path / "blank.png"
    Image.new("L", (50, 50), 255).save(blank)
    assert "nothing that stands out" in refused("csnn_jax.predict", small_run, blank)


def test_one_bad_file_hides_no_answer(small_run, digits, tmp_path):
    paths = [tmp_path / f"{label}.png" for label in (0, 1)]
    for path, digit in zip(paths, digits, strict=False):
        Image.fromarray(digit).save(path)
    missing = tmp_path / "missing.png"
    done = run("csnn_jax.predict", small_run, paths[0], missing, paths[1])
    assert done.returncode == 2
    assert done.stderr == f"error: {missing}: no such file, expected a picture (PNG, JPEG)\n"
    assert len(classes(done.stdout)) == 2


def test_a_network_that_is_read_from_membranes(digits, tmp_path):
    made = make_run(tmp_path / "run", replace(SMALL, readout="membrane"))
    picture = tmp_path / "7.png"
    Image.fromarray(digits[7]).save(picture)
    done = call("csnn_jax.predict", made, picture)
    assert done.returncode == 0, done.stderr
    (line,) = re.findall(r"summed membranes: (.*)", done.stdout)
    numbers = [float(item.split(":")[1]) for item in line.split()]
    assert len(numbers) == 10 and numbers.index(max(numbers)) == classes(done.stdout)[0]
    answer = csnn_jax.load(made).classify(digits[7][None, :, :, None])
    np.testing.assert_allclose(answer.scores[0], numbers, atol=0.0051)
    for module, expected in (
        ("csnn_jax.report", "which a report counts"),
        ("export", "train with --loss ce_membrane alone"),
    ):
        line = refused(module, made, "--out", tmp_path / "out")
        assert f"{made}: has --readout membrane, expected a network that is read from output spikes" in line
        assert line.endswith(expected) and not (tmp_path / "out").exists()
