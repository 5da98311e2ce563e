"""Folders of recordings in the formats that faery writes, and as NumPy archives."""

import shutil

import numpy as np
import pytest
from recordings import drawn, faerys_bytes, nmnist_bytes, write_archives

from csnn_jax.data import load
from csnn_jax.data.events.folder import read_recording
from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.recordings import Recordings
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
    with pytest.raises(UserError, match=r"1\.npz: its sensor has 12 by 16 but 24 by 16 pixels in earlier files"):
        load(name, None)
    for path in (tmp_path / "test/right").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"test/right: has no recordings, expected files that end in one of \.bin"):
        load(name, None)
    (tmp_path / "test/right").rmdir()
    with pytest.raises(UserError, match="has the class right in train but not in test"):
        load(name, None)
    shutil.rmtree(tmp_path / "test/left")
    with pytest.raises(UserError, match="test: has no folders, expected one for each class"):
        load(name, None)
    (tmp_path / "test").rmdir()
    with pytest.raises(UserError, match="has no folder test, expected test/CLASS/FILE"):
        load(name, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": None}, "has no array p, expected a NumPy archive with x, y, t and p"),
        ({"x": np.arange(3)}, r"x \[3\], y \[30\], t \[30\], p \[30\], expected one value per event"),
        ({"t": np.arange(30) / 2}, r"t is of type float64, expected whole numbers \(t in microseconds\)"),
        ({"p": np.arange(30)}, "p has the values .*, expected 0 and 1"),
        ({"height": 10**9}, "its sensor has 1000000000 by 16 pixels, expected at most 4096 by 4096"),
        ({"x": np.full(30, 10**12)}, "has an event at x = 1000000000000, expected less than 4096"),
        ({"t": np.arange(30, dtype=np.uint64) + 2**63}, r"has an event at t = \d+, expected less than \d+"),
    ],
)
def test_archives_without_a_recording(tmp_path, change, message):
    arrays = drawn(0, 30, SENSOR)._asdict() | {"height": 12, "width": 16} | change
    np.savez(tmp_path / "one.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(UserError, match=f"one.npz: {message}"):
        read_recording(tmp_path / "one.npz")


def test_frames_that_exceed_the_memory_are_refused(tmp_path):
    name = write_archives(tmp_path, (4096, 4096))
    expected = "100 frames of 4096 by 4096 pixels are too large, expected a smaller fraction of the sensor"
    with pytest.raises(UserError, match=f"^input_shape: {expected}"):
        load(name, None)
    assert load(name, (16, 16, 2)).train.images.shape == (8, 100, 16, 16, 2)


DECODED = ("one.aedat4", "one.es", "one.dat", "one.raw", "one.csv")
MAKERS = {
    **dict.fromkeys(DECODED, lambda events, path: faerys_bytes(events, path, SENSOR)),
    "one.npz": lambda events, path: (np.savez(path, **events._asdict()), path.read_bytes())[1],
    "one.bin": lambda events, path: nmnist_bytes(events),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_damaged_file_is_read_or_named(tmp_path, name):
    """Whichever bytes are changed, and wherever the file is cut off."""
    path, random = tmp_path / name, np.random.default_rng(0)
    data, window, refused = MAKERS[name](drawn(2, 60, SENSOR), path), Window(5, SENSOR, SENSOR), 0
    for _ in range(25):
        changed = bytearray(data)
        for place in random.integers(0, min(len(data), 400), random.integers(1, 5)):
            changed[place : place + 4] = random.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"9999", b"\x80"])
        path.write_bytes(changed[: random.choice([len(changed), random.integers(len(changed))])])
        try:
            Recordings([path], read_recording, window)[0]
        except UserError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ") and str(error).isprintable()
    assert refused > 2
