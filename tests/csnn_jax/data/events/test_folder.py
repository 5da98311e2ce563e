"""Folders of recordings in the formats that faery writes, and as archives of NumPy."""

import shutil

import faery
import numpy as np
import pytest
from recordings import drawn, write_archives

from csnn_jax.data import load
from csnn_jax.data.events.folder import read_recording
from csnn_jax.errors import UserError

SENSOR = (12, 16)


@pytest.mark.parametrize("end", ["es", "aedat4", "dat", "raw", "csv"])
def test_events_are_those_that_faery_wrote(tmp_path, end):
    events = drawn(2, 300, SENSOR)
    array = np.zeros(300, faery.EVENTS_DTYPE)
    for name, values in zip(("t", "x", "y", "on"), events, strict=True):
        array[name] = values
    path = tmp_path / f"one.{end}"
    faery.events_stream_from_array(array, dimensions=(SENSOR[1], SENSOR[0])).to_file(path)
    if end == "es":  # its times count from the first event
        events = events._replace(t=events.t - events.t[0])
    for ours, theirs in zip(read_recording(path), events, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("told", [True, False])
def test_classes_are_the_folders(tmp_path, told):
    found = load(write_archives(tmp_path, told=told), None, time_steps=5)
    assert found.names == ("left", "right") and found.train.labels.tolist() == [0] * 4 + [1] * 4
    assert found.test.images.shape == (4, 5, *SENSOR, 2)
    sides = found.test.images[np.arange(4)].sum((1, 2, 4))
    assert (sides[:2, 8:] == 0).all() and (sides[2:, :8] == 0).all()


def test_folders_may_begin_with_a_capital_letter(tmp_path):
    name = write_archives(tmp_path)
    (tmp_path / "train").rename(tmp_path / "Train")
    assert len(load(name, None).train.labels) == 8


def test_a_class_may_have_folders_inside(tmp_path):
    name = write_archives(tmp_path)
    before = load(name, None, time_steps=5).train
    labels, events = before.labels.tolist(), sorted(int(frames.sum()) for frames in before.images)
    inside = tmp_path / "train" / "left" / "monday"
    inside.mkdir()
    first, *_ = sorted((tmp_path / "train" / "left").glob("*.npz"))
    first.rename(inside / first.name)
    after = load(name, None, time_steps=5)
    assert after.train.labels.tolist() == labels
    assert sorted(int(frames.sum()) for frames in after.train.images) == events


def test_what_is_missing_is_named(tmp_path):
    name = write_archives(tmp_path)
    np.savez(tmp_path / "train/left/0.npz", **drawn(0, 30, SENSOR)._asdict(), height=24, width=16)
    with pytest.raises(UserError, match=r"1\.npz: its sensor has 12 by 16 but 24 by 16 pixels in others"):
        load(name, None)
    for path in (tmp_path / "test/right").iterdir():
        path.unlink()
    with pytest.raises(
        UserError, match=r"test/right: has no recordings, expected files that end in one of \.bin, \.npz, "
    ):
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
        ({"p": None}, "expected a NumPy archive with x, y, t and p"),
        ({"x": np.arange(3)}, r"x \[3\], y \[30\], t \[30\], p \[30\], expected one value per event"),
        ({"t": np.arange(30) / 2}, r"expected whole numbers \(t in microseconds\)"),
        ({"p": np.arange(30)}, "p has the values .*, expected 0 and 1"),
    ],
)
def test_archives_that_are_no_recordings(tmp_path, change, message):
    arrays = {name: array for name, array in (drawn(0, 30)._asdict() | change).items() if array is not None}
    np.savez(tmp_path / "one.npz", **arrays)
    with pytest.raises(UserError, match=f"one.npz: .*{message}"):
        read_recording(tmp_path / "one.npz")


@pytest.mark.parametrize("name", ["one.npz", "one.aedat4", "one.es"])
def test_files_that_hold_something_else(tmp_path, name):
    (tmp_path / name).write_text("no recording at all")
    with pytest.raises(UserError, match=f"{name}: .*expected a"):
        read_recording(tmp_path / name)
