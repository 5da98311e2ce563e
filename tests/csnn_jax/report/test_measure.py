import numpy as np
import pytest
from bundles import INTEGRATOR, SPIKES, make_run
from digits import few_digits
from tfds_files import prepare_frames

from csnn_jax.config import NEVER, ModelConfig
from csnn_jax.report import measure, subject
from csnn_jax.trained import Trained

EVENTS = ModelConfig(input_shape=(8, 8, 2), conv_channels=(4,), hidden=(12,), num_classes=2, time_steps=5, scale=1.0)


@pytest.fixture(scope="module", params=["rate", "membranes", "frames"])
def measured(request, tmp_path_factory):
    """(subject, measurements, network)."""
    tmp_path = tmp_path_factory.mktemp(request.param)
    if request.param == "frames":
        frames = np.random.default_rng(0).integers(0, 3, (40, 5, 8, 8, 2), np.uint8)
        run = make_run(tmp_path / "run", EVENTS, prepare_frames(tmp_path, frames, np.arange(40) % 2))
    else:
        model = {"rate": SPIKES, "membranes": INTEGRATOR}[request.param]
        run = make_run(tmp_path / "run", model, few_digits(tmp_path / "digits", train=20, test=150))
    reported = subject.read(str(run), 0, None)
    return reported, measure.measure(reported), Trained(reported.config, reported.tensors)


def test_the_answers_match_evaluation(measured):
    one, measurements, network = measured
    split = one.dataset.test
    np.testing.assert_array_equal(measurements.scores, network.classify(split.images).scores)
    assert measurements.scores.any()
    expected = network.evaluate(split)
    assert measurements.result.accuracy == expected.accuracy == pytest.approx(measurements.by_step[-1])
    np.testing.assert_array_equal(measurements.result.confusion, expected.confusion)


def test_the_neurons_match_a_look(measured):
    one, measurements, network = measured
    assert measurements.neurons == network.summarize_neurons(one.dataset.test.images)
    for number, (name, neurons) in enumerate(measurements.neurons.items()):
        if neurons.threshold is not None:
            assert len(measure.dead(measurements.activity, number)) == neurons.dead
        assert measure.rates(measurements.activity, number).mean() == pytest.approx(measurements.densities[name])
    assert all(one.shares.sum() == pytest.approx(1) for one in measurements.membranes)


def test_examples_match_traces(measured):
    one, measurements, network = measured
    split, layers = one.dataset.test, one.config.model.graph.neurons
    thresholds = [np.float32(layer.operation.values(one.tensors)["threshold"]) for layer in layers]
    assert measurements.thresholds == [None if (theta == NEVER).all() else theta.mean() for theta in thresholds]
    shown = [example.label for example in measurements.examples]
    assert set(shown) == set(split.labels.tolist())
    for example in measurements.examples[:3]:
        assert example.label == split.labels[example.index]
        np.testing.assert_array_equal(example.image, split.images[example.index])
        output = example.membranes[-1] if one.sums_membranes else example.spikes[-1]
        assert example.answer == output.cumsum(0)[-1].argmax()
        assert [layer.shape[1:] for layer in example.spikes] == [layer.shape for layer in layers]
        for membranes, spikes, threshold in zip(example.membranes, example.spikes, thresholds, strict=True):
            np.testing.assert_array_equal(spikes, membranes > threshold)
        if one.config.model.encoding == "direct":
            trace = network.trace(split.images[example.index : example.index + 1])
            for mine, theirs in zip(example.spikes, trace.spikes.values(), strict=True):
                np.testing.assert_array_equal(mine, theirs[:, 0] > 0)


def test_the_worst_mistakes_come_first():
    counts = np.array([[5, 0], [9, 0], [3, 4], [0, 9], [2, 2]])
    labels = np.array([0, 1, 0, 1, 1])
    assert measure.mistakes(labels, counts).tolist() == [1, 2, 4]
    assert measure.chosen(labels, counts) == [0, 3, 1, 2]


def test_values_outside_a_histogram_are_in_its_outer_bars():
    histogram = measure.histogram(np.array([-100.0, 0.1, 0.9, 100.0, np.nan]), 0, 1)
    assert histogram.shares[0] == histogram.shares[-1] == 0.25 and histogram.shares.sum() == 1
    alike = measure.histogram(np.zeros(10))
    assert alike.shares.sum() == 1
    assert measure.histogram(np.full(3, np.nan)).shares.sum() == 0
