"""Weights of 8 bits are the nearest there are; test_program.py runs the program that has them."""

import numpy as np

from export.c import int8


def test_a_weight_becomes_the_nearest_of_its_channels_255():
    weight = np.random.default_rng(0).normal(size=(3, 4, 3, 3)).astype(np.float32) * [[[[1.0]]], [[[1e-4]]], [[[30.0]]]]
    weight = weight.astype(np.float32)
    found = int8.quantise(weight)
    assert found.weight.dtype == np.int8 and found.scale.dtype == np.float32 and found.scale.shape == (3,)
    np.testing.assert_array_equal(np.abs(found.weight).reshape(3, -1).max(1), 127)
    half = found.scale.reshape(3, 1, 1, 1) / 2
    assert (np.abs(found.values - weight) <= half * (1 + 1e-5)).all()
    again = int8.quantise(found.values)
    np.testing.assert_array_equal(again.weight, found.weight)
    none = int8.quantise(np.zeros((2, 5), np.float32))
    assert not none.weight.any() and none.scale.tolist() == [1, 1]
