"""Golden files: another machine's roundings are let through, and nothing else is."""

import numpy as np
import pytest
from export_networks import case

from export import reference
from export.proof.equality import LIMIT
from export.proof.golden import Golden, of_step, of_window, step_problems, window_problems

pytestmark = pytest.mark.numeric

STEPS = 12


@pytest.fixture(scope="module")
def made():
    return case("other")


@pytest.fixture(scope="module")
def at_threshold(made):
    """(network, the same with a spike that a last bit flips, input): a membrane of one lies just at its threshold.

    Of the neurons of the first layer, one is taken whose spike changes the network's output.
    """
    for image in range(len(made.images)):
        x = made.x[image : image + 1]
        first = reference.trace(made.step, x, 1).membranes[0].ravel()  # needs no threshold
        for neuron in np.flatnonzero(first.numpy() > 0.3):
            theta = first[neuron].numpy()
            below = np.nextafter(theta, np.float32(0))
            ours, theirs = (
                reference.Step(made.config, made.tensors | {"lif1.threshold": value}) for value in (theta, below)
            )
            a, b = (of_window(step, x, STEPS).outputs[1] for step in (ours, theirs))
            if not np.array_equal(a, b):
                return ours, theirs, x
    raise AssertionError("no spike of the first layer changes the output")


def golden_of(made):
    frame = made.x[:1].numpy()
    return of_step(made.step, [frame, *(u.numpy() for u in made.step.initial_membranes(1))])


def test_the_references_own_sets_are_right(made):
    golden = golden_of(made)
    assert [*step_problems("step", golden, golden.inputs, made.step)] == []
    x = made.x[:1]
    assert [*window_problems("window", of_window(made.step, x, STEPS), x, made.step, STEPS)] == []


def test_membranes_may_differ_within_the_limit_and_not_beyond(made):
    golden = golden_of(made)
    spikes, *membranes = golden.outputs

    def lines(factor):
        other = [*membranes]
        other[1] = other[1] + np.float32(factor * LIMIT) * (1 + abs(other[1]))
        return [*step_problems("step", Golden(golden.inputs, [spikes, *other]), golden.inputs, made.step)]

    assert lines(0.9) == []
    (line,) = lines(2)
    assert line.startswith("step/output_2.pb: membranes differ by up to 2")


def test_other_inputs_and_spikes_away_from_their_threshold_are_told(made):
    golden = golden_of(made)
    other = [np.nextafter(golden.inputs[0], np.float32(2)), *golden.inputs[1:]]
    lines = [*step_problems("step", Golden(other, golden.outputs), golden.inputs, made.step)]
    assert lines[0] == "step/input_0.pb: differs from the reference"
    spikes, *membranes = golden.outputs
    flipped = spikes.copy()
    flipped[0, 2] = 1 - flipped[0, 2]
    lines = [*step_problems("step", Golden(golden.inputs, [flipped, *membranes]), golden.inputs, made.step)]
    assert lines == ["step/output_0.pb: 1 spikes differ"]


def test_a_flip_within_rounding_and_what_follows_from_it_is_let_through(at_threshold):
    ours, theirs, x = at_threshold
    golden = of_window(theirs, x, STEPS)
    assert not np.array_equal(golden.outputs[1], of_window(ours, x, STEPS).outputs[1])
    assert [*window_problems("window", golden, x, ours, STEPS)] == []


def test_a_spike_that_does_not_follow_from_a_flip_is_told(at_threshold):
    ours, theirs, x = at_threshold
    counts, spikes = of_window(theirs, x, STEPS).outputs
    other = spikes.copy()
    other[-1, 0, 0] = 1 - other[-1, 0, 0]
    (line,) = window_problems("window", Golden([x.numpy()], [other.sum(0), other]), x, ours, STEPS)
    assert line.endswith("spikes differ, and no membrane near its threshold explains them")
    (line,) = window_problems("window", Golden([x.numpy()], [counts + 1, spikes]), x, ours, STEPS)
    assert line == "window/output_0.pb: differs from the sums of output_1.pb"
