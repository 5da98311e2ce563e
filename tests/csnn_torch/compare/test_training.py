"""Two trainings side by side: equal ones stay together, and where one is another, that shows at once."""

import numpy as np
import pytest

from csnn_jax import data
from csnn_jax.config import Config, TrainConfig, decided
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
