"""Comparing values regardless of how a processor treats subnormals."""

import numpy as np
from refusals import refusing

from csnn_jax.runs.equality import SMALLEST, canonical, differ


def test_subnormals_and_the_sign_of_zero_make_no_difference():
    small, least = np.float32(1e-40), np.float32(2.0**-126)
    values = np.array([0.0, -0.0, small, -small, least, -least, 1.0], np.float32)
    assert differ(values, np.array([-0.0, small, 0.0, -0.0, least, -least, 1.0], np.float32)) == 0
    assert canonical(values).tobytes() == np.array([0, 0, 0, 0, least, -least, 1], np.float32).tobytes()
    assert np.nextafter(SMALLEST, np.float32(0)) != 0


def test_every_other_bit_makes_a_difference():
    values = np.array([1.0, -3.5, 2.0**-100, np.inf], np.float32)
    assert differ(values, values) == 0
    assert differ(values, np.nextafter(values, np.float32(0))) == 4
    assert differ(np.array([np.nan]), np.array([np.nan])) == 1
    with refusing(ValueError, "[4]", "[3]"):
        differ(values, values[:3])
