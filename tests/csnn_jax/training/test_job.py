"""Which iterations a job has, and which job may be resumed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csnn_jax import data
from csnn_jax.config import Config, TrainConfig
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags
from csnn_jax.runs import rundir
from csnn_jax.training import job


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
    assert job.iterations(config, images) == len(whole)
    rest = list(job.batches(config, images, done))
    assert [iteration for iteration, _ in rest] == list(range(done, len(whole)))
    for iteration, index in rest:
        np.testing.assert_array_equal(index, whole[iteration])


@pytest.fixture
def interrupted(tmp_path):
    run = rundir.create(str(tmp_path / "run"), Config())
    run.record("end", iter=3, interrupted=True, seconds=1.0)
    return run


def resume(run, config=None):
    return job.resumed(TrainFlags(out=str(run.path), resume=True), config or Config())


def test_only_epochs_and_iterations_may_change(interrupted):
    longer = replace(Config(), train=TrainConfig(epochs=2, max_iters=7))
    assert resume(interrupted, longer) == interrupted and interrupted.config() == longer
    with pytest.raises(UserError, match=r"--lr: .* was started with 0.01, not 0.5; --resume can only change"):
        resume(interrupted, replace(longer, train=replace(longer.train, lr=0.5)))
    assert interrupted.config() == longer


def test_a_finished_job_is_not_resumed_unless_it_gets_longer(interrupted):
    interrupted.record("end", iter=468, interrupted=False, accuracy=0.9, seconds=2.0)
    with pytest.raises(UserError, match="is finished; expected an interrupted run, or more --epochs"):
        resume(interrupted)
    resume(interrupted, replace(Config(), train=TrainConfig(epochs=2)))
