"""Cached frames equal those of the recordings and are computed once, even if the cache is damaged or unwritable."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from recordings import bar, nmnist_bytes, write_nmnist
from refusals import refusing

from csnn_jax.data import as_bytes, load
from csnn_jax.data.events.cache import Cache, Kept, pack, unpack
from csnn_jax.data.events.recordings import Recordings
from csnn_jax.errors import UserError

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.just(1) | st.just(2))


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 15))))
def test_unpacking_restores_packed_frames(frames):
    packed = np.frombuffer(pack(frames), np.uint8)
    np.testing.assert_array_equal(unpack(packed, frames.shape), frames)


class Told(list):
    """The lines shown to the user."""

    def cache(self, folder, **settings) -> Cache:
        return Cache(folder, tell=self.append, **settings)


@pytest.fixture
def bars(tmp_path) -> str:
    return write_nmnist(tmp_path / "data", 2, 1)


def images(name: str, cache: Cache, **more):
    return load(name, None, time_steps=5, cache=cache, **more).train.images


def test_a_second_run_reads_no_recording(bars, tmp_path, monkeypatch, capsys):
    told = Told()
    loaded = load(bars, None, time_steps=5).train.images
    plain, digest = np.asarray(loaded), as_bytes(loaded)
    assert capsys.readouterr().out == "Data: checking 20 recordings\nData: checking 10 recordings\n"
    first = images(bars, told.cache(tmp_path / "cache"))
    np.testing.assert_array_equal(np.asarray(first), plain)
    said = f"Data: caching the frames of {{}} recordings in {tmp_path / 'cache/sets'}\n"
    assert capsys.readouterr().out == said.format(20) + said.format(10) and not told
    monkeypatch.setattr(Recordings, "one", None)
    second = images(bars, told.cache(tmp_path / "cache"))
    assert isinstance(second, Kept) and not capsys.readouterr().out
    np.testing.assert_array_equal(second[np.array([3, 0, 3])], plain[[3, 0, 3]])
    np.testing.assert_array_equal(np.asarray(second[4:9][1:]), plain[5:9])
    assert as_bytes(second) == digest


def test_changed_recordings_or_shapes_make_another_set(bars, tmp_path):
    told = Told()
    before = np.asarray(images(bars, told.cache(tmp_path / "cache")))
    path = tmp_path / "data/Train/0/00000.bin"
    path.write_bytes(nmnist_bytes(bar(9, 5)))
    after = np.asarray(images(bars, told.cache(tmp_path / "cache")))
    assert (after[0] != before[0]).any() and (after[1:] == before[1:]).all()
    load(bars, (17, 17, 2), time_steps=5, cache=told.cache(tmp_path / "cache"))
    assert len(list((tmp_path / "cache/sets").iterdir())) == 5  # the test images are the same in the first two


def test_a_truncated_cache_is_rebuilt(bars, tmp_path):
    told = Told()
    whole = np.asarray(images(bars, told.cache(tmp_path / "cache")))
    for break_it in (
        lambda path: (path / "records").write_bytes((path / "records").read_bytes()[:-1]),
        lambda path: (path / "sums.npy").unlink(),
    ):
        for path in (tmp_path / "cache/sets").iterdir():
            break_it(path)
        del told[:]
        np.testing.assert_array_equal(np.asarray(images(bars, told.cache(tmp_path / "cache"))), whole)
        assert "is damaged and will be rebuilt" in told[0]
    del told[:]
    images(bars, told.cache(tmp_path / "cache"))
    assert not told


def test_training_continues_without_a_writable_cache(bars, tmp_path):
    told = Told()
    (tmp_path / "file").write_text("no folder")
    found = images(bars, told.cache(tmp_path / "file/cache"))
    assert isinstance(found, Recordings) and len(found) == 20
    assert told[-1].startswith(f"Data: {tmp_path / 'file/cache/sets'} can't be written (")
    assert told[-1].endswith("continuing without a cache")
    assert isinstance(images(bars, told.cache(None)), Recordings)


@pytest.mark.parametrize("kept", [True, False])
def test_every_recording_is_read_once_before_it_is_needed(bars, tmp_path, capsys, kept):
    told, folder = Told(), tmp_path / "cache" if kept else None
    images(bars, told.cache(folder))
    assert kept or capsys.readouterr().out == "Data: checking 20 recordings\nData: checking 10 recordings\n"
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    for part, number in (("Train/1", "00001"), ("Test/9", "00000")):
        path = tmp_path / "data" / part / f"{number}.bin"
        good = path.read_bytes()
        path.write_bytes(b"12345" * 2)
        with refusing(UserError, path):
            images(bars, told.cache(folder))
        path.write_bytes(good)
    assert not [*tmp_path.glob("cache/sets/.*")]


def test_a_damaged_record_is_named(bars, tmp_path):
    """Its length is right, so only reading it reveals the damage."""
    kept = images(bars, Told().cache(tmp_path / "cache"))
    for path in tmp_path.glob("cache/sets/*/records"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with refusing(UserError, "sets", "damaged"):
        np.asarray(kept)
