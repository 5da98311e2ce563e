"""Which iterations a job has, and which images each learns from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from csnn_jax import data
from csnn_jax.config import TrainConfig
from csnn_jax.training import plan


@st.composite
def jobs(draw) -> tuple[TrainConfig, int]:
    images = draw(st.integers(1, 40))
    config = TrainConfig(
        epochs=draw(st.integers(1, 4)),
        batch_size=draw(st.integers(1, images)),
        max_iters=draw(st.one_of(st.none(), st.integers(1, 60))),
        seed=draw(st.integers(0, 5)),
    )
    return config, images


@given(jobs(), st.integers(0, 60))
def test_a_resumed_job_goes_through_the_rest_of_the_same_batches(made, done):
    config, images = made
    epochs = [data.epoch_batches(config.seed, e, images, config.batch_size) for e in range(config.epochs)]
    whole = np.concatenate(epochs)[: config.max_iters]
    assert plan.iterations(config, images) == len(whole)
    rest = list(plan.batches(config, images, done))
    assert [iteration for iteration, _ in rest] == list(range(done, len(whole)))
    for iteration, index in rest:
        np.testing.assert_array_equal(index, whole[iteration])
