from dataclasses import replace

import jax
import numpy as np
import pytest
from refusals import refusing

from csnn_jax.config import Config, ModelConfig
from csnn_jax.network.model import CSNN, tensors
from csnn_jax.trained import Trained

COUNTS = ModelConfig(input_shape=(12, 10, 2), conv_channels=(6,), hidden=(9,), num_classes=4, time_steps=7, scale=1.0)


def network(**changes) -> Trained:
    """A network whose weights are multiples of a power of two, so sums are equal in any order."""
    config = Config(replace(COUNTS, **changes))
    model = CSNN(config.model, 3)
    rounded = {name: np.round(array * 256) / 64 for name, array in tensors(model).items()}
    return Trained(config, rounded)


def drawn(config: ModelConfig, batch: int) -> np.ndarray:
    shape = (batch, config.time_steps, *config.input_shape)
    return np.random.default_rng(1).poisson(0.3, shape).astype(np.uint8)


KINDS = [
    dict(reset="zero", pool="avg", learn_beta=True),
    dict(neuron="synaptic", reset=("zero", "subtract", "none"), per_channel=("alpha",), alpha=0.25, threshold=8.0)
    | dict(readout="membrane"),
    dict(neuron="synaptic", output="integrator"),
]


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_after_the_last_frame_the_scores_equal_those_of_the_window(changes):
    model = network(**changes)
    frames = drawn(model.config.model, 3)
    expected = model.classify(frames).scores
    assert len(np.unique(expected)) > 2
    stream, several = model.stream(), model.stream(3)
    for recording, scores in zip(frames, expected, strict=True):
        stream.reset()
        steps = [stream(frame) for frame in recording]
        np.testing.assert_array_equal(steps[-1].scores, scores)
        if model.config.model.readout == "spikes":
            np.testing.assert_array_equal(
                np.cumsum([step.spikes for step in steps], 0), [step.scores for step in steps]
            )
    last = [several(frames[:, t]) for t in range(frames.shape[1])][-1]
    np.testing.assert_array_equal(last.scores, expected)


def test_returned_arrays_do_not_change():
    model = network()
    frames = drawn(model.config.model, 1)[0]
    stream = model.stream()
    first = stream(frames[0])
    copied = jax.tree.map(np.copy, first)
    for frame in frames[1:]:
        stream(frame)
    jax.tree.map(np.testing.assert_array_equal, first, copied)


@pytest.mark.parametrize(
    ("frame", "facts"),
    [
        (np.zeros((10, 12, 2), np.uint8), ([10, 12, 2], [12, 10, 2])),
        (np.full((12, 10, 2), "a"), ("pixels", "<U1", "numbers")),
        (np.full((12, 10, 2), np.nan), ("nan", "floats from 0 to 1")),
    ],
)
def test_other_frames_are_refused_and_change_nothing(frame, facts):
    model = network()
    frames = drawn(model.config.model, 1)
    stream = model.stream()
    for right in frames[0]:
        with refusing(ValueError, "frame", *facts):
            stream(frame)
        last = stream(right)
    np.testing.assert_array_equal(last.scores, model.classify(frames).scores[0])


def test_a_stream_has_at_least_one_batch():
    with refusing(ValueError, "batch is 0", "at least 1"):
        network().stream(0)


def test_a_network_with_an_encoding_accepts_only_spikes():
    stream = network(encoding="rate", scale=256.0).stream()
    with refusing(ValueError, "frame", 0, 1, "rate"):
        stream(np.full((12, 10, 2), 200, np.uint8))
    for kind in (np.uint8, bool):
        assert stream((np.arange(240).reshape(12, 10, 2) % 2).astype(kind)).spikes.shape == (4,)


def test_counts_may_be_floats_but_pixels_may_not():
    model, counts = network(), drawn(COUNTS, 2)
    expected = model.classify(counts).scores
    for same in (counts.astype(np.float32), jax.numpy.asarray(counts)):
        np.testing.assert_array_equal(model.classify(same).scores, expected)
    stream = model.stream(2)
    last = [stream(counts[:, t].astype(np.float32)) for t in range(counts.shape[1])][-1]
    np.testing.assert_array_equal(last.scores, expected)
    with refusing(ValueError, 0, 1, "uint8"):
        network(scale=256.0).stream()(np.full((12, 10, 2), 200.0))
