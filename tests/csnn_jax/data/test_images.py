"""Images of data sets and of callers become the bytes, counts or floats that a network takes."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.config.pixels import Pixels
from csnn_jax.data.images import (
    as_floats,
    as_images,
    as_learned,
    check_floats,
    check_shape,
    fit,
    pixels_of,
    to_learn_from,
    to_uint8,
)
from csnn_jax.errors import UserError

RNG = np.random.default_rng(0)


def random_images(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def test_color_becomes_gray_as_in_pillow():
    images = random_images(3, 16, 16, 3)
    fitted, notes = fit(images, (16, 16, 1), "x")
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    np.testing.assert_array_equal(fitted[..., 0], expected)
    r, g, b = np.moveaxis(images.astype(float), -1, 0)
    assert abs(fitted[..., 0] - (0.299 * r + 0.587 * g + 0.114 * b)).max() <= 0.51, "ITU-R 601"
    assert notes == ["x: converted to gray (ITU-R 601 luma)"]


def test_gray_is_repeated_in_every_channel():
    images = random_images(3, 4, 5, 1)
    fitted, notes = fit(images, (4, 5, 3), "x")
    np.testing.assert_array_equal(fitted, np.repeat(images, 3, axis=-1))
    assert notes == ["x: gray repeated to color"]


@pytest.mark.parametrize("shape", [(8, 6, 3), (32, 40, 3)])
def test_resizing_matches_pillow(shape):
    images = random_images(2, 16, 12, 3)
    fitted, notes = fit(images, shape, "x")
    size = (shape[1], shape[0])
    expected = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in images]
    np.testing.assert_array_equal(fitted, expected)
    assert notes == [f"x: resized to {shape[0]}x{shape[1]} (bilinear, antialiased)"]


def test_leading_axes_and_odd_channels_are_kept():
    frames = random_images(2, 3, 8, 8, 2)  # [N, T, H, W, C] from an event camera
    fitted, _ = fit(frames, (4, 4, 2), "x")
    assert fitted.shape == (2, 3, 4, 4, 2)
    np.testing.assert_array_equal(fitted[1, 2], fit(frames[1, 2], (4, 4, 2), "x")[0])


@pytest.mark.parametrize(("found", "wanted"), [(2, 3), (3, 2), (1, 2), (2, 1), (4, 3)])
def test_other_channels_are_refused(found, wanted):
    with refusing(UserError, f"input_shape 4 4 {wanted}", found, "x"):
        fit(random_images(1, 4, 4, found), (4, 4, wanted), "x")


def test_floats_are_scaled():
    scaled, notes = to_uint8(np.array([0, 0.5, 1], np.float32), "x")
    assert scaled.dtype == np.uint8 and scaled.tolist() == [0, 128, 255]
    assert notes == ["x: float32 images scaled to 0..255"]
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(every / 255, "x")[0], every)
    assert to_uint8(every, "x") == (pytest.approx(every), [])


@pytest.mark.parametrize(
    "images", [np.array([0, 1.5]), np.array([-0.1, 1]), np.array([0, np.nan]), np.array([0, 300], np.uint16)]
)
def test_other_numbers_are_refused(images):
    with refusing(UserError, images.dtype, 0, 255):
        to_uint8(images, "x")


BYTES = random_images(3, 4, 5, 1)
BYTES.flat[:2] = 0, 255
FLOATS = BYTES / np.float32(255)


@pytest.mark.parametrize("values", [BYTES, FLOATS, BYTES > 99], ids=["bytes", "floats", "booleans"])
@pytest.mark.parametrize("made", [np.asarray, jnp.asarray, torch.tensor, np.ndarray.tolist])
def test_every_array_type_gives_the_same_images(values, made):
    images = as_images(made(values), "images")
    assert isinstance(images, np.ndarray) and images.dtype == (np.float32 if values is FLOATS else np.uint8)
    np.testing.assert_array_equal(images, values)


def test_tensors_with_gradients_are_images_too():
    np.testing.assert_array_equal(as_images(torch.nn.Parameter(torch.tensor(FLOATS)), "images"), FLOATS)


@pytest.mark.parametrize(
    ("images", "facts"),
    [
        (np.array(["a", "b"]), ("<U1",)),
        ([[1, 2], [3]], ("type list",)),
        (np.array([0, 300]), (0, 300, 255)),
        (torch.tensor([-1, 3]), (-1, 3)),
        ([torch.ones(2, requires_grad=True)], ("type list",)),
    ],
)
def test_invalid_images_are_refused(images, facts):
    with refusing(ValueError, *facts):
        as_images(images, "x")


@pytest.mark.parametrize(
    ("size", "shape", "hint"),
    [
        ((9, 8, 6), None, r": a channel axis is missing, as in images\[..., None\]$"),
        ((9, 3, 8, 6), None, r": channels come last, as in numpy.moveaxis\(images, -3, -1\)$"),
        ((0, 8, 6, 1), None, r"\[N, T, H, W, C\] with at least one image$"),
        ((9, 8, 6), (8, 6, 1), r"\[N, 8, 6, 1\] or \[N, T, 8, 6, 1\]: a channel axis is missing"),
        ((8, 6, 1), (8, 6, 1), r": a batch axis is missing, as in images\[None\]$"),
        ((9, 1, 8, 6), (8, 6, 1), ": channels come last"),
        ((9, 7, 7, 1), (8, 6, 1), r"\[N, T, 8, 6, 1\]$"),
    ],
)
def test_errors_name_a_missing_axis(size, shape, hint):
    # the advice is the feature, and its absence where it would be wrong
    with pytest.raises(ValueError, match=rf"x are \[{', '.join(map(str, size))}\], expected .*{hint}"):
        check_shape(np.zeros(size, np.uint8), "x", shape)


@pytest.mark.parametrize(("values", "scale"), [([0.0, 1.0], 255), ([0.0, 0.3], 1), ([0.0, 255.0], 1)])
def test_floats_that_a_network_takes(values, scale):
    check_floats(np.array(values), "x", scale)


@pytest.mark.parametrize(
    ("values", "scale", "facts"),
    [
        ([0, 1.5], 255, (0, "1.5", 1, "uint8")),
        ([-0.5, 1], 1, ("-0.5", 1, 0, 255)),
        *(([0, high], 1, (0, high, 255)) for high in (256, 1.5)),
        ([0, np.nan], 255, ("x", "nan")),
    ],
)
def test_other_floats_are_refused(values, scale, facts):
    with refusing(ValueError, *facts):
        check_floats(np.array(values), "x", scale)


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
        ((2, 3, 3, 1), 2.0**-9, False, (2**20, 12)),
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
    largest = np.full_like(counts, 16)
    assert as_learned(largest, COUNTS_IN) is largest and as_learned(FLOATS / 2, FLOATS_IN).max() == 0.5
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
