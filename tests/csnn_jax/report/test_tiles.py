import io

import numpy as np
import pytest
from PIL import Image

from csnn_jax.report import tiles


def test_a_png_holds_the_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4), np.uint8)
    with Image.open(io.BytesIO(tiles.png(pixels))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)


@pytest.mark.parametrize(
    "shape, shown", [((4, 5, 1), (4, 5)), ((4, 5, 3), (4, 5, 3)), ((4, 5, 2), (4, 5)), ((7, 4, 5, 2), (4, 5))]
)
def test_images_of_any_kind_can_be_shown(shape, shown):
    image = np.random.default_rng(0).integers(0, 2, shape, np.uint8)
    pixels = tiles.still(image)
    assert pixels.shape == shown and pixels.dtype == np.uint8
    if shape[-1] != 3:
        assert pixels.max() == 255
    assert tiles.still(np.zeros(shape, np.uint8)).max() == 0


@pytest.mark.parametrize("shape", [(4, 5, 1), (4, 5, 3), (3, 4, 5, 1), (3, 4, 5, 3), (3, 4, 5, 2)])
def test_floats_are_shown_as_bytes(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    image.flat[0] = 255
    floats = image / np.float32(255)
    np.testing.assert_array_equal(tiles.still(floats), tiles.still(image))
    assert tiles.still(3 * np.round(floats)).dtype == np.uint8
    if len(shape) == 4:
        np.testing.assert_array_equal(tiles.film(floats), tiles.film(image))


def test_a_film_has_the_frames_side_by_side_and_then_their_sum():
    frames = np.zeros((3, 4, 5, 2), np.uint8)
    frames[0, 1, 2] = 2, 0
    frames[2, 3, 4] = 0, 1
    film = tiles.film(frames)
    assert film.shape == (4, 4 * 5, 3) and film.dtype == np.uint8
    darker, brighter, nothing, whole = film[1, 2], film[3, 10 + 4], film[1, 5 + 2], film[:, 15:]
    assert darker[2] > darker[0] and brighter[0] > brighter[2] and len(set(nothing.tolist())) == 1
    np.testing.assert_array_equal(whole[..., 0], tiles.still(frames))
    assert tiles.film(np.zeros((2, 4, 5, 3), np.uint8)).shape == tiles.film(np.zeros((2, 4, 5, 1), np.uint8)).shape
