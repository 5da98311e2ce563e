"""The simulated camera reports what moves in front of it, identically on every machine and with or without a cache."""

import hashlib

import numpy as np
import pytest
from refusals import refused

from csnn_jax.config import Config, DataConfig, ModelConfig
from csnn_jax.data import as_bytes, load, load_for
from csnn_jax.data.events import saccades
from csnn_jax.data.events.cache import Cache


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return load("mnist", (28, 28, 1)).test.images[:6, ..., 0]


@pytest.fixture(scope="module")
def seen(digits) -> list:
    return list(saccades.simulate(digits, 1))


def test_recordings_are_frozen(seen):
    """On any machine and NumPy version: repeating a run requires exactly these events."""
    said = hashlib.sha256(b"".join(values.astype("<i8").tobytes() for events in seen for values in events))
    assert said.hexdigest() == "fabf5367d047f11f205f96dfec537e8ae27fd9f45e25b2064f81a09c09810f01"


def test_a_recording_does_not_depend_on_its_batch(digits, seen):
    (alone,) = saccades.simulate(digits[4:5], 1, 4)
    for ours, theirs in zip(alone, seen[4], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    (other,) = saccades.simulate(digits[4:5], 0, 4)
    assert len(other.t) != len(alone.t) or (other.t != alone.t).any()  # training digits have their own random numbers


def test_events_add_up_to_the_change_in_brightness():
    """By definition, a pixel's signed events times its threshold are within one threshold of its change."""
    digit = np.zeros((28, 28), np.uint8)
    digit[8:20, 10:18] = 200
    moved = saccades._moved(digit[None])
    scene = 255 - np.pad(digit.astype(float), saccades.ROOM)
    for axis in (0, 1):
        scene = (np.roll(scene, 1, axis) + 6 * scene + np.roll(scene, -1, axis)) / 8
    scene = np.floor(scene + 0.5)
    threshold = saccades.thresholds()
    for until in (50, 130, 309):
        change = saccades.LOG[brightness(scene, until)] - saccades.LOG[brightness(scene, 0)]
        before = moved[moved[:, 1] <= until]
        sums = np.zeros((34, 34), int)
        np.add.at(sums, (before[:, 2], before[:, 3]), 2 * before[:, 4] - 1)
        late = np.abs(change - sums * threshold) >= threshold
        assert late.mean() < 0.02  # refractory pixels report later


def brightness(scene: np.ndarray, time: int) -> np.ndarray:
    """Each pixel's brightness, interpolated in floats."""
    down, right = (value / 256 for value in saccades.position(time))
    rows, columns = np.arange(34) + saccades.ROOM - down, np.arange(34) + saccades.ROOM - right
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    y, x = (rows - top)[:, None], (columns - left)[None]
    part = lambda i, j: scene[np.ix_(top + i, left + j)]  # noqa: E731
    upper, lower = (part(i, 0) * (1 - x) + part(i, 1) * x for i in (0, 1))
    return np.floor(upper * (1 - y) + lower * y + 0.5).astype(int)


def test_no_brightness_is_near_a_tie_of_the_logarithm():
    """Otherwise another machine's logarithm might round the other way."""
    exact = 1024 * np.log1p(np.arange(256) / 28)
    assert np.abs(exact % 1 - 0.5).min() > 1e-4


def test_noise_is_mostly_brighter():
    """An empty screen produces only noise, mostly ON events from the pixels' leak."""
    (events,) = saccades.simulate(np.zeros((1, 28, 28), np.uint8), 0)
    assert abs(len(events.t) - saccades.NOISE) < 50 and events.p.mean() > 0.85


def loaded(cache: Cache | None = None, subset: int = 12):
    return load("saccades", None, time_steps=6, cache=cache, subset=subset)


def test_it_is_made_on_first_use_and_cached(tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache", tell=id)
    plain, cached = loaded(), loaded(cache)
    assert plain.train.images.shape == (12, 6, 34, 34, 2) and len(plain.test.labels) == 2
    assert plain.notes == ("saccades (simulated): recordings as 6 frames of 34x34, by time, of counts up to 15",)
    np.testing.assert_array_equal(plain.train.labels, load("mnist", (28, 28, 1)).train.labels[:12])
    for ours, theirs in ((plain.train, cached.train), (plain.test, cached.test)):
        np.testing.assert_array_equal(np.asarray(ours.images), np.asarray(theirs.images))
        assert as_bytes(ours.images) == as_bytes(theirs.images)
    monkeypatch.setattr(saccades, "simulate", None)
    assert len(loaded(cache).train.labels) == 12


def test_a_trained_network_only_makes_test_recordings(tmp_path, monkeypatch, capsys):
    """Those of training are made when they are used, if they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = Config(ModelConfig(input_shape=(34, 34, 2), time_steps=6, scale=1.0), DataConfig("saccades", subset=12))
    splits = load_for(config)
    assert "simulating 2 recordings" in (lines := capsys.readouterr().out) and "simulating 12" not in lines
    np.testing.assert_array_equal(np.asarray(splits.train.images), np.asarray(loaded().train.images))
    assert "simulating 12 recordings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--eval-images", 34), ("--eval-images 34", "1 to 33", "saccades")),
        (("--batch-size", 101, "--validation", 100), ("--batch-size 101", "1 to 100")),
        (("--warmup", 9), ("--warmup 9", 1)),
        (("--validation", 200), ("--validation 200", "0 to 199")),
        (("--encoding", "rate"), ("--encoding rate", "saccades", "direct")),
        (("--subset", 60_001), ("--subset 60001", "1 to 60000")),
        (("--out", "full"), ("--out full", "empty")),
    ],
)
def test_what_needs_no_recording_is_checked_before_they_are_made(flags, names, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    job = ("--dataset", "saccades", "--subset", 200, "--cache", tmp_path / "cache")
    refused("csnn_jax.train", *job, *flags, names=names, cwd=tmp_path)
