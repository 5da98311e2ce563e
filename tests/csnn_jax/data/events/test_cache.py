"""Cached frames equal those of the recordings and are made once; nothing else in their place is removed or followed."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from disk import files
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from recordings import bar, nmnist_bytes, write_nmnist
from refusals import refusing

from csnn_jax.data import as_bytes, load
from csnn_jax.data.events.cache import Cache, Records, pack, stored, unpack
from csnn_jax.data.events.frames import Recordings, Window
from csnn_jax.errors import UserError

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.just(1) | st.just(2))
MADE = [b"first", b"", b"third" * 100]


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 15))))
def test_unpacking_restores_packed_frames(frames):
    packed = np.frombuffer(pack(frames), np.uint8)
    assert len(packed) == 1 + min(5 * np.count_nonzero(frames), (frames.size + 1) // 2)
    np.testing.assert_array_equal(unpack(packed, frames.shape), frames)


@pytest.fixture
def lines() -> list[str]:
    """The lines shown to the user."""
    return []


@pytest.fixture
def bars(tmp_path) -> str:
    return write_nmnist(tmp_path / "data", 2, 1)


@pytest.fixture
def loaded(bars, tmp_path, lines):
    """Loads a data set with a cache in a folder."""

    def call(shape=None, folder: Path | None = tmp_path / "cache", **settings):
        return load(bars, shape, time_steps=5, cache=Cache(folder, tell=lines.append), **settings)

    return call


def test_a_second_run_reads_no_recording(bars, loaded, tmp_path, monkeypatch, capsys, lines):
    plain = load(bars, None, time_steps=5)
    frames, digest = np.asarray(plain.train.images), as_bytes(plain.train.images)
    assert capsys.readouterr().out == "Data: checking 20 recordings\nData: checking 10 recordings\n"
    first = loaded()
    assert capsys.readouterr().out == "Data: caching 20 recordings\nData: caching 10 recordings\n"
    np.testing.assert_array_equal(np.asarray(first.train.images), frames)
    np.testing.assert_array_equal(np.asarray(first.test.images), np.asarray(plain.test.images))
    folders = sorted((tmp_path / "cache").iterdir(), reverse=True)
    assert all(str(folder) in line for folder, line in zip(folders, lines, strict=True))
    monkeypatch.setattr(Window, "frames", None)
    second = loaded().train.images
    np.testing.assert_array_equal(second[np.array([3, 0, 3])], frames[[3, 0, 3]])
    np.testing.assert_array_equal(np.asarray(second[4:9][1:]), frames[5:9])
    assert as_bytes(second) == digest and lines[:2] == lines[2:] and not capsys.readouterr().out


def test_changed_recordings_or_shapes_get_another_folder(loaded, tmp_path):
    before = np.asarray(loaded().train.images)
    (tmp_path / "data/Train/0/00000.bin").write_bytes(nmnist_bytes(bar(9, 5)))
    after = np.asarray(loaded().train.images)
    assert (after[0] != before[0]).any() and (after[1:] == before[1:]).all()
    loaded((17, 17, 2))
    loaded(frames="count")
    names = Counter(folder.name.rpartition("-")[0] for folder in (tmp_path / "cache").iterdir())
    windows = ("5x17x17-time", "5x34x34-count", "5x34x34-time")
    expected = Counter(f"nmnist-{part}-{window}" for part in ("test", "train") for window in windows)
    assert names == expected + Counter(["nmnist-train-5x34x34-time"])


def test_training_continues_without_a_writable_cache(loaded, tmp_path, lines):
    (tmp_path / "file").write_text("no folder")
    unstored = loaded(folder=tmp_path / "file/cache").train.images
    assert isinstance(unstored, Recordings) and len(unstored) == 20
    assert lines[-1].startswith(f"Data: {tmp_path / 'file/cache'}") and lines[-1].endswith("continuing without a cache")


@pytest.mark.parametrize("cached", [True, False])
def test_every_recording_is_read_once_before_it_is_needed(loaded, tmp_path, cached):
    folder = tmp_path / "cache" if cached else None
    for part, number in (("Train/1", "00001"), ("Test/9", "00000")):
        path = tmp_path / "data" / part / f"{number}.bin"
        good = path.read_bytes()
        path.write_bytes(b"12345" * 2)
        with refusing(UserError, path):
            loaded(folder=folder)
        path.write_bytes(good)
    assert not [*tmp_path.glob("cache/.*")]


def test_records_are_made_once_and_read_back(tmp_path, lines):
    opened = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        records = stored(tmp_path / "a" / "set", lambda: iter(MADE), lines.append)
        assert records is not None and [records[number] for number in range(len(records))] == MADE
    size = sum(map(len, MADE)) + 16 * len(MADE)
    assert lines == [f"Data: cached in {tmp_path / 'a' / 'set'} ({size / 1e6:.1f} MB)"] * 2
    records = stored(tmp_path / "a" / "set", lambda: pytest.fail("made again"), lines.append)
    del records
    assert len(os.listdir("/proc/self/fd")) == opened


def test_a_failure_leaves_nothing(tmp_path, lines):
    def failing():
        yield b"first"
        raise UserError("a recording is damaged")

    with refusing(UserError, "damaged", unchanged=tmp_path):
        stored(tmp_path / "set", failing, lines.append)


def test_leftovers_of_killed_processes_are_removed_and_those_of_living_ones_stay(tmp_path, lines):
    code = f"""
import os, pathlib, signal
from csnn_jax.data.events.cache import stored

def killed():
    yield b"first"
    os.kill(os.getpid(), signal.SIGKILL)

stored(pathlib.Path({str(tmp_path / "set")!r}), killed, print)"""
    subprocess.run([sys.executable, "-c", code])
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".set.") and (left / "records").exists()
    (other := tmp_path / ".set.0123abcd").mkdir()
    (other / "thesis.txt").write_text("years of work")

    def meanwhile():
        assert not left.exists() and len([*tmp_path.glob(".set.*")]) == 2
        stored(tmp_path / "set", lambda: MADE, lines.append)
        assert len([*tmp_path.glob(".set.*")]) == 2, "this process still writes one of them"
        yield from MADE

    assert stored(tmp_path / "set", meanwhile, lines.append) is not None
    assert {*tmp_path.iterdir()} == {tmp_path / "set", other}


def cut(folder):
    (folder / "records").write_bytes((folder / "records").read_bytes()[:-1])


def without_index(folder):
    (folder / "index").unlink()


def odd_index(folder):
    (folder / "index").write_bytes((folder / "index").read_bytes()[:-1])


def negative(folder):
    """Sizes that add up to the right one."""
    (folder / "index").write_bytes(np.array([[505, 0], [5, 0], [505, 0]], "<i8").tobytes())


def link_inside(folder):
    outside = folder.parent / "outside"
    outside.write_text("years of work")
    (folder / "records").unlink()
    (folder / "records").symlink_to(outside)


@pytest.mark.parametrize("damage", [cut, without_index, odd_index, negative, link_inside])
def test_a_damaged_folder_is_replaced(tmp_path, lines, damage):
    stored(tmp_path / "set", lambda: MADE, lines.append)
    damage(tmp_path / "set")
    records = stored(tmp_path / "set", lambda: MADE, lines.append)
    assert records is not None and records[2] == MADE[2] and "is damaged and is made again" in lines[1]
    assert damage is not link_inside or (tmp_path / "outside").read_text() == "years of work"


def test_a_changed_byte_is_reported_when_its_record_is_read(tmp_path, lines):
    stored(tmp_path / "set", lambda: MADE, lines.append)
    content = bytearray((tmp_path / "set/records").read_bytes())
    content[400] ^= 1
    (tmp_path / "set/records").write_bytes(content)
    records = Records(tmp_path / "set")
    assert [records[0], records[1]] == MADE[:2]
    with refusing(UserError, tmp_path / "set", "damaged", "remove the folder"):
        print(records[2])


def test_what_someone_else_put_there_stays(tmp_path, lines):
    (tmp_path / "folder").mkdir()
    for name in ("folder/thesis.txt", "file"):
        (tmp_path / name).write_text("years of work")
    stored(tmp_path / "other", lambda: MADE, lines.append)
    cut(tmp_path / "other")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "pipe")
    before = files(tmp_path)
    for name in ("folder", "file", "link", "pipe", "file/set"):
        del lines[:]
        assert stored(tmp_path / name, lambda: MADE, lines.append) is None
        assert str(tmp_path / name) in lines[0] and "continuing without a cache" in lines[0] and len(lines) == 1
    assert files(tmp_path) == before
