"""The proof finds no difference in an equal network, and every difference in an altered one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from export_networks import INTEGRATOR, OTHER, changed, firing

from csnn_jax.config import Config, ModelConfig
from csnn_jax.data import Split
from csnn_jax.runs.layouts import on_grid
from csnn_jax.runs.metrics import BATCH
from csnn_jax.window import output
from export import reference
from export.network import Network
from export.parts import sequence, weights
from export.proof.equality import PIECE, CheckImages, equality, problems, windows
from export.proof.runners import onnx_runner, scores, step_scores, torch_runner, window

pytestmark = pytest.mark.numeric

NEURONS = sum(node.size for node in OTHER.graph.neurons)


class Altered:
    """Runs the reference network and alters the result of step `time`."""

    def __init__(self, step, alter, time=3):
        self.runner, self.alter, self.time, self.calls = torch_runner(step), alter, time, 0

    def __call__(self, membranes, x):
        after, spikes = self.runner(membranes, x)
        spikes, after = spikes.copy(), [u.copy() for u in after]
        if self.calls % OTHER.time_steps == self.time:
            self.alter(spikes, after)
        self.calls += 1
        return after, spikes


@pytest.fixture
def made():
    return firing(OTHER)


def test_a_network_equals_itself(made):
    comparison = equality(made.step, torch_runner(made.step), windows(made.step, [made.x, made.x[:2]], size=2))
    assert comparison.figures() == {
        **{"images": 5, "time_steps": 12, "predictions": 5, "different_predictions": 0},
        **{"spikes": 5 * 12 * NEURONS, "different_spikes": 0, "membranes": 5 * 12 * NEURONS, "different_membranes": 0},
    }
    assert problems("torch", comparison) == []


@pytest.mark.parametrize("name", ["conv1.weight", "conv2.bias", "fc2.weight", "lif3.beta"])
def test_an_altered_parameter_is_found(made, name):
    """Only the last bit is changed."""
    model = changed(made.models["step.onnx"], name, lambda value: np.nextafter(value, np.float32(9)))
    comparison = equality(made.step, onnx_runner(model), windows(made.step, [made.x]))
    figures = comparison.figures()
    assert 0 < figures["different_membranes"] < figures["membranes"] == 3 * 12 * NEURONS
    (line,) = problems("it", comparison)
    assert f"{figures['different_membranes']:,} of {figures['membranes']:,} membranes" in line


def test_a_flipped_output_spike_is_found(made):
    def flip(spikes, membranes):
        spikes[1, 4] = 1 - spikes[1, 4]

    comparison = equality(made.step, Altered(made.step, flip), windows(made.step, [made.x]))
    (line,) = problems("it", comparison)
    total = 3 * 12 * NEURONS
    assert line.startswith(f"in it, 1 of {total:,} spikes (1 in lif4), 0 of {total:,} membranes and ")
    assert "; first at step 3, lif4, image 1, neuron 4: spike " in line


def test_a_membrane_that_differs_in_the_last_bit_is_found(made):
    def above(spikes, membranes):
        membranes[-1][2, 0] = np.nextafter(membranes[-1][2, 0], np.float32(9))

    comparison = equality(made.step, Altered(made.step, above, OTHER.time_steps - 1), windows(made.step, [made.x]))
    assert (comparison.spikes["lif4"].different, comparison.membranes["lif4"].different) == (0, 1)
    assert comparison.first.place[:4] == (OTHER.time_steps - 1, 3, 2, (0,))


def test_the_output_membranes_and_every_state_are_compared():
    """For a network that is read from its membranes; a current that differs only in its last bit is found, too."""
    made = firing(INTEGRATOR)
    states = len(made.images) * 12 * 2 * (5 * 4 * 4 + 11 + 4)
    comparison = equality(made.step, torch_runner(made.step), windows(made.step, [made.x]))
    figures = comparison.figures()
    assert figures["membranes"] == states + len(made.images) * 12 * 4 and figures["spikes"] == states / 2
    assert problems("it", comparison) == []

    def current(output, states):
        states[4][1, 2] = np.nextafter(states[4][1, 2], np.float32(9))

    def output(output, states):
        output[1, 2] = np.nextafter(output[1, 2], np.float32(9))

    for alter in (current, output):
        comparison = equality(made.step, Altered(made.step, alter, 11), windows(made.step, [made.x]))
        figures = comparison.figures()
        assert (figures["different_spikes"], figures["different_membranes"]) == (0, 1)


def test_subnormal_membranes_are_equal_if_a_program_flushes_them():
    """With beta 0.1, no bias, and input that stops, torch and ONNX Runtime keep subnormals; XLA flushes them to 0."""
    config = ModelConfig((2, 2, 1), (), hidden=(3,), num_classes=2, beta=0.1, bias=False, encoding="latency")
    rng = np.random.default_rng(0)
    shapes = {"fc1.weight": (3, 4), "fc2.weight": (2, 3)}
    tensors = {name: rng.uniform(0.2, 2, shape).astype(np.float32) for name, shape in shapes.items()}
    tensors = on_grid(config, tensors)
    step = reference.Step(config, tensors)
    images = rng.integers(200, 256, (4, 2, 2, 1), np.uint8)
    expected = [*windows(step, [reference.inputs(config, images)])]
    smallest = min(np.abs(u[u != 0]).min() for u in expected[0].trace.membranes.values())
    assert smallest < 2.0**-126 and expected[0].trace.spikes["lif2"].any()
    assert problems("csnn_jax", weights.equality(config, tensors, expected)) == []


@pytest.mark.parametrize("config", [OTHER, INTEGRATOR], ids=["spikes", "membranes"])
def test_every_graph_gives_the_same_scores(config):
    """Spikes are counted; membranes are added in float32, step by step."""
    made = firing(config)
    outputs = output(made.config, *window(torch_runner(made.step), made.step, made.x))
    expected = np.zeros_like(outputs[0])
    for one in outputs:
        expected += one
    assert expected.any()
    np.testing.assert_array_equal(scores(torch_runner(made.step), made.config, made.x), expected)
    for file in ("step.onnx", "step_b1.onnx"):
        totals = step_scores(made.models[file], made.config)(made.x)
        np.testing.assert_array_equal(totals, expected)
    np.testing.assert_array_equal(sequence.scores(made.models["sequence.onnx"])(made.x), expected)


def drawn(count: int, compared: int, **changes) -> CheckImages:
    images = np.random.default_rng(0).integers(0, 256, (count, *OTHER.input_shape), np.uint8)
    network = Network(Config(replace(OTHER, **changes)), firing(OTHER).tensors)
    return CheckImages(network, Split(images, np.arange(count) % OTHER.num_classes), compared)


def test_every_image_is_in_one_batch_and_the_first_ones_are_compared():
    made = drawn(BATCH + 3, BATCH + 1)
    xs, labels = zip(*made.batches(), strict=True)
    expected = torch.from_numpy(made.test.images).moveaxis(-1, -3) / OTHER.entering.scale
    assert torch.equal(torch.cat(xs), expected) and np.array_equal(np.concatenate(labels), made.test.labels)
    first, again = [*made.compared], [*made.compared]
    assert torch.equal(torch.cat([one.x for one in first]), expected[: BATCH + 1])
    assert all(a is b for a, b in zip(first, again, strict=True)), "torch's windows are run once"
    assert torch.equal(made.few(2), expected[:2])


def test_encoded_images_are_sequences_and_the_first_do_not_depend_on_how_many_are_compared():
    made = drawn(7, 5, encoding="rate")
    few, ((whole, _),) = next(made.compared).x, [*made.batches()]
    assert few.shape == (OTHER.time_steps, 5, 2, 12, 10) and torch.equal(few, whole[:, :5])


def test_accuracy_takes_the_lowest_class_on_ties():
    scores = np.array([[0, 2, 2, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], np.float32)  # of classes 0, 1, 2
    made = drawn(BATCH + 3, 1)
    answers = np.resize([1, 0, 0], BATCH + 3)
    starts = iter(range(0, BATCH + 3, PIECE))

    def program(x):
        return np.resize(scores, (BATCH + 3, 6))[next(starts) :][: len(x)]

    assert made.accuracy(program) == pytest.approx((answers == made.test.labels).mean())
