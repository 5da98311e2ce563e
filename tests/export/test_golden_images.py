"""Images of a bundle that are missing or damaged are told by their path."""

import numpy as np
import pytest
import safetensors.numpy

from csnn_jax.errors import UserError
from export.golden_images import IMAGES, images

LABELS = np.zeros(2, np.int32)


def save(folder, **arrays: np.ndarray) -> None:
    (folder / IMAGES).parent.mkdir()
    safetensors.numpy.save_file(arrays, folder / IMAGES)


def test_images_with_a_time_axis_are_read_too(tmp_path):
    save(tmp_path, images=np.ones((2, 3, 4, 5, 1), np.uint8), labels=LABELS)
    assert images(tmp_path).images.shape == (2, 3, 4, 5, 1)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (np.ones((2, 4, 5, 1)), r"expected images uint8 \[N, H, W, C\]"),
        (np.ones((2, 4, 5), np.uint8), r"expected images uint8 \[N, H, W, C\]"),
        (np.ones((3, 4, 5, 1), np.uint8), "expected .*: 2 labels for 3 images"),
    ],
)
def test_other_arrays_are_refused(wrong, message, tmp_path):
    save(tmp_path, images=wrong, labels=LABELS)
    with pytest.raises(UserError, match=rf"images\.safetensors: {message}"):
        images(tmp_path)


def test_a_missing_file_and_one_without_images_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"images\.safetensors: expected a safetensors file with images and labels"):
        images(tmp_path)
    save(tmp_path, labels=LABELS)
    with pytest.raises(UserError, match=r"images\.safetensors: expected a safetensors file with images and labels"):
        images(tmp_path)
