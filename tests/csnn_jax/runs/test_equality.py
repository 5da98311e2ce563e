"""Comparing values regardless of how a processor treats subnormals, and windows: counts, and the first difference."""

import numpy as np
import pytest
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.runs.equality import SMALLEST, Comparison, Count, Place, canonical, differ, in_words
from csnn_jax.window import Trace

STEPS, IMAGES = 4, 3


def test_subnormals_and_the_sign_of_zero_make_no_difference():
    small, least = np.float32(1e-40), np.float32(2.0**-126)
    values = np.array([0.0, -0.0, small, -small, least, -least, 1.0], np.float32)
    assert differ(values, np.array([-0.0, small, 0.0, -0.0, least, -least, 1.0], np.float32)) == 0
    assert canonical(values).tobytes() == np.array([0, 0, 0, 0, least, -least, 1], np.float32).tobytes()
    assert np.nextafter(SMALLEST, np.float32(0)) != 0


def test_every_other_bit_makes_a_difference():
    values = np.array([1.0, -3.5, 2.0**-100, np.inf], np.float32)
    assert differ(values, values) == 0
    assert differ(values, np.nextafter(values, np.float32(0))) == 4
    assert differ(np.array([np.nan]), np.array([np.nan])) == 1
    with refusing(ValueError, "[4]", "[3]"):
        differ(values, values[:3])


def spiking(*places: Place) -> Trace:
    """Two layers, [2, 3, 3] and [5], with a spike at each place; the membranes count steps from 1."""
    shapes = {"lif2": (2, 3, 3), "lif10": (5,)}
    spikes = {node: np.zeros((STEPS, IMAGES, *shape), np.float32) for node, shape in shapes.items()}
    for place in places:
        spikes[place.node][place.step, place.image, *place.neuron] = 1
    steps = np.arange(1, STEPS + 1, dtype=np.float32)
    states = {node: {"mem": np.zeros_like(x) + steps.reshape(-1, *[1] * (x.ndim - 1))} for node, x in spikes.items()}
    return Trace(states, spikes)


EARLY, DEEP = Place(0, 1, 1, (4,), "lif10"), Place(2, 1, 0, (0,), "lif10")
LATE, NEXT = Place(2, 0, 0, (1, 2, 0), "lif2"), Place(2, 0, 1, (0, 0, 0), "lif2")


@pytest.mark.parametrize(
    ("places", "expected"),
    [((EARLY,), EARLY), ((DEEP, LATE, EARLY), EARLY), ((DEEP, LATE), LATE), ((NEXT, LATE), LATE), ((), None)],
    ids=["alone", "the step counts first", "then the node", "then the image", "none"],
)
def test_the_first_place(places, expected):
    comparison = Comparison()
    comparison.add(spiking(), spiking(*places))
    assert (comparison.first and comparison.first.place) == expected
    assert (comparison.sentences("A") == []) == (expected is None)


def test_batches_are_counted_together():
    comparison = Comparison()
    comparison.add(spiking(), spiking(LATE))
    comparison.add(spiking(), spiking(EARLY, LATE))
    assert comparison.spikes == {
        "lif2": Count(2 * STEPS * IMAGES * 18, 2, (0, 2)),
        "lif10": Count(2 * STEPS * IMAGES * 5, 1, (0, 1)),
    }
    assert comparison.membranes["lif2"] == Count(2 * STEPS * IMAGES * 18)
    assert comparison.first.place == EARLY._replace(image=EARLY.image + IMAGES)
    assert comparison.first.values == {"spike": (0, 1), "membrane": (1, 1)}
    assert comparison.sentences("A") == [
        "3 of 552 spikes (2 in lif2, 1 in lif10) and 0 of 552 membranes differ from those of A",
        "first at step 0, lif10, image 4, neuron 4: spike 1, A's 0; membrane 1, A's 1",
    ]


def test_a_membrane_or_another_state_differs_before_the_spikes():
    expected, other = spiking(), spiking(LATE)
    for trace in (expected, other):
        trace.states["lif2"]["syn"] = trace.membranes["lif2"].copy()
    other.states["lif2"]["syn"][1, 2, 0, 1, 2] = np.nan
    comparison = Comparison()
    comparison.add(expected, other)
    assert comparison.first.place == Place(1, 0, 2, (0, 1, 2), "lif2")
    assert comparison.membranes["lif2"].compared == 2 * comparison.spikes["lif2"].compared
    total, first = comparison.sentences("torch")
    assert total == "1 of 276 spikes (1 in lif2) and 1 of 492 membranes (1 in lif2) differ from those of torch"
    assert first.endswith("channel 0, row 1, column 2: spike 0, torch's 0; membrane 2, torch's 2; syn nan, torch's 2")


def test_only_what_both_show_is_compared():
    comparison = Comparison()
    comparison.add(spiking(), Trace({}, {"lif10": spiking(DEEP).spikes["lif10"]}))
    assert ([*comparison.spikes], [*comparison.membranes]) == (["lif10"], [])
    assert comparison.first.place == DEEP and comparison.first.values == {"spike": (0, 1)}
    assert comparison.figures()["images"] == IMAGES and comparison.figures()["time_steps"] == STEPS
    with refusing(ValueError, [4, 3, 5], [3, 3, 5]):
        comparison.add(spiking(), Trace({}, {"lif10": spiking().spikes["lif10"][:3]}))


@pytest.mark.parametrize(("readout", "different"), [("spikes", 1), ("membrane", 2)])
def test_predictions_are_read_as_the_network_is(readout, different):
    model = ModelConfig((2, 2, 1), (), hidden=(), num_classes=2, readout=readout)
    spikes = np.array([[[1, 0], [0, 1]]], np.float32)
    membranes = np.array([[[2, 1], [1, 2]]], np.float32)
    comparison = Comparison(model)
    comparison.add(
        Trace({"lif1": {"mem": membranes}}, {"lif1": spikes}),
        Trace({"lif1": {"mem": 3 - membranes}}, {"lif1": spikes * [1, 0]}),
    )
    assert (comparison.predictions.compared, comparison.predictions.different) == (2, different)
    assert in_words(comparison.figures(), "A").endswith(f" and {different} of 2 predictions differ from those of A")
