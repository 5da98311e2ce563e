"""The simulated data set is made once, and is the same with or without a cache."""

import numpy as np
from refusals import refusing

from csnn_jax.config import Config, DataConfig, ModelConfig
from csnn_jax.data import as_bytes, load, load_for
from csnn_jax.data.events import saccades
from csnn_jax.data.events.cache import Cache
from csnn_jax.errors import UserError


def loaded(cache: Cache | None = None, subset: int = 12):
    return load("saccades", None, time_steps=6, cache=cache, subset=subset)


def test_it_is_made_on_first_use_and_cached(tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache", tell=id)
    plain, kept = loaded(), loaded(cache)
    assert plain.train.images.shape == (12, 6, 34, 34, 2) and len(plain.test.labels) == 2
    assert plain.notes == ("saccades (simulated): recordings as 6 frames of 34x34, by time, of counts up to 15",)
    np.testing.assert_array_equal(plain.train.labels, load("mnist", (28, 28, 1)).train.labels[:12])
    for ours, theirs in ((plain.train, kept.train), (plain.test, kept.test)):
        np.testing.assert_array_equal(np.asarray(ours.images), np.asarray(theirs.images))
        assert as_bytes(ours.images) == as_bytes(theirs.images)
    monkeypatch.setattr(saccades, "simulate", None)
    assert len(loaded(cache).train.labels) == 12


def test_a_trained_network_only_makes_test_recordings(tmp_path, monkeypatch, capsys):
    """Those of training are made when they are used, if they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = Config(ModelConfig(input_shape=(34, 34, 2), time_steps=6, scale=1.0), DataConfig("saccades", subset=12))
    found = load_for(config)
    assert "simulating 2 recordings" in (lines := capsys.readouterr().out) and "12" not in lines
    np.testing.assert_array_equal(np.asarray(found.train.images), np.asarray(loaded().train.images))
    assert "simulating 12 recordings" in capsys.readouterr().out


def test_an_unwritable_cache(tmp_path):
    (tmp_path / "file").write_text("no folder")
    lines: list[str] = []
    found = loaded(Cache(tmp_path / "file", tell=lines.append), 2)
    np.testing.assert_array_equal(np.asarray(found.train.images), np.asarray(loaded(subset=2).train.images))
    assert lines[0].startswith(f"Data: {tmp_path / 'file'}") and lines[0].endswith("without a cache")


def test_a_subset_larger_than_the_data_set():
    with refusing(UserError, "subset 60001", "1 to 60000", "mnist"):
        load("mnist", (28, 28, 1), subset=60001)
    few = load("mnist", (28, 28, 1), subset=600)
    assert (len(few.train.labels), len(few.test.labels)) == (600, 100)
