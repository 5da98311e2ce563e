"""NumPy's operations; those of JAX and torch have the same bits, see test_leaky.py."""

import numpy as np

from csnn_jax.neurons.operations import Numpy


def test_they_keep_float32_and_mask_exactly():
    ops, x = Numpy(), np.array([-1, 0.5, 1, 1.5], np.float32)
    fired = ops.fired(x, np.float32(1))
    np.testing.assert_array_equal(fired, [False, False, False, True])
    for masked in (ops.masked(fired, x), ops.masked(fired, np.float32(1.5))):
        assert masked.dtype == np.float32
        np.testing.assert_array_equal(masked, [0, 0, 0, 1.5])
    third = np.float32(1 / 3)
    assert ops.decayed(third, x).dtype == np.float32 and ops.decayed(third, x)[3] == third * np.float32(1.5)
