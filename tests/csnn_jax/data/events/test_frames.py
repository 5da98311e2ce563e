import numpy as np
import pytest
import tonic.functional
from recordings import drawn
from refusals import refusing
from tonic.io import make_structured_array

from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.recording import Events
from csnn_jax.data.images import MOST_COUNT

SENSOR = (12, 10)


def window(steps: int = 7, shape: tuple[int, int] = SENSOR, by: str = "time") -> Window:
    return Window(steps, SENSOR, shape, by)


@pytest.mark.parametrize(("by", "name"), [("time", "n_time_bins"), ("count", "n_event_bins")])
@pytest.mark.parametrize("seed", range(5))
def test_frames_match_tonic(by, name, seed):
    events = drawn(seed, 500 + seed, SENSOR, 10_000 + seed)
    array = make_structured_array(events.x, events.y, events.t, events.p)
    theirs = tonic.functional.to_frame_numpy(array, (SENSOR[1], SENSOR[0], 2), **{name: 7})
    ours = window(by=by).frames(events)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, np.minimum(np.moveaxis(theirs, 1, 3), MOST_COUNT))


@pytest.mark.parametrize("by", ["time", "count"])
def test_the_worked_example(by):
    t = np.array([10, 12, 15, 16, 19])
    events = Events(t, np.arange(5), np.zeros(5, int), np.array([0, 1, 0, 1, 1]))
    found = Window(2, (1, 5), (1, 5), by).frames(events)
    assert [[tuple(one) for one in np.argwhere(frame[0])] for frame in found] == [[(0, 0), (1, 1)], [(2, 0), (3, 1)]]


def test_pixels_of_a_frame_hold_whole_blocks_of_the_sensor():
    events = drawn(4, 500, SENSOR)
    small, large = window(shape=(4, 5)).frames(events), window().frames(events)
    blocks = large.reshape(7, 4, 3, 5, 2, 2).sum((2, 4))
    assert small.max() < MOST_COUNT
    np.testing.assert_array_equal(small, blocks)


def test_values_are_counts_up_to_fifteen():
    events = Events(np.arange(40), np.zeros(40, int), np.zeros(40, int), (np.arange(40) >= 37).astype(int))
    assert Window(1, (1, 1), (1, 1), "count").frames(events).ravel().tolist() == [15, 3]


def test_recordings_that_are_too_short():
    events = drawn(5, 6, SENSOR, 1000)
    with refusing(ValueError, "6 events", "time_steps 7"):
        window(by="count").frames(events)
    with refusing(ValueError, "5 us", "time_steps 7"):
        window().frames(events._replace(t=np.arange(6)))
