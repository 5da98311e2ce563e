"""The simulated data set is made once, and is the same however it is kept."""

import shutil

import numpy as np
import pytest

from csnn_jax.data import as_bytes, load
from csnn_jax.data.events import simulated
from csnn_jax.data.events.cache import Cache
from csnn_jax.errors import UserError


def loaded(cache: Cache | None = None, subset: int = 12):
    return load("saccades", None, time_steps=6, cache=cache, subset=subset)


def test_it_is_made_on_first_use_and_kept(tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache", tell=id)
    plain, kept = loaded(), loaded(cache)
    assert plain.train.images.shape == (12, 6, 34, 34, 2) and len(plain.test.labels) == 2
    assert plain.notes == ("saccades (simulated): recordings as 6 frames of 34x34, by time, of counts up to 15",)
    np.testing.assert_array_equal(plain.train.labels, load("mnist", (28, 28, 1)).train.labels[:12])
    for ours, theirs in ((plain.train, kept.train), (plain.test, kept.test)):
        np.testing.assert_array_equal(np.asarray(ours.images), np.asarray(theirs.images))
        assert as_bytes(ours.images) == as_bytes(theirs.images)
    monkeypatch.setattr(simulated.saccades, "simulate", None)
    assert len(loaded(cache).train.labels) == 12


def test_the_first_of_more_are_the_first_of_less(tmp_path):
    few, many = loaded(subset=3), loaded(subset=6)
    np.testing.assert_array_equal(np.asarray(few.train.images), np.asarray(many.train.images[:3]))
    assert len(few.test.labels) == len(many.test.labels) == 1


def test_a_place_that_can_not_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    found = loaded(Cache(tmp_path / "file", tell=id), 2)
    np.testing.assert_array_equal(np.asarray(found.train.images), np.asarray(loaded(subset=2).train.images))
    assert "can't hold what is simulated (" in capsys.readouterr().out


def test_the_limit_of_the_cache_holds_for_what_is_simulated_too(tmp_path, capsys):
    told: list[str] = []
    found = loaded(Cache(tmp_path, 10_000, tell=told.append), 2)
    assert "can't hold what is simulated (a set takes more than the 1e-05 GB of" in capsys.readouterr().out
    assert len(found.train.labels) == 2 and "takes more than the 1e-05 GB of" in told[0]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 10_000


def test_what_is_cut_short_is_simulated_again(tmp_path):
    told: list[str] = []
    cache = Cache(tmp_path, tell=told.append)
    before = np.asarray(loaded(cache, 2).train.images)
    for path in tmp_path.glob("sets/saccades-*/records"):
        path.write_bytes(path.read_bytes()[:-1])
    for path in tmp_path.glob("sets/[!s]*"):
        shutil.rmtree(path)
    np.testing.assert_array_equal(np.asarray(loaded(cache, 2).train.images), before)
    assert len(told) == 2 and all("is damaged, and made again" in line for line in told)


def test_more_than_there_are():
    with pytest.raises(UserError, match=r"^--subset 60001: expected 1 to 60000, the training images of mnist"):
        load("mnist", (28, 28, 1), subset=60001)
    few = load("mnist", (28, 28, 1), subset=600)
    assert (len(few.train.labels), len(few.test.labels)) == (600, 100)
