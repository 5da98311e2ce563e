"""Which iterations a job has, and which job may be resumed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig, TrainConfig
from csnn_jax.errors import UserError
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


class AtIteration:
    """Restores nothing but the number of iterations."""

    def __init__(self, iteration: int):
        self.iteration = iteration

    def restore(self, directory) -> int:
        return self.iteration


DIGITS = data.load("mnist", (28, 28, 1))
TEN = replace(DIGITS, train=data.Split(DIGITS.train.images[:1280], DIGITS.train.labels[:1280]))  # iterations an epoch


def job_config(**changes) -> Config:
    return Config(data.fit_model(ModelConfig(), TEN), train=TrainConfig(**changes))


@pytest.fixture
def interrupted(tmp_path):
    run = rundir.create(str(tmp_path / "run"), job_config())
    run.record("train", iter=4, loss=1.0)
    run.record("end", iter=5, interrupted=True, seconds=1.0)
    return run


def resume(run, done, **changes):
    return job.resumed(run, job_config(**changes), AtIteration(done), TEN)


def files(run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.iterdir()}


def test_a_run_goes_on_for_more_iterations(interrupted):
    assert resume(interrupted, 5, epochs=2, max_iters=7) == 5
    assert interrupted.config().train == TrainConfig(epochs=2, max_iters=7)
    assert interrupted.records() == [{"kind": "train", "iter": 4, "loss": 1.0}]


@pytest.mark.parametrize(
    ("done", "changes", "flag"), [(5, {"max_iters": 4}, "--max-iters 4"), (15, {"epochs": 1}, "--epochs 1")]
)
def test_fewer_iterations_than_were_done_are_refused_and_change_nothing(interrupted, done, changes, flag):
    before = files(interrupted)
    with pytest.raises(UserError, match=f"{flag}: .* has done {done} iterations already; expected at least as many"):
        resume(interrupted, done, **changes)
    assert files(interrupted) == before


def test_a_finished_job_is_resumed_only_for_more_iterations_or_for_its_pictures(interrupted):
    interrupted.record("end", iter=10, interrupted=False, accuracy=0.9, seconds=2.0)
    before = files(interrupted)
    assert resume(interrupted, 10) == 10 and files(interrupted) == before  # no pictures yet
    for name in job.PICTURES:
        (interrupted.path / name).write_bytes(b"a picture")
    with pytest.raises(UserError, match="is finished; expected more iterations, by --epochs or --max-iters"):
        resume(interrupted, 10)
    assert resume(interrupted, 10, epochs=2) == 10
    assert not interrupted.finished
