"""Which engine runs, and why."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from csnn_jax import CSNN, ModelConfig, UserError
from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.recordings import Recordings
from csnn_jax.engine import build, choose, event, library, scan
from csnn_jax.errors import in_python

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
    with pytest.raises(UserError, match=r"engine event: libcsnn\.so is not built"):
        choose("event", CSNN(TINY))


@pytest.mark.parametrize(
    ("frames", "scale", "why"),
    [
        (COUNTS.astype(np.uint8) + np.uint8(1), 1.0, "but these go up to 16"),
        (COUNTS.astype(np.uint8), 256.0, "but these are divided by 256"),
        (COUNTS / 2, 1.0, "but these have fractions"),
        (-COUNTS.astype(np.float32), 1.0, "but these have fractions or negative numbers"),
    ],
)
def test_other_frames_are_left_to_the_scan_engine(frames, scale, why):
    model = CSNN(replace(TINY, scale=scale))
    engine, said = choose("auto", model, frames)
    takes = "the event engine needs frames of whole numbers from 0 to 15"
    assert engine is scan and said.startswith(f"scan engine ({takes}, {why}")
    with pytest.raises(UserError, match=f"engine event: {takes}, {why}"):
        choose("event", model, frames)


def test_pools_after_the_neurons_are_left_to_the_scan_engine():
    model = CSNN(replace(TINY, pool_after=True))
    reason = "the event engine only pools before the neurons; --pool-after needs --engine scan"
    assert choose("auto", model) == (scan, f"scan engine ({reason})")
    with pytest.raises(UserError) as found:
        choose("event", model)
    assert str(found.value) == f"engine event: {in_python(reason)}"


def test_recordings_count_as_counts_without_being_read():
    window = Window(3, (8, 8), (8, 8))
    unread = Recordings([Path("nowhere")], lambda place: pytest.fail("read"), window)
    assert choose("auto", CSNN(replace(TINY, input_shape=(8, 8, 2), scale=1.0)), unread)[0] is event


def test_a_rate_target_is_left_to_the_scan_engine():
    engine, said = choose("auto", CSNN(TINY), rates=True)
    assert engine is scan and "--rate-target needs the gradient of every spike" in said
    with pytest.raises(UserError, match="engine event: rate_target needs the gradient of every spike"):
        choose("event", CSNN(TINY), rates=True)


@pytest.mark.parametrize("name", ["EVENT", None])
def test_an_unknown_engine_is_refused(name):
    with pytest.raises(UserError, match=f"engine {name}: expected auto, scan or event"):
        choose(name, CSNN(TINY))
