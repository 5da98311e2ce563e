"""Folders of recordings, N-MNIST's among them, and single recordings for a trained network."""

import shutil

import numpy as np
import pytest
from recordings import drawn, nmnist_bytes, write_archives, write_nmnist
from refusals import refusing

from csnn_jax.config import Config, DataConfig, ModelConfig
from csnn_jax.data import fit_model, load
from csnn_jax.data.events.folder import frames_and_notes, read_recording
from csnn_jax.errors import UserError

SENSOR = (12, 16)


@pytest.mark.parametrize("told", [True, False])
def test_classes_are_the_folders(tmp_path, told):
    dataset = load(write_archives(tmp_path, told=told), None, time_steps=5)
    assert dataset.names == ("left", "right") and dataset.train.labels.tolist() == [0, 1] * 4
    assert dataset.test.images.shape == (4, 5, *SENSOR, 2)
    sides = dataset.test.images[np.arange(4)].sum((1, 2, 4))
    assert (sides[::2, 8:] == 0).all() and (sides[1::2, :8] == 0).all()


def test_nmnist_as_published(tmp_path):
    dataset = load(write_nmnist(tmp_path, 2, 1), None, time_steps=5)
    assert dataset.train.images.shape == (20, 5, 34, 34, 2) and dataset.test.images.shape == (10, 5, 34, 34, 2)
    assert dataset.train.labels.tolist() == 2 * list(range(10))
    assert dataset.frames == 5 and dataset.pixels == (1, 4) and dataset.names == tuple("0123456789")
    columns = [np.flatnonzero(dataset.train.images[row].sum((0, 1, 3))) for row in (0, 19)]
    assert columns[0].tolist() == [0, 1, 2, 3] and columns[1].tolist() == [27, 28, 29, 30]
    fitted = fit_model(ModelConfig(time_steps=5), dataset)
    assert fitted.input_shape == (34, 34, 2) and (fitted.scale, fitted.input_bits) == (1, 4)
    assert dataset.notes == (f"{tmp_path}: recordings as 5 frames of 34x34, by time, of counts up to 15",)


def test_the_input_may_be_a_whole_fraction_of_the_sensor(tmp_path):
    name = write_nmnist(tmp_path, 1, 1)
    assert load(name, (17, 17, 2), time_steps=5).train.images.shape == (10, 5, 17, 17, 2)
    for shape, expected in (((28, 34, 2), "34 by 34"), ((34, 28, 2), "34 by 34"), ((34, 34, 1), "2 channels")):
        with refusing(UserError, f"input_shape {' '.join(map(str, shape))}", expected):
            load(name, shape)
    path = tmp_path / "Train" / "3" / "00000.bin"
    path.write_bytes(b"\x22" + path.read_bytes()[1:])
    with refusing(UserError, path, "x = 34", "0 to 33"):
        load(name, None)
    shutil.rmtree(tmp_path / "Train" / "3")
    shutil.rmtree(tmp_path / "Test" / "3")
    with refusing(UserError, tmp_path, "2, 4", "0 to 9"):
        load(name, None)


def test_sensors_are_of_one_size_and_frames_fit_into_memory(tmp_path):
    name = write_archives(tmp_path, (4096, 4096))
    with refusing(UserError, "input_shape", "100 frames of 4096 by 4096"):
        load(name, None)
    assert load(name, (16, 16, 2)).train.images.shape == (8, 100, 16, 16, 2)
    np.savez(tmp_path / "train/left/0.npz", **drawn(0, 30, SENSOR)._asdict(), height=24, width=16)
    with refusing(UserError, "1.npz", "4096 by 4096", "24 by 16"):
        load(name, None)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"p": None}, ("p", "a recording")),
        ({"x": np.arange(3)}, ("[3]", "[30]")),
        ({"t": np.arange(30) / 2}, ("float64",)),
        ({"p": np.arange(30)}, ("p", "0 and 1")),
        ({"height": 10**9}, ("1000000000", 16, 4096)),
        ({"height": 1.5}, ("1.5", "whole numbers")),
        *(({"x": np.full(30, x)}, ("x", x, 4096)) for x in (4096, 10**12)),
        ({"t": np.arange(30, dtype=np.uint64) + 2**63}, ("t",)),
    ],
)
def test_archives_without_a_recording(tmp_path, change, facts):
    arrays = drawn(0, 30, SENSOR)._asdict() | {"height": 12, "width": 16} | change
    np.savez(tmp_path / "one.npz", **{name: array for name, array in arrays.items() if array is not None})
    with refusing(UserError, *facts, "one.npz"):
        read_recording(tmp_path / "one.npz")


def test_a_file_of_another_kind_names_those_that_are_read(tmp_path):
    (tmp_path / "one.foo").write_bytes(b"1")
    with refusing(UserError, "one.foo", ".bin", ".npz", ".aedat4"):
        read_recording(tmp_path / "one.foo")


MODEL = ModelConfig(input_shape=(34, 34, 2), conv_channels=(4,), time_steps=6, scale=1.0)


def test_events_of_a_larger_sensor_are_added_up(tmp_path):
    np.savez(tmp_path / "one.npz", **drawn(8, sensor=(68, 68))._asdict(), height=68, width=68)
    frames, notes = frames_and_notes(str(tmp_path / "one.npz"), Config(MODEL, DataConfig("events:nowhere")))
    assert frames.shape == (6, 34, 34, 2)
    assert notes == ("events of 68 by 68 pixels were summed to 34 by 34",)
    for height, width in ((68, 50), (50, 68)):
        np.savez(tmp_path / "one.npz", **drawn(8)._asdict(), height=height, width=width)
        with refusing(UserError, f"{height} by {width}", "34 by 34"):
            frames_and_notes(str(tmp_path / "one.npz"), Config(MODEL, DataConfig("events:nowhere")))


@pytest.mark.parametrize(
    ("name", "facts"), [("cut.bin", (1998, "a multiple of 5")), ("other.npz", (128, 34)), ("empty.bin", ("no events",))]
)
def test_recordings_that_do_not_fit_a_network(name, facts, tmp_path):
    (tmp_path / "cut.bin").write_bytes(nmnist_bytes(drawn(7))[:-2])
    (tmp_path / "empty.bin").touch()
    np.savez(tmp_path / "other.npz", **drawn(8, sensor=(128, 128))._asdict(), height=128, width=128)
    with refusing(UserError, tmp_path / name, *facts):
        frames_and_notes(str(tmp_path / name), Config(MODEL, DataConfig("nmnist:nowhere", frames="count")))
