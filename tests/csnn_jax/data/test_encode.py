import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.data import as_input, encode

EVERY_VALUE = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def test_rate_spikes_with_the_probability_of_the_pixel():
    steps = 20_000
    spikes = encode(EVERY_VALUE, steps, "rate", (0, 0))
    assert spikes.shape == (steps, 1, 16, 16, 1) and spikes.dtype == np.uint8
    assert spikes.max() == 1
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
