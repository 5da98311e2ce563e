"""Batches: each image once, spikes with the probability of their pixel, and dropped neurons."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.config.network import MOST_STEPS
from csnn_jax.data import as_input, encode, epoch_batches, eval_batches
from csnn_jax.data.batches import dropout_masks, dropout_sizes, epoch_permutation
from csnn_jax.errors import UserError

seeds = st.integers(0, 2**32)
counts = st.integers(1, 300)


@given(seed=seeds, epoch=st.integers(0, 1000), n=counts)
def test_permutations_hold_each_image_once_and_are_repeatable(seed, epoch, n):
    order = epoch_permutation(seed, epoch, n)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, epoch_permutation(seed, epoch, n))


def test_default_job_has_468_batches():
    batches = epoch_batches(0, 0, 60_000, 128)
    assert batches.shape == (468, 128) and batches.dtype == np.int32
    np.testing.assert_array_equal(batches.ravel(), epoch_permutation(0, 0, 60_000)[: 468 * 128])


@pytest.mark.parametrize("batch_size", [0, -1, 101])
def test_batch_sizes_without_a_whole_batch_are_refused(batch_size):
    with refusing(UserError, f"batch_size {batch_size}", "1 to 100"):
        epoch_batches(0, 0, 100, batch_size)


@given(n=counts, batch_size=st.integers(1, 300))
def test_eval_batches_visit_each_image_once(n, batch_size):
    index, valid = eval_batches(n, batch_size)
    assert index.shape == valid.shape == (-(-n // batch_size), batch_size)
    assert index.dtype == np.int32 and valid.dtype == np.bool_
    np.testing.assert_array_equal(index[valid], np.arange(n))
    assert not index[~valid].any()


EVERY_VALUE = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def test_rate_spikes_with_the_probability_of_the_pixel():
    steps = 20_000
    spikes = encode(EVERY_VALUE, steps, "rate", (0, 0))
    assert spikes.shape == (steps, 1, 16, 16, 1) and spikes.dtype == np.uint8 and spikes.max() == 1
    rate, p = spikes.mean(axis=0), EVERY_VALUE / 255
    # At 0 and 255 sigma is 0: those must be exact.
    assert (abs(rate - p) <= 5 * np.sqrt(p * (1 - p) / steps)).all()


def test_rate_draws_pixels_and_steps_independently():
    half = np.full((1, 64, 64, 1), 128, np.uint8)
    spikes = encode(half, 256, "rate", (3,)).reshape(256, -1) - 128 / 255
    n = spikes[1:].size
    for lagged in (spikes[1:] * spikes[:-1], spikes[:, 1:] * spikes[:, :-1]):
        assert abs(lagged.mean()) < 5 * 0.25 / np.sqrt(n)


def test_rate_stream_is_frozen():
    """Repeating a run requires exactly these spikes, with any NumPy version."""
    spikes = encode(EVERY_VALUE, 3, "rate", (0, 7))
    digest = hashlib.sha256(spikes.tobytes()).hexdigest()
    assert digest == "31c8c051493aff89f62d03eda777f4bc6804bdf305b9be33c300bb6535ce2f38"


@given(steps=st.integers(1, 300))
def test_latency_spikes_once_at_the_nearest_step(steps):
    spikes = encode(EVERY_VALUE, steps, "latency", ()).reshape(steps, 256)
    assert spikes.dtype == np.uint8
    assert spikes.sum(axis=0).tolist() == [0] + [1] * 255
    exact = (1 - np.arange(1, 256) / 255) * (steps - 1)
    step = spikes[:, 1:].argmax(axis=0)
    assert (abs(step - exact) < 0.5).all()
    assert (np.diff(step) <= 0).all(), "a brighter pixel never spikes later"
    assert step[-1] == 0


def test_latency_in_the_longest_window():
    spikes = encode(np.array([1, 255], np.uint8).reshape(2, 1, 1, 1), MOST_STEPS, "latency", ())
    assert spikes.reshape(MOST_STEPS, 2).argmax(0).tolist() == [round(254 / 255 * (MOST_STEPS - 1)), 0]


@pytest.mark.parametrize(
    ("images", "steps", "encoding", "within", "facts"),
    [
        (EVERY_VALUE, 10, "direct", None, ("'direct'", "'rate'", "'latency'")),
        (EVERY_VALUE / 255, 10, "rate", None, ("float64",)),
        (EVERY_VALUE[0], 10, "rate", None, ("(16, 16, 1)",)),
        (EVERY_VALUE, 0, "rate", None, ("0 steps",)),
        *((EVERY_VALUE, 5, "rate", within, ("5 steps",)) for within in ((3, 3), (-1, 3), (0, 0))),
    ],
)
def test_invalid_arguments_are_refused(images, steps, encoding, within, facts):
    with refusing(ValueError, *facts):
        encode(images, steps, encoding, (0,), within=within)


@pytest.mark.parametrize("encoding", ["rate", "latency"])
def test_the_scale_is_the_value_that_means_one(encoding):
    gray = np.arange(0, 256, 5, dtype=np.uint8).reshape(1, 1, -1, 1)
    fifth = (gray // 5).astype(np.uint8)  # the same images in steps of 1, where 51 means 1
    expected = encode(gray, 12, encoding, (0, 0))
    np.testing.assert_array_equal(encode(fifth, 12, encoding, (0, 0), scale=51), expected)
    ones = np.ones((1, 2, 2, 1), np.uint8)
    assert encode(ones, 12, encoding, (0, 0), scale=1).sum() == (48 if encoding == "rate" else 4)


@pytest.mark.parametrize("encoding", ["rate", "latency"])
@pytest.mark.parametrize("first, count", [(0, 3), (4, 3), (7, 0), (0, 7)])
def test_part_of_a_batch_spikes_as_in_the_whole(encoding, first, count):
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 2), np.uint8)
    whole = encode(images, 9, encoding, (1, 2))
    part = encode(images[first : first + count], 9, encoding, (1, 2), within=(first, 7))
    np.testing.assert_array_equal(part, whole[:, first : first + count])


def test_a_networks_input_is_an_image_frames_or_spikes():
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 2), np.uint8)
    direct, rate = (
        ModelConfig((5, 4, 2), (), time_steps=6, encoding=encoding, scale=64) for encoding in ("direct", "rate")
    )
    assert as_input(images, direct, (0,)) is images
    np.testing.assert_array_equal(as_input(images, rate, (1, 2)), encode(images, 6, "rate", (1, 2), 64))
    part = as_input(images[1:], rate, (1, 2), (1, 3))
    np.testing.assert_array_equal(part, encode(images, 6, "rate", (1, 2), 64)[:, 1:])
    frames = np.stack([images, images[::-1]], 1)
    np.testing.assert_array_equal(as_input(frames, direct, (0,))[1], images[::-1])


MODEL = ModelConfig(input_shape=(12, 12, 1), conv_channels=(4, 6), hidden=(40,), num_classes=5)


def test_inputs_of_linear_layers_are_dropped():
    assert dropout_sizes(MODEL) == [3 * 3 * 6, 40]
    assert [mask.shape for mask in dropout_masks(MODEL, 0.5, 0, 0, 7)] == [(7, 54), (7, 40)]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_of_neurons_kept(share):
    model = ModelConfig(input_shape=(12, 12, 1), conv_channels=(), hidden=(400, 300))
    for mask in dropout_masks(model, share, 3, 5, 200):
        deviation = np.sqrt(share * (1 - share) / mask.size)
        assert mask.dtype == bool and abs(mask.mean() - (1 - share)) < 5 * deviation


def test_draws_depend_only_on_seed_and_iteration():
    first = dropout_masks(MODEL, 0.5, 0, 7, 9)
    for seed, iteration in ((1, 7), (0, 8)):
        others = dropout_masks(MODEL, 0.5, seed, iteration, 9)
        for one, other in zip(first, others, strict=True):
            assert 0.3 < (one != other).mean() < 0.7
    assert 0.3 < (first[0][0] != first[0][1]).mean() < 0.7
    counts = [int(mask.sum()) for mask in dropout_masks(MODEL, 0.25, 0, 0, 2)]
    assert counts == [83, 53], "NumPy guarantees Philox's stream"
