"""The reference in torch; tests/test_matrix.py compares it."""

import numpy as np
from export_networks import OTHER
from refusals import refusing

from export import reference


def test_images_other_than_bytes_are_refused():
    """Bundles store bytes."""
    with refusing(ValueError, "images", "float32", "uint8"):
        reference.inputs(OTHER, np.zeros((1, *OTHER.input_shape), np.float32))
