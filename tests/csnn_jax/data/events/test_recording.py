"""The checks of a recording, and N-MNIST's five bytes per event against tonic's reader."""

import numpy as np
import pytest
from recordings import drawn, nmnist_bytes
from refusals import refusing
from tonic.datasets import NMNIST
from tonic.io import read_mnist_file

from csnn_jax.data.events.recording import check, decoded, encoded, read_bin

EVENTS = drawn(0, 300, (8, 6))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({name: getattr(EVENTS, name)[:0] for name in EVENTS._fields}, ("no events",)),
        ({"x": EVENTS.x + 6}, ("x", 0, 5)),
        ({"y": EVENTS.y + 8}, ("y", 0, 7)),
        ({"y": EVENTS.y - 8}, ("y", 0, 7)),
        ({"t": EVENTS.t[::-1]}, ("time order",)),
    ],
)
def test_recordings_that_no_sensor_makes_are_refused(change, facts):
    check(EVENTS, (8, 6))
    with refusing(ValueError, *facts):
        check(EVENTS._replace(**change), (8, 6))


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
        ({"x": np.full(300, 256)}, ("x", 256, 0, 255)),
        ({"y": np.full(300, 240)}, ("y", 240, 0, 239)),
        ({"t": np.append(np.zeros(299, int), 2**40)}, ("a day",)),
    ],
)
def test_values_too_large_for_five_bytes_are_refused(changes, facts):
    with refusing(ValueError, *facts):
        encoded(EVENTS._replace(**changes))
