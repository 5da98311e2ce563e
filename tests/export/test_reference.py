"""The reference in torch; tests/test_matrix.py compares it."""

import numpy as np
import pytest
from export_networks import OTHER

from export import reference


def test_images_other_than_bytes_are_refused():
    """Bundles store bytes."""
    with pytest.raises(ValueError, match="images are float32, expected uint8"):
        reference.inputs(OTHER, np.zeros((1, *OTHER.input_shape), np.float32))
