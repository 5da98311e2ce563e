import re
from dataclasses import replace

import numpy as np
import pytest
from bundles import SMALL, make_checkpoint, make_run
from commands import call, passed
from picture_files import write_shapes
from PIL import Image
from recordings import drawn, faerys_bytes, nmnist_bytes
from refusals import refused

import csnn_jax
from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_jax.data.events.frames import Window


@pytest.fixture(scope="module")
def digits():
    """The first test image of each class: uint8 [10, 28, 28]."""
    test = data.load("mnist", (28, 28, 1)).test
    return np.stack([test.images[np.flatnonzero(test.labels == label)[0], :, :, 0] for label in range(10)])


def classes(printed):
    return [int(label) for label in re.findall(r": class (\d+)", printed)]


def test_digits_bright_and_dark(small_run, digits, tmp_path):
    paths = [tmp_path / f"{label}.png" for label in range(10)]
    for label, (path, digit) in enumerate(zip(paths, digits, strict=True)):
        Image.fromarray(255 - digit if label % 2 else digit).save(path)
    printed = passed("csnn_jax.predict", small_run, *paths)
    assert printed.count("dark on light: inverted") == 5
    assert np.equal(classes(printed), range(10)).sum() >= 8
    assert len(re.findall(r"first output spike at step \d+", printed)) == 10
    counts = re.findall(r"spikes: (.*)", printed)
    assert [len(line.split()) for line in counts] == [10] * 10
    steps = csnn_jax.load(small_run).trace(digits[..., None]).spikes["lif4"].any(2)
    lines = [line for line in printed.splitlines() if ": class" in line]
    for number, (line, label) in enumerate(zip(counts, classes(printed), strict=True)):
        numbers = [int(item.split(":")[1]) for item in line.split()]
        assert numbers.index(max(numbers)) == label
        assert ("tie between" in lines[number]) == (numbers.count(max(numbers)) > 1)
        assert lines[number].endswith(f" first output spike at step {steps[:, number].argmax() + 1}")


@pytest.mark.parametrize(("pixels", "brightest"), [({"scale": 16.0}, 16), ({"scale": 4096.0, "input_bits": 12}, 255)])
def test_a_picture_gets_the_brightness_of_the_training_data(pixels, brightest, digits, tmp_path):
    """16 as in scikit-learn's digits, or 1 if they were floats, which 255 then means."""
    made, path = make_run(tmp_path / "run", replace(SMALL, **pixels)), tmp_path / "one.png"
    Image.fromarray(digits[3]).save(path)
    images = np.rint(digits[3] / 255 * brightest).astype(np.uint8)[None, :, :, None]
    scores = csnn_jax.load(made).classify(images).scores[0]
    printed = call("csnn_jax.predict", made, path, "--prepare", "resize")
    assert "spikes: " + "  ".join(f"{label}:{score}" for label, score in enumerate(scores)) in printed.stdout


def test_digits_are_cropped_and_other_pictures_resized_unless_asked(digits, tmp_path):
    Image.fromarray(digits[3]).resize((56, 56)).save(tmp_path / "3.png")
    for name, others in (("mnist", "resize"), ("idx:nowhere", "digit")):
        run = make_run(tmp_path / others, SMALL, name)
        for how in ("auto", others):
            words = "centered by mass" if (how == "auto") == (name == "mnist") else "resized to 28x28"
            assert words in passed("csnn_jax.predict", run, tmp_path / "3.png", "--prepare", how)


def test_a_checkpoints_network(digits, tmp_path):
    path, out = tmp_path / "7.png", make_run(tmp_path / "run", SMALL)
    Image.fromarray(digits[7]).save(path)
    folder = make_checkpoint(out, 40)
    before, then = (passed("csnn_jax.predict", out, path, *flags) for flags in ((), ("--checkpoint", 40)))
    assert before != then and "note:" not in before
    (out / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    assert passed("csnn_jax.predict", out, path) == then
    (out / "metrics.jsonl").write_text('{"kind": "end", "iter": 40, "interrupted": true}\n')
    assert passed("csnn_jax.predict", out, path) == f"note: {out}: training was interrupted after 40 iterations\n{then}"


@pytest.fixture(scope="module")
def event_run(tmp_path_factory):
    """A network for recordings of 34x34 pixels in six frames."""
    config = ModelConfig(input_shape=(34, 34, 2), conv_channels=(4,), time_steps=6, scale=1.0)
    return make_run(tmp_path_factory.mktemp("events") / "run", config, dataset="nmnist:nowhere", frames="count")


def test_recordings(event_run, tmp_path):
    """N-MNIST's format and NumPy's, made into frames as in training."""
    events = drawn(7)
    (tmp_path / "one.bin").write_bytes(nmnist_bytes(events))
    np.savez(tmp_path / "one.npz", **events._asdict(), height=34, width=34)
    printed = passed("csnn_jax.predict", event_run, tmp_path / "one.bin", tmp_path / "one.npz")
    first, second = (text.partition(": class")[2] for text in printed.split(str(tmp_path))[1:])
    assert first == second
    frames = Window(6, (34, 34), (34, 34), "count").frames(events)
    scores = csnn_jax.load(event_run).classify(frames[None]).scores[0]
    assert "spikes: " + "  ".join(f"{label}:{score}" for label, score in enumerate(scores)) in first


def test_recordings_get_class_names(tmp_path):
    names, config = ("left arm", "right: arm"), ModelConfig(input_shape=(12, 16, 2), conv_channels=(4,), num_classes=2)
    config = replace(config, time_steps=6, scale=1.0)
    made = make_run(tmp_path / "run", config, "events:nowhere", classes=names)
    np.savez(tmp_path / "one.npz", **drawn(7, sensor=(12, 16))._asdict(), height=12, width=16)
    printed = passed("csnn_jax.predict", made, tmp_path / "one.npz")
    frames = Window(6, (12, 16), (12, 16)).frames(drawn(7, sensor=(12, 16)))
    answer = csnn_jax.load(made).classify(frames[None])
    assert f"one.npz: class {names[answer.classes[0]]}" in printed
    assert "spikes: " + "  ".join(map("{}:{}".format, names, answer.scores[0])) in printed


def test_pictures_are_read_as_for_training(tmp_path):
    """Light backgrounds stay light, and classes are named after their folders."""
    name, names = write_shapes(tmp_path / "data", {"train": 1, "test": 2}), ("circle", "cross")
    paths = [tmp_path / f"data/test/{kind}/{number}.png" for number in range(2) for kind in names]
    for path in paths:
        with Image.open(path) as file:
            light = 255 - np.asarray(file)
        Image.fromarray(light).resize((20, 20)).save(path)
    config = replace(SMALL, input_shape=(16, 16, 1), num_classes=2)
    made = make_run(tmp_path / "run", config, name, classes=names)
    printed = passed("csnn_jax.predict", made, *paths)
    answers = csnn_jax.load(made).classify(data.load(name, (16, 16, 1)).test.images)
    said = re.findall(r": class (\w+).*\n.* resized to 16x16 .*\n  spikes: (.*)", printed)
    counts = ["  ".join(map("{}:{}".format, names, scores)) for scores in answers.scores]
    assert [line for _, line in said] == counts and len({*counts}) > 1
    assert [label for label, _ in said] == [names[answer] for answer in answers.classes]
    assert "inverted" not in printed and "inverted" in passed("csnn_jax.predict", made, paths[0], "--prepare", "resize")
    Image.fromarray(light).save(paths[0], "GIF")
    refused("csnn_jax.predict", made, paths[0], names=(paths[0], "GIF", "PNG", "JPEG"))


def test_recordings_that_do_not_fit(event_run, small_run, tmp_path):
    whole = tmp_path / "one.npz"
    np.savez(whole, **drawn(7)._asdict())
    refused("csnn_jax.predict", small_run, whole, names=(whole, "recording", "2 channels"))
    refused("csnn_jax.predict", event_run, "a.png", names=("a.png", "2 channels", ".bin"))


def test_recordings_that_crash_the_decoder_do_not_stop_the_others(event_run, tmp_path):
    """One crashes faery's process by asking for more memory than there is, and one panics."""
    paths = [tmp_path / name for name in ("first.aedat4", "abort.aedat4", "panic.aedat4", "cut.npz", "last.aedat4")]
    data = faerys_bytes(drawn(7), paths[0], (34, 34))
    for path, place in zip(paths[1:3], (14, 18), strict=True):
        path.write_bytes(data[:place] + b"\xff\xff\xff\xff" + data[place + 4 :])
    paths[3].write_bytes(b"PK")
    paths[4].write_bytes(data)
    done = call("csnn_jax.predict", event_run, *paths)
    assert done.returncode == 2 and len(classes(done.stdout)) == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    for line, path in zip(lines, paths[1:4], strict=True):
        assert line.startswith(f"error: {path}: damaged")


def test_a_network_with_a_membrane_readout(digits, tmp_path):
    made = make_run(tmp_path / "run", replace(SMALL, readout="membrane"))
    picture = tmp_path / "7.png"
    Image.fromarray(digits[7]).save(picture)
    printed = passed("csnn_jax.predict", made, picture)
    (line,) = re.findall(r"summed membranes: (.*)", printed)
    numbers = [float(item.split(":")[1]) for item in line.split()]
    assert len(numbers) == 10 and numbers.index(max(numbers)) == classes(printed)[0]
    answer = csnn_jax.load(made).classify(digits[7][None, :, :, None])
    np.testing.assert_allclose(answer.scores[0], numbers, atol=0.0051)
