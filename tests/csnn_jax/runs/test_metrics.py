import numpy as np
import pytest

from csnn_jax.config import ModelConfig
from csnn_jax.runs import metrics
from csnn_jax.runs.metrics import Evaluation

RESULT = Evaluation(
    labels=np.array([0, 0, 0, 1, 3, 3], np.uint8),
    predictions=np.array([0, 2, 0, 0, 3, 3]),
    densities={"lif1": 0.1},
    num_classes=4,
)


def test_accuracy_confusion_and_classes():
    assert RESULT.accuracy == 4 / 6
    rows = [[2, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]  # the true class is the row
    np.testing.assert_array_equal(RESULT.confusion, rows)
    assert RESULT.per_class == [2 / 3, 0.0, None, 1.0]


FLAT = {"input_shape": (1, 1, 3), "conv_channels": (), "hidden": (3,), "num_classes": 2}


def look(images: np.ndarray, time_steps: int, threshold: float = 0.5) -> tuple[metrics.NeuronSummary, list[int]]:
    """The second layer's neurons if it copies the pixels, and the batch sizes."""
    sizes = []

    def run(some: np.ndarray, number: int) -> list[metrics.Moments]:
        assert number == len(sizes)
        sizes.append(len(some))
        layer = metrics.moments(some[None, :, 0, 0, :], np.float64(threshold))
        return [layer, layer]

    return metrics.summarize(images, ModelConfig(time_steps=time_steps, **FLAT), run)["lif2"], sizes


@pytest.mark.parametrize("images", [32, 5, 1])
def test_a_look_sums_the_membranes_of_32_images(images):
    values = np.random.default_rng(0).uniform(-1, 1, (images, 1, 1, 3))
    values[..., 2] = -1
    neurons, sizes = look(values, time_steps=1)
    assert (sizes, neurons.channels, neurons.threshold) == ([32], 3, 0.5)
    assert neurons.dead == (~(values > 0.5).any((0, 1, 2))).sum() >= 1
    taken = values[np.linspace(0, images - 1, 32).astype(int)]
    expected = (taken.mean(), taken.std(), taken.max(), ((taken > 0.25) & (taken < 0.75)).mean())
    assert (neurons.mean, neurons.deviation, neurons.highest, neurons.near) == pytest.approx(
        expected, rel=1e-3, abs=1e-9
    )


def test_long_windows_take_a_few_images_at_a_time_with_the_same_result():
    values = np.random.default_rng(0).uniform(-1, 1, (400, 1, 1, 3))
    whole, _ = look(values, time_steps=1)
    parts, sizes = look(values, time_steps=2**23 // 5)  # 64 MiB per image
    assert sizes == [4] * 8 and parts == whole
    assert look(values, time_steps=2**24)[1] == [1] * 32


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_membranes_are_none_for_json(value):
    neurons, _ = look(np.full((32, 1, 1, 3), value), time_steps=1)
    assert (neurons.mean, neurons.deviation, neurons.highest) == (None, None, None)
    assert neurons.dead == (3 if np.isnan(value) else 0)
