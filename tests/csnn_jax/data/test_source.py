"""What all readers of data share."""

import numpy as np

from csnn_jax.data.source import mixed


def test_any_part_has_the_classes_of_the_whole():
    labels = np.repeat([0, 1, 2], [40, 20, 10])
    order = mixed(labels)
    assert sorted(order) == list(range(70))
    for part in (order[:7], order[-7:], order[28:42]):
        shares = np.bincount(labels[part], minlength=3) / len(part)
        np.testing.assert_allclose(shares, [4 / 7, 2 / 7, 1 / 7], atol=1 / 7)


def test_a_class_keeps_its_order():
    labels = np.repeat([0, 1], [5, 3])
    order = mixed(labels)
    assert list(order[labels[order] == 0]) == [0, 1, 2, 3, 4]
