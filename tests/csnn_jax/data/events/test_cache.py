"""Cached frames equal those of the recordings and are computed once, even if the cache is damaged or unwritable."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from recordings import bar, nmnist_bytes, write_nmnist
from refusals import refusing

from csnn_jax.data import as_bytes, load
from csnn_jax.data.events.cache import Cache, CachedFrames, pack, unpack
from csnn_jax.data.events.frames import Recordings
from csnn_jax.errors import UserError

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.just(1) | st.just(2))


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 15))))
def test_unpacking_restores_packed_frames(frames):
    packed = np.frombuffer(pack(frames), np.uint8)
    np.testing.assert_array_equal(unpack(packed, frames.shape), frames)


def folders(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


class Lines(list):
    """The lines shown to the user."""

    def cache(self, folder, **settings) -> Cache:
        return Cache(folder, tell=self.append, **settings)


@pytest.fixture
def bars(tmp_path) -> str:
    return write_nmnist(tmp_path / "data", 2, 1)


def images(name: str, cache: Cache, **more):
    return load(name, None, time_steps=5, cache=cache, **more).train.images


def test_a_second_run_reads_no_recording(bars, tmp_path, monkeypatch, capsys):
    lines = Lines()
    loaded = load(bars, None, time_steps=5)
    plain, digest = np.asarray(loaded.train.images), as_bytes(loaded.train.images)
    assert capsys.readouterr().out == "Data: checking 20 recordings\nData: checking 10 recordings\n"
    first = load(bars, None, time_steps=5, cache=lines.cache(tmp_path / "cache"))
    np.testing.assert_array_equal(np.asarray(first.train.images), plain)
    np.testing.assert_array_equal(np.asarray(first.test.images), np.asarray(loaded.test.images))
    assert capsys.readouterr().out == "Data: caching 20 recordings\nData: caching 10 recordings\n"
    for folder, line in zip(folders(tmp_path / "cache"), reversed(lines), strict=True):
        assert str(folder) in line
    monkeypatch.setattr(Recordings, "one", None)
    second = images(bars, lines.cache(tmp_path / "cache"))
    assert isinstance(second, CachedFrames) and not capsys.readouterr().out
    np.testing.assert_array_equal(second[np.array([3, 0, 3])], plain[[3, 0, 3]])
    np.testing.assert_array_equal(np.asarray(second[4:9][1:]), plain[5:9])
    assert as_bytes(second) == digest and lines[:2] == lines[2:]


def test_changed_recordings_or_shapes_get_another_folder(bars, tmp_path):
    cache = Lines().cache(tmp_path / "cache")
    before = np.asarray(images(bars, cache))
    path = tmp_path / "data/Train/0/00000.bin"
    path.write_bytes(nmnist_bytes(bar(9, 5)))
    after = np.asarray(images(bars, cache))
    assert (after[0] != before[0]).any() and (after[1:] == before[1:]).all()
    load(bars, (17, 17, 2), time_steps=5, cache=cache)
    load(bars, None, time_steps=5, frames="count", cache=cache)
    names = Counter(folder.name.rpartition("-")[0] for folder in folders(tmp_path / "cache"))
    windows = ("5x17x17-time", "5x34x34-count", "5x34x34-time")
    assert names == {f"nmnist-{part}-{window}": 1 for part in ("test", "train") for window in windows} | {
        "nmnist-train-5x34x34-time": 2
    }


def test_a_damaged_cache_is_replaced(bars, tmp_path):
    lines = Lines()
    whole = np.asarray(images(bars, lines.cache(tmp_path / "cache")))
    folder = folders(tmp_path / "cache")[1]
    (folder / "records").write_bytes((folder / "records").read_bytes()[:-1])
    np.testing.assert_array_equal(np.asarray(images(bars, lines.cache(tmp_path / "cache"))), whole)
    assert "is damaged" in lines[2] and lines[3] == lines[0]


def test_training_continues_without_a_writable_cache(bars, tmp_path):
    lines = Lines()
    (tmp_path / "file").write_text("no folder")
    unstored = images(bars, lines.cache(tmp_path / "file/cache"))
    assert isinstance(unstored, Recordings) and len(unstored) == 20
    assert lines[-1].startswith(f"Data: {tmp_path / 'file/cache'}") and lines[-1].endswith("continuing without a cache")
    assert isinstance(images(bars, lines.cache(None)), Recordings)


@pytest.mark.parametrize("cached", [True, False])
def test_every_recording_is_read_once_before_it_is_needed(bars, tmp_path, capsys, cached):
    lines, folder = Lines(), tmp_path / "cache" if cached else None
    images(bars, lines.cache(folder))
    assert cached or capsys.readouterr().out == "Data: checking 20 recordings\nData: checking 10 recordings\n"
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    for part, number in (("Train/1", "00001"), ("Test/9", "00000")):
        path = tmp_path / "data" / part / f"{number}.bin"
        good = path.read_bytes()
        path.write_bytes(b"12345" * 2)
        with refusing(UserError, path):
            images(bars, lines.cache(folder))
        path.write_bytes(good)
    assert not [*tmp_path.glob("cache/.*")]
