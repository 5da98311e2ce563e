"""Folders of recordings in the formats that faery writes, and as NumPy archives."""

import shutil

import numpy as np
import pytest
from recordings import drawn, write_archives
from refusals import refusing

from csnn_jax.data import load
from csnn_jax.data.events.folder import read_recording
from csnn_jax.errors import UserError

SENSOR = (12, 16)


@pytest.mark.parametrize("told", [True, False])
def test_classes_are_the_folders(tmp_path, told):
    found = load(write_archives(tmp_path, told=told), None, time_steps=5)
    assert found.names == ("left", "right") and found.train.labels.tolist() == [0, 1] * 4
    assert found.test.images.shape == (4, 5, *SENSOR, 2)
    sides = found.test.images[np.arange(4)].sum((1, 2, 4))
    assert (sides[::2, 8:] == 0).all() and (sides[1::2, :8] == 0).all()


def test_errors_name_what_is_missing(tmp_path):
    name = write_archives(tmp_path)
    np.savez(tmp_path / "train/left/0.npz", **drawn(0, 30, SENSOR)._asdict(), height=24, width=16)
    with refusing(UserError, "1.npz", "12 by 16", "24 by 16"):
        load(name, None)
    for path in (tmp_path / "test/right").iterdir():
        path.unlink()
    with refusing(UserError, "test/right", "no recordings"):
        load(name, None)
    (tmp_path / "test/right").rmdir()
    with refusing(UserError, "right", "train", "test"):
        load(name, None)
    shutil.rmtree(tmp_path / "test/left")
    with refusing(UserError, "test", "no folders"):
        load(name, None)
    (tmp_path / "test").rmdir()
    with refusing(UserError, "test/CLASS/FILE"):
        load(name, None)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"p": None}, ("p", "NumPy")),
        ({"x": np.arange(3)}, ("[3]", "[30]")),
        ({"t": np.arange(30) / 2}, ("float64",)),
        ({"p": np.arange(30)}, ("p", "0 and 1")),
        ({"height": 10**9}, ("1000000000", 16, 4096)),
        ({"x": np.full(30, 10**12)}, ("x", "1000000000000", 4096)),
        ({"t": np.arange(30, dtype=np.uint64) + 2**63}, ("t",)),
    ],
)
def test_archives_without_a_recording(tmp_path, change, facts):
    arrays = drawn(0, 30, SENSOR)._asdict() | {"height": 12, "width": 16} | change
    np.savez(tmp_path / "one.npz", **{name: array for name, array in arrays.items() if array is not None})
    with refusing(UserError, *facts, "one.npz"):
        read_recording(tmp_path / "one.npz")


def test_frames_that_exceed_the_memory_are_refused(tmp_path):
    name = write_archives(tmp_path, (4096, 4096))
    expected = "100 frames of 4096 by 4096 pixels are too large, expected a smaller fraction of the sensor"
    with refusing(UserError, expected, "input_shape"):
        load(name, None)
    assert load(name, (16, 16, 2)).train.images.shape == (8, 100, 16, 16, 2)
