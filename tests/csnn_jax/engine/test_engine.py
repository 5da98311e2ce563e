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
    engine, reason = choose("auto", CSNN(TINY))
    assert engine is scan and "python -m csnn_jax.engine.build" in reason
    with refusing(UserError, "engine event", "libcsnn.so", "python -m csnn_jax.engine.build"):
        choose("event", CSNN(TINY))


BYTES = COUNTS.astype(np.uint8)
LEFT = {
    "counts above 15": ({}, dict(images=BYTES + np.uint8(1)), ("0 to 15", 16)),
    "bytes": (dict(scale=256.0), dict(images=BYTES), ("0 to 15", 256)),
    "fractions": ({}, dict(images=COUNTS / 2), ("0 to 15", "fractions")),
    "negative": ({}, dict(images=-COUNTS.astype(np.float32)), ("0 to 15", "negative numbers")),
    "sums of currents": (dict(pool="sum"), {}, ("sum pooling", "pool1")),
}


@pytest.mark.parametrize(("changes", "arguments", "facts"), LEFT.values(), ids=LEFT.keys())
def test_what_the_event_engine_lacks_is_left_to_the_scan_engine(changes, arguments, facts):
    model = CSNN(replace(TINY, **({"scale": 1.0} | changes)))
    engine, reason = choose("auto", model, **arguments)
    assert engine is scan
    assert_line(str(UserError(reason)), "scan engine", *facts)  # which names options, not flags
    with refusing(UserError, "engine event", *facts):
        choose("event", model, **arguments)


def test_recordings_count_as_counts_without_being_read():
    window = Window(3, (8, 8), (8, 8))
    unread = Recordings([Path("nowhere")], lambda place: pytest.fail("read"), window)
    assert choose("auto", CSNN(replace(TINY, input_shape=(8, 8, 2), scale=1.0)), unread)[0] is event


@pytest.mark.parametrize("name", ["EVENT", None])
def test_an_unknown_engine_is_refused(name):
    with refusing(UserError, f"engine {name}", "auto", "scan", "event"):
        choose(name, CSNN(TINY))
