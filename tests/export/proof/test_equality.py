"""The proof finds nothing in an equal network and everything in one that was altered."""

import numpy as np
import pytest
from export_networks import OTHER, case, changed

from export import reference
from export.proof.equality import LIMIT, LISTED, Stepwise, equality, windows
from export.proof.runners import OnnxRunner, Recording, TorchRunner

pytestmark = pytest.mark.numeric


class Altered:
    """Runs the reference network and alters what comes out of step `time`."""

    def __init__(self, step, alter, time=3):
        self.runner, self.alter, self.time, self.calls = TorchRunner(step), alter, time, 0

    def step(self, membranes, x):
        after, spikes = self.runner.step(membranes, x)
        spikes, after = spikes.copy(), [u.copy() for u in after]
        if self.calls % OTHER.time_steps == self.time:
            self.alter(spikes, after)
        self.calls += 1
        return after, spikes


@pytest.fixture
def made():
    return case("other")


def test_a_network_is_equal_to_itself(made):
    found = equality(made.step, TorchRunner(made.step), windows(made.step, [made.x, made.x[:2]], size=2))
    stepwise, free = found["stepwise"], found["free_running"]
    neurons = sum(int(np.prod(layer.out_shape)) for layer in OTHER.layers)
    assert found["ok"] and found["time_steps"] == 12
    assert stepwise["membranes"] == neurons * 12 * 5 and stepwise["max_difference"] == 0
    assert free["images"] == 5 and free["counts"] == 5 * 6
    assert free["output_spikes"] == 5 * 6 * 12 and free["hidden_spikes"] == (neurons - 6) * 5 * 12
    assert free["different_spikes_by_layer"] == [0] * len(OTHER.layers)
    assert stepwise["max_difference_by_layer"] == [0.0] * len(OTHER.layers)


@pytest.mark.parametrize("name", ["conv1.weight", "conv2.bias", "fc2.weight", "lif3.beta"])
def test_an_altered_parameter_is_found(made, name):
    model = changed(made.models["step.onnx"], name, lambda value: value + np.float32(2e-3))
    found = equality(made.step, OnnxRunner(model), windows(made.step, [made.x]))
    assert not found["ok"] and not found["stepwise"]["ok"]
    assert found["stepwise"]["beyond_limit"] > 0 and found["stepwise"]["max_difference"] > LIMIT
    by_layer = found["stepwise"]["max_difference_by_layer"]
    first = {"conv1": 0, "conv2": 1, "fc2": 3, "lif3": 2}[name.split(".")[0]]
    assert max(by_layer) == by_layer[first] == found["stepwise"]["max_difference"]
    different = found["free_running"]["different_spikes_by_layer"]
    assert sum(different[:first]) == 0 and sum(different[:-1]) == found["free_running"]["different_hidden_spikes"]


def test_a_flipped_output_spike_is_found_and_placed(made):
    def flip(spikes, membranes):
        spikes[1, 4] = 1 - spikes[1, 4]

    found = equality(made.step, Altered(made.step, flip), windows(made.step, [made.x]))
    (flipped,) = found["stepwise"]["flips"]
    place = {"layer": 4, "step": 3, "image": 1, "neuron": 4}
    assert flipped == place | {"distance": flipped["distance"], "explained": False}
    assert found["stepwise"]["unexplained_flips"] == 1 and not found["stepwise"]["ok"]
    assert found["free_running"]["different_output_spikes"] == 1 and found["free_running"]["different_counts"] == 1
    assert found["free_running"]["first_flips"] == [flipped] and not found["free_running"]["ok"]


def test_a_flip_at_the_threshold_is_explained_and_its_consequences_are_skipped(made):
    first = reference.trace(made.step, made.x, 1).membranes[0][0, 2].ravel()  # needs no threshold
    neuron = int((first > 0.5).nonzero()[0])
    step = reference.Step(made.config, made.tensors | {"lif1.threshold": first[neuron].numpy()})

    def above(spikes, membranes):
        view = membranes[0][2].reshape(-1)
        view[neuron] = np.nextafter(view[neuron], np.float32(9))
        membranes[1][2] += 1

    found = equality(step, Altered(step, above, time=0), windows(step, [made.x]))
    (flip,) = found["stepwise"]["flips"]
    assert flip["explained"] and flip["distance"] == 0 and (flip["layer"], flip["image"], flip["step"]) == (1, 2, 0)
    assert flip["neuron"] == neuron
    assert found["stepwise"]["ok"]
    later = sum(int(np.prod(layer.out_shape)) for layer in made.config.layers[1:])
    assert found["stepwise"]["membranes_skipped_after_a_flip"] == later
    assert found["free_running"]["first_flips"][0] == flip and found["free_running"]["unexplained_first_flips"] == 0
    assert found["free_running"]["different_hidden_spikes"] >= 1 and found["free_running"]["ok"]


def test_the_limit_is_relative_to_the_membrane():
    mine = window_of(np.array([[3.0, 100.0, 0.0]]))
    figures = []
    for difference in (0.9e-5, 1.1e-5):
        stepwise = Stepwise([1e9, 1e9])
        theirs = mine.membranes[0][0] + difference * (1 + mine.membranes[0][0])
        stepwise.add(0, 0, mine, np.zeros((1, 3)), [theirs, mine.membranes[1][0]])
        figures.append(stepwise.figures())
    assert [found["beyond_limit"] for found in figures] == [0, 3]
    assert [found["ok"] for found in figures] == [True, False]
    stepwise = Stepwise([1e9, 1e9])
    stepwise.add(0, 0, mine, np.zeros((1, 3)), [np.full((1, 3), np.nan), mine.membranes[1][0]])
    assert stepwise.figures()["beyond_limit"] == 3, "what is no number differs"


def window_of(membrane):
    return Recording(np.zeros((1, *membrane.shape)), [membrane[None], membrane[None]])


def test_listed_flips_are_few_and_counted_flips_are_all(made):
    def flip(spikes, membranes):
        spikes[:] = 1 - spikes

    many = made.x.repeat(20, 1, 1, 1)
    found = equality(made.step, Altered(made.step, flip), windows(made.step, [many], size=60))["stepwise"]
    assert found["flipped_spikes"] == found["unexplained_flips"] == 60 * 6
    assert len(found["flips"]) == LISTED
