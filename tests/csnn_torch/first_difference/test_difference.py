"""Finds the first difference and counts them all."""

import numpy as np
import pytest

from csnn_jax.runs.equality import Place
from csnn_torch.first_difference.difference import Comparison, Counts, Seen, comparable, first
from csnn_torch.first_difference.recording import Recording

STEPS, IMAGES = 4, 3


def recording(*places: Place, hidden: bool = True) -> Recording:
    """Two layers, [2, 3, 3] and [5], with a spike at each place; the membranes count steps from 1."""
    shapes = (2, 3, 3), (5,)
    spikes = [np.zeros((STEPS, IMAGES, *shape), np.float32) for shape in shapes]
    for step, layer, image, neuron in places:
        spikes[layer][step, image, *neuron] = 1
    steps = np.arange(1, STEPS + 1, dtype=np.float32)
    membranes = tuple(np.broadcast_to(steps.reshape(-1, *[1] * (x.ndim - 1)), x.shape) for x in spikes)
    return Recording((spikes[0] if hidden else None, spikes[1]), membranes)


EARLY, DEEP, LATE = Place(0, 1, 1, (4,)), Place(2, 1, 0, (0,)), Place(2, 0, 0, (1, 2, 0))


@pytest.mark.parametrize(
    ("places", "expected"),
    [((EARLY,), EARLY), ((DEEP, LATE, EARLY), EARLY), ((DEEP, LATE), LATE), ((), None)],
    ids=["alone", "the step counts first", "then the layer", "none"],
)
def test_the_first_place(places, expected):
    one, other = recording(*places), recording()
    differ = [a != b for a, b in zip(one.spikes, other.spikes, strict=True)]
    assert first(differ, ["spikes", "spikes"]) == expected


def test_batches_are_counted_together():
    comparison = Comparison(["spikes", "spikes"])
    comparison.add(recording(LATE), recording())
    comparison.add(recording(EARLY, LATE), recording())
    assert comparison.counts == [Counts(2 * STEPS * IMAGES * 18, 2, (2, 0)), Counts(2 * STEPS * IMAGES * 5, 1, (1, 0))]
    assert comparison.differ == 3
    assert comparison.place == EARLY._replace(image=EARLY.image + IMAGES)
    assert comparison.seen == (Seen(1, 0, 1), Seen(0, 0, 1))
    assert [len(side[0][0]) for side in comparison.signals] == [6, 6]
    assert comparison.signals[0][0].dtype == np.uint8


def test_a_membrane_before_the_first_step_is_0():
    comparison = Comparison(["spikes", "spikes"])
    comparison.add(recording(EARLY), recording())
    assert comparison.seen == (Seen(1, 0, 1), Seen(0, 0, 1))


def test_membranes_are_compared_if_spikes_are_not_visible():
    hidden = recording(hidden=False)
    assert comparable(hidden, recording(), True) == ["membranes", "spikes"]
    assert comparable(hidden, recording(), False) == [None, "spikes"]
    comparison = Comparison(comparable(hidden, recording(), True))
    comparison.add(hidden, Recording(recording().spikes, (hidden.membranes[0] + 1, hidden.membranes[1])))
    assert comparison.place == Place(0, 0, 0, (0, 0, 0))
    assert comparison.seen == (Seen(1, 0, 1), Seen(2, 0, 2))
