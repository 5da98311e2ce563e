"""Recordings with five bytes per event, against tonic's reader."""

import numpy as np
import pytest
from recordings import drawn, nmnist_bytes
from refusals import refusing
from tonic.datasets import NMNIST
from tonic.io import read_mnist_file

from csnn_jax.data.events.recording import decoded, encoded, read_bin


@pytest.mark.parametrize("overflown", [(), (3,), (0, 7, 7)])
def test_events_match_tonic(tmp_path, overflown):
    """Also when the clock overflows, which SpikingJelly reads as events in a nonexistent row."""
    data = np.frombuffer(nmnist_bytes(drawn(1)), np.uint8).reshape(-1, 5)
    for place in overflown:
        data = np.insert(data, place, (0, 240, 0, 0, 0), axis=0)
    path = tmp_path / "00001.bin"
    path.write_bytes(data.tobytes())
    theirs, ours = read_mnist_file(str(path), NMNIST.dtype), read_bin(path)
    for name in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(ours, name), theirs[name])
    assert len(ours.t) == 400


@pytest.mark.parametrize("last_us", [2**23 - 1, 2**23, 12_000_000, 100_000_000])
def test_long_recordings_get_overflow_marks(last_us):
    events = drawn(3, 300, (240, 256), last_us)
    events = events._replace(t=np.sort(np.append(events.t[1:], last_us)))
    for ours, theirs in zip(decoded(encoded(events)), events, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        (dict(x=np.full(300, 256)), ("x", 256, 0, 255)),
        (dict(y=np.full(300, 240)), ("y", 240, 0, 239)),
        (dict(t=np.arange(300)[::-1]), ("time order",)),
        (dict(t=np.append(np.zeros(299, int), 2**40)), ("a day",)),
    ],
)
def test_values_too_large_for_five_bytes_are_refused(changes, facts):
    with refusing(ValueError, *facts):
        encoded(drawn(5, 300)._replace(**changes))
