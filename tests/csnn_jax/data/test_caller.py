import numpy as np
import pytest
import torch
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.config.pixels import Pixels
from csnn_jax.data.images import as_floats, as_learned, pixels_of, to_learn_from


@pytest.mark.parametrize(
    ("shape", "most", "floats", "entry"),
    [
        ((2, 3, 3, 1), 255, False, (256, 8)),
        ((2, 3, 3, 1), 9, False, (256, 8)),
        ((2, 3, 3, 1), 1, False, (1, 0)),
        ((2, 5, 3, 3, 1), 9, False, (1, 4)),
        ((2, 5, 3, 3, 1), 16, False, (1, 4)),
        ((2, 5, 3, 3, 1), 17, False, (1, 5)),
        ((2, 5, 3, 3, 1), 255, True, (256, 8)),
        ((2, 3, 3, 1), 1.0, False, (1, 0)),
        ((2, 3, 3, 1), 0.5, False, (2**13, 12)),
        ((2, 3, 3, 1), 0.51, False, (2**12, 12)),
        ((2, 5, 3, 3, 1), 7.0, False, (1, 3)),
    ],
)
def test_scale_and_input_bits_depend_on_the_data(shape, most, floats, entry):
    images = np.zeros(shape, np.float32 if isinstance(most, float) else np.uint8)
    images.flat[3] = most
    assert pixels_of(images, floats) == Pixels(*entry)


def test_multiples_of_one_255th_are_bytes():
    every = np.arange(256, dtype=np.uint8)
    made = (every / np.float32(255), every / 255, every * np.float32(1 / 255), torch.tensor(every).div(255).numpy())
    for floats in made:
        np.testing.assert_array_equal(to_learn_from(floats), every, strict=True)
    for others in (every / 256, every / 255 + 1e-4, -(every / 255), every / 128, np.array([0, np.nan])):
        assert to_learn_from(others) is others


BYTES = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 1), np.uint8)
FLOATS = BYTES / np.float32(255)
BYTES_IN, COUNTS_IN = ModelConfig(), ModelConfig(scale=1.0, input_bits=4)
FLOATS_IN = ModelConfig(scale=4096.0, input_bits=11)


def test_an_image_does_not_depend_on_the_others():
    others = FLOATS * np.float32(0.77)
    mixed = as_learned(np.concatenate([FLOATS, others]), BYTES_IN)
    np.testing.assert_array_equal(mixed[: len(FLOATS)] * 256, BYTES)
    np.testing.assert_array_equal(mixed[len(FLOATS) :], others)
    with refusing(ValueError, "images", 255, 128):
        as_learned(np.ones((1, 2, 2, 1), np.float32), ModelConfig(scale=256.0, input_bits=7))


def test_images_are_converted_as_in_training():
    """Bytes, counts, or floats; values above the training range are an error."""
    assert as_learned(BYTES, BYTES_IN) is BYTES
    np.testing.assert_array_equal(as_learned(FLOATS, BYTES_IN), BYTES)
    others = FLOATS * np.float32(0.77)
    np.testing.assert_array_equal(as_learned(others, BYTES_IN), others)
    np.testing.assert_array_equal(as_learned(BYTES // 2, FLOATS_IN), BYTES // 2 / np.float32(255))
    counts = np.arange(16, dtype=np.uint8).reshape(1, 2, 4, 2, 1)
    assert as_learned(counts, COUNTS_IN) is counts
    for images, model, most in ((counts + 1, COUNTS_IN, 16), (others, FLOATS_IN, 0.5), (BYTES, COUNTS_IN, 16)):
        if most == 16:
            images = np.maximum(images, 17)
        with refusing(ValueError, "x", most):
            as_learned(images, model, "x")


def test_bytes_are_divided_and_floats_rounded():
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(as_floats(every, BYTES_IN), every / 256)
    np.testing.assert_array_equal(as_floats(np.array([0.5, 1.5, 2.5, 255.7]) / 256, BYTES_IN) * 256, [0, 2, 2, 256])
    np.testing.assert_array_equal(as_floats(every, ModelConfig(encoding="rate")), every)
