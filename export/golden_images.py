"""`golden/images.safetensors`: the test images that a bundle holds. Reading them needs neither torch nor ONNX."""

from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from csnn_jax.data import Split
from csnn_jax.errors import UserError

FOLDER = "golden"
IMAGES = f"{FOLDER}/images.safetensors"
STEP_SETS, SEQUENCE_SETS = 100, 10
"""How many steps and whole windows a bundle holds."""


def count(time_steps: int) -> int:
    """How many images these are made of, where the test set has as many."""
    return max(SEQUENCE_SETS, -(-STEP_SETS // time_steps))


def images(folder: Path) -> Split:
    """The test images that the golden sets are made of, and their labels.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / IMAGES
    try:
        arrays = safetensors.numpy.load(path.read_bytes())
        found = Split(arrays["images"], arrays["labels"])
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: expected a safetensors file with images and labels: {error}") from None
    if found.images.dtype != np.uint8 or found.images.ndim not in (4, 5):
        raise UserError(f"{path}: expected images uint8 [N, H, W, C] or [N, T, H, W, C] and as many labels")
    return found
