"""Which engine runs, and why."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from refusals import assert_line, refusing

from csnn_jax import CSNN, ModelConfig, UserError
from csnn_jax.data.events.frames import Recordings, Window
from csnn_jax.engine import build, choose, event, library, scan

TINY = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(), time_steps=3)


@pytest.fixture
def without_library(monkeypatch, tmp_path):
    """As if installed on a machine without a compiler."""
    monkeypatch.setattr(build, "LIBRARY", tmp_path / build.LIBRARY.name)
    library.failure.cache_clear()
    yield
    library.failure.cache_clear()


COUNTS = np.arange(2 * 3 * 64).reshape(2, 3, 8, 8, 1) % 16


def test_auto_uses_the_event_engine_if_it_is_built():
    assert choose("auto", CSNN(TINY)) == (event, "event engine")
    for frames in (COUNTS.astype(np.uint8), COUNTS > 7, COUNTS.astype(np.float32)):
        assert choose("auto", CSNN(replace(TINY, scale=1.0)), frames) == (event, "event engine")
    assert choose("scan", CSNN(TINY)) == (scan, "scan engine")


def test_without_the_library_auto_uses_the_scan_engine_and_says_why(without_library):
    engine, said = choose("auto", CSNN(TINY))
    assert engine is scan and "python -m csnn_jax.engine.build" in said
    with refusing(UserError, "engine event", "libcsnn.so", "python -m csnn_jax.engine.build"):
        choose("event", CSNN(TINY))


@pytest.mark.parametrize(
    ("frames", "scale", "fact"),
    [
        (COUNTS.astype(np.uint8) + np.uint8(1), 1.0, 16),
        (COUNTS.astype(np.uint8), 256.0, 256),
        (COUNTS / 2, 1.0, "fractions"),
        (-COUNTS.astype(np.float32), 1.0, "negative numbers"),
    ],
)
def test_other_frames_are_left_to_the_scan_engine(frames, scale, fact):
    model = CSNN(replace(TINY, scale=scale))
    engine, said = choose("auto", model, frames)
    assert engine is scan
    assert_line(said, "scan engine", "0 to 15", fact)
    with refusing(UserError, "engine event", "0 to 15", fact):
        choose("event", model, frames)


def test_pools_after_the_neurons_are_left_to_the_scan_engine():
    model = CSNN(replace(TINY, pool_after=True))
    engine, said = choose("auto", model)
    assert engine is scan
    assert_line(said, "scan engine", "--pool-after", "--engine scan")
    with refusing(UserError, "engine event", "pool_after", "engine scan"):
        choose("event", model)


def test_recordings_count_as_counts_without_being_read():
    window = Window(3, (8, 8), (8, 8))
    unread = Recordings([Path("nowhere")], lambda place: pytest.fail("read"), window)
    assert choose("auto", CSNN(replace(TINY, input_shape=(8, 8, 2), scale=1.0)), unread)[0] is event


def test_a_rate_target_is_left_to_the_scan_engine():
    engine, said = choose("auto", CSNN(TINY), rates=True)
    assert engine is scan
    assert_line(said, "scan engine", "--rate-target")
    with refusing(UserError, "engine event", "rate_target"):
        choose("event", CSNN(TINY), rates=True)


@pytest.mark.parametrize("name", ["EVENT", None])
def test_an_unknown_engine_is_refused(name):
    with refusing(UserError, f"engine {name}", "auto", "scan", "event"):
        choose(name, CSNN(TINY))
