"""Two trainings side by side: equal ones stay together, and where one is another, that shows at once."""

import numpy as np
import pytest

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, TrainConfig, decided
from csnn_jax.network import model as jax_model
from csnn_jax.network.neuron import leaky
from csnn_torch.compare import training

pytestmark = pytest.mark.numeric


def test_every_epoch_has_batches_of_its_own():
    config = Config(train=TrainConfig(batch_size=4, seed=1))
    found = training.batches(config, 10, 5)
    assert [len(index) for index in found] == [4] * 5
    for epoch in (found[:2], found[2:4]):
        assert len(set(np.concatenate(epoch).tolist())) == 8
    assert not np.array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[4], data.epoch_batches(1, 2, 10, 4)[0])


@pytest.mark.parametrize(("off", "first_flip"), [(1.0, None), (0.9, 0)])
def test_a_flipped_spike_is_seen_before_the_iteration(case, off, first_flip, monkeypatch):
    monkeypatch.setattr(jax_model, "leaky", lambda u, i, beta, theta, *rest: leaky(u, i, beta, off * theta, *rest))
    config = decided(Config(case.config, train=TrainConfig(batch_size=6, engine="scan", lr=1e-6)))
    split = data.Split(case.images, case.labels.astype(np.int32))
    found = training.together(config, split, 1, case.tensors, "the run's")
    assert found.first_flip == first_flip and (found.differences[0] < 1e-6) == (first_flip is None)
    assert found.counted and found.checks() == [] and set(found.distance) == set(case.tensors)
    assert found.batch_size == 6 and found.engine.startswith("JAX ") and "scan engine" in found.engine


def test_both_sides_train_on_the_runs_augmented_images(case):
    """The loss before the first update is that of the augmented images, on both sides."""
    rng = np.random.default_rng(3)
    # Whole eighths would put membranes of grey pixels on the threshold, where rounding decides.
    tensors = {name: rng.uniform(-1, 1, tensor.shape).astype(np.float32) for name, tensor in case.tensors.items()}
    split = data.Split(case.images, case.labels.astype(np.int32))
    settings = TrainConfig(batch_size=6, engine="scan", lr=1e-6)

    def losses(images: np.ndarray, changes: DataConfig) -> dict[str, list[float]]:
        job = decided(Config(case.config, changes, settings))
        found = training.together(job, data.Split(images, split.labels), 1, tensors, "the run's")
        assert found.first_flip is None and found.counted
        return found.losses

    augment, plain = DataConfig(augment=(1.0, 20.0, 0.1), flip=True), DataConfig()
    (index,) = training.batches(Config(train=settings), 6, 1)
    moved = split.images.copy()
    moved[index] = data.Augmentation(split.images, augment.augment, settings.seed, augment.flip).batch(0, index)
    assert losses(split.images, augment) == losses(moved, plain) != losses(split.images, plain)
