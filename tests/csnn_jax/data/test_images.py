import numpy as np
import pytest
from PIL import Image

from csnn_jax.data.images import fit, scale_of, to_uint8
from csnn_jax.errors import UserError

RNG = np.random.default_rng(0)


def random_images(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def test_images_that_fit_are_left_alone():
    images = random_images(2, 5, 6, 1)
    fitted, notes = fit(images, (5, 6, 1), "x")
    assert fitted is images and notes == []


def test_colour_turns_grey_as_pillow_does():
    images = random_images(3, 16, 16, 3)
    fitted, notes = fit(images, (16, 16, 1), "x")
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    np.testing.assert_array_equal(fitted[..., 0], expected)
    r, g, b = np.moveaxis(images.astype(float), -1, 0)
    assert abs(fitted[..., 0] - (0.299 * r + 0.587 * g + 0.114 * b)).max() <= 0.51, "ITU-R 601"
    assert notes == ["x: turned grey (ITU-R 601 luma)"]


def test_grey_is_repeated_to_colour():
    images = random_images(3, 4, 5, 1)
    fitted, notes = fit(images, (4, 5, 3), "x")
    np.testing.assert_array_equal(fitted, np.repeat(images, 3, axis=-1))
    assert notes == ["x: grey repeated to colour"]


@pytest.mark.parametrize("shape", [(8, 6, 3), (32, 40, 3)])
def test_resizing_is_pillows(shape):
    images = random_images(2, 16, 12, 3)
    fitted, notes = fit(images, shape, "x")
    size = (shape[1], shape[0])
    expected = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in images]
    np.testing.assert_array_equal(fitted, expected)
    assert notes == [f"x: resized to {shape[0]}x{shape[1]} (bilinear, antialiased)"]


def test_halving_is_antialiased():
    """A checkerboard of single pixels must turn an even grey; plain sampling would keep it black or white."""
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None]
    fitted, _ = fit(board, (8, 8, 1), "x")
    assert abs(fitted[1:-1, 1:-1].astype(int) - 127).max() <= 2


def test_leading_axes_and_odd_channels_are_kept():
    frames = random_images(2, 3, 8, 8, 2)  # [N, T, H, W, C] of an event camera
    fitted, _ = fit(frames, (4, 4, 2), "x")
    assert fitted.shape == (2, 3, 4, 4, 2)
    np.testing.assert_array_equal(fitted[1, 2], fit(frames[1, 2], (4, 4, 2), "x")[0])


@pytest.mark.parametrize(("found", "wanted"), [(2, 3), (3, 2), (1, 2), (2, 1), (4, 3)])
def test_other_channels_are_refused(found, wanted):
    with pytest.raises(
        UserError, match=f"--input-shape 4 4 {wanted}: expected {found} as the number of channels, as x has"
    ):
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
    with pytest.raises(
        UserError, match=f"x: {images.dtype} images from .* expected whole numbers from 0 to 255, or floats"
    ):
        to_uint8(images, "x")


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int16, np.int64, np.uint16])
def test_booleans_and_whole_numbers_stay_as_they_are(dtype):
    values = np.array([0, 1, 1], dtype)
    found, notes = to_uint8(values, "x")
    assert found.dtype == np.uint8 and found.tolist() == [0, 1, 1] and notes == []


@pytest.mark.parametrize(
    ("shape", "most", "floats", "scale"),
    [
        ((2, 3, 3, 1), 255, False, 255),
        ((2, 3, 3, 1), 2, False, 255),
        ((2, 3, 3, 1), 1, False, 1),
        ((2, 5, 3, 3, 1), 1, False, 1),
        ((2, 5, 3, 3, 1), 9, False, 1),
        ((2, 5, 3, 3, 1), 255, False, 1),
        ((2, 5, 3, 3, 1), 255, True, 255),
        ((2, 3, 3, 1), 1, True, 255),
    ],
)
def test_the_scale_belongs_to_the_data(shape, most, floats, scale):
    images = np.zeros(shape, np.uint8)
    images.flat[3] = most
    assert scale_of(images, floats) == scale
