import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refusing

from csnn_jax.data.images import as_images, check_floats, check_shape, fit, to_uint8
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
FLOATS = BYTES / np.float32(255)


@pytest.mark.parametrize("values", [BYTES, FLOATS, BYTES > 99], ids=["bytes", "floats", "booleans"])
@pytest.mark.parametrize("made", [np.asarray, jnp.asarray, torch.tensor, np.ndarray.tolist])
def test_every_array_type_gives_the_same_images(values, made):
    found = as_images(made(values), "images")
    assert isinstance(found, np.ndarray) and found.dtype == (np.float32 if values is FLOATS else np.uint8)
    np.testing.assert_array_equal(found, values)


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
    ("found", "shape", "hint"),
    [
        ((9, 8, 6), None, r": a channel axis is missing, as in images\[..., None\]$"),
        ((9, 3, 8, 6), None, r": channels come last, as in numpy.moveaxis\(images, -3, -1\)$"),
        ((0, 8, 6, 1), None, r"\[N, T, H, W, C\]$"),
        ((9, 8, 6), (8, 6, 1), r"\[N, 8, 6, 1\] or \[N, T, 8, 6, 1\]: a channel axis is missing"),
        ((8, 6, 1), (8, 6, 1), r": a batch axis is missing, as in images\[None\]$"),
        ((9, 1, 8, 6), (8, 6, 1), ": channels come last"),
        ((9, 7, 7, 1), (8, 6, 1), r"\[N, T, 8, 6, 1\]$"),
    ],
)
def test_errors_name_a_missing_axis(found, shape, hint):
    # the advice is the feature, and its absence where it would be wrong
    with pytest.raises(ValueError, match=rf"x are \[{', '.join(map(str, found))}\], expected .*{hint}"):
        check_shape(np.zeros(found, np.uint8), "x", shape)


@pytest.mark.parametrize(("values", "scale"), [([0.0, 1.0], 255), ([0.0, 0.3], 1), ([0.0, 40.0], 1)])
def test_floats_that_a_network_takes(values, scale):
    check_floats(np.array(values), scale, "x go")


@pytest.mark.parametrize(
    ("values", "scale", "facts"),
    [
        ([0, 1.5], 255, (0, "1.5", 1, "uint8")),
        ([-0.5, 1], 1, ("-0.5", 1, 0, 255)),
        ([0, np.nan], 255, ("x", "nan")),
    ],
)
def test_other_floats_are_refused(values, scale, facts):
    with refusing(ValueError, *facts):
        check_floats(np.array(values), scale, "x go")
