"""What is counted from the predictions over a split."""

import numpy as np

from csnn_jax.runs.metrics import Evaluation

RESULT = Evaluation(
    labels=np.array([0, 0, 0, 1, 3, 3], np.uint8),
    predictions=np.array([0, 2, 0, 0, 3, 3]),
    densities={"lif1": 0.1},
    num_classes=4,
)


def test_accuracy_is_the_share_predicted_right():
    assert RESULT.accuracy == 4 / 6


def test_confusion_has_the_true_class_in_the_row():
    np.testing.assert_array_equal(RESULT.confusion, [[2, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]])


def test_per_class_accuracy_is_none_for_a_class_without_images():
    assert RESULT.per_class == [2 / 3, 0.0, None, 1.0]
