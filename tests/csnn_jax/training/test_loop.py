"""The order of training in both frameworks: one step ahead of the reports, and no report is lost."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from refusals import refusing
from stepping import step
from trainings import job_of

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.config.pixels import Pixels
from csnn_jax.errors import UserError
from csnn_jax.runs import checkpoints, rundir, weights
from csnn_jax.training import plan
from csnn_jax.training.job import FRESH, train_into
from csnn_jax.training.loop import CheckpointDue, Loop, Stepped
from csnn_jax.update.trainer import Trainer
from csnn_torch.trainer import Trainer as TorchTrainer

MODEL = ModelConfig(
    input_shape=(8, 8, 1), conv_channels=(4,), hidden=(), num_classes=3, time_steps=4, surrogate="atan", scale=256.0
)
pytestmark = pytest.mark.parametrize("kind", [Trainer, TorchTrainer])


def job(**changes) -> Config:
    train = {"batch_size": 5, "epochs": 2, "lr": 0.05, "init": "calibrated", "schedule": "constant", "eval_every": 0}
    return decided(Config(MODEL, DataConfig(validation=4), TrainConfig(**train | changes)))


def drawn() -> data.Dataset:
    rng = np.random.default_rng(0)

    def split(count: int) -> data.Split:
        return data.Split(rng.integers(0, 256, (count, 8, 8, 1), np.uint8), rng.integers(0, 3, count).astype(np.uint8))

    return data.Dataset("drawn", split(20), split(4), split(6), ("0", "1", "2"), Pixels(), ())


@pytest.fixture
def dataset() -> data.Dataset:
    return drawn()


def begin(kind, config, dataset) -> Loop:
    return Loop(job_of(config, dataset, kind(config, dataset.train)))


def write(trainer, config: Config, dataset: data.Dataset, path: Path, go_on=lambda: True) -> tuple[rundir.RunDir, int]:
    """Trains into a run directory, as the command does; returns it and the iterations done."""
    run = rundir.create(str(path), config)
    return run, train_into(job_of(config, dataset, trainer), run, FRESH, go_on)


class Reached(NamedTuple):
    """What a trainer has after an iteration."""

    snapshot: dict[str, np.ndarray]
    tensors: dict[str, np.ndarray]
    look: dict


@functools.cache
def reached(kind) -> list[Reached]:
    """What a trainer has before the job and after each iteration, fetched immediately."""
    config, dataset = job(), drawn()
    trainer = kind(config, dataset.train)

    def now() -> Reached:
        return Reached(trainer.snapshot(), trainer.tensors(), trainer.summarize_neurons(dataset.train.images))

    history = [now()]
    for iteration, index in plan.batches(config.train, len(dataset.train.labels)):
        assert step(trainer, dataset.train, iteration, index, config.train.lr).fetched().finite
        history.append(now())
    if kind is Trainer:
        assert trainer._update._cache_size() == 1  # compiled once
    return history


def in_bytes(snapshot: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in snapshot.items()}


def test_a_step_is_reported_once_the_next_one_is_dispatched(kind, dataset):
    happened = []

    class Dispatching(kind):
        def step(self, batch, rate):
            happened.append(f"step {batch.iteration}")
            return super().step(batch, rate)

        def evaluate(self, split, go_on):
            happened.append(f"evaluate {len(split.labels)}")
            return super().evaluate(split, go_on)

    loop = begin(Dispatching, job(eval_every=3, max_iters=7, checkpoint_every=5), dataset)
    for event in loop.events(0):
        if isinstance(event, Stepped):
            assert isinstance(event.metrics.loss, float) and event.metrics.finite is True
            happened.append(f"stepped {event.iteration}")
        if isinstance(event, CheckpointDue):
            happened.append(f"checkpoint {event.done}")
    assert event.done == 7
    assert happened == [
        "evaluate 4",
        *("step 0", "step 1", "stepped 1", "step 2", "stepped 2", "stepped 3", "evaluate 4"),
        *("step 3", "step 4", "stepped 4", "stepped 5", "checkpoint 5", "step 5", "stepped 6", "evaluate 4"),
        *("step 6", "stepped 7", "checkpoint 7", "evaluate 6"),
    ]


@pytest.mark.parametrize("validation", [True, False])
def test_every_report_has_the_number_of_iterations_done(validation, kind, dataset, tmp_path, capsys):
    """Even if the last evaluation coincides with the end: the test images are then evaluated once."""
    config = job(eval_every=4, keep_checkpoints=9)
    dataset = dataset if validation else replace(dataset, validation=None)
    run, _ = write(kind(config, dataset.train), config, dataset, tmp_path / "run")
    name, evaluated = ("validation", [0, 4, 8]) if validation else ("test", [0, 4])
    lines = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("Iter")]
    assert lines == [f"Iter {number}, {name.capitalize()} Acc" for number in evaluated]
    assert [record["iter"] for record in run.records(name)] == evaluated
    assert [record["iter"] for record in run.records("train")] == list(range(1, 9))
    assert [record["iter"] for record in run.records("end")] == [8]
    assert checkpoints.numbers(run.checkpoints) == [0, 4, 8]


@pytest.mark.parametrize("asked", [1, 4])
def test_an_interrupt_keeps_the_iterations_done_and_their_records(kind, asked, dataset, tmp_path):
    config, answers = job(), iter([True] * asked)
    trainer = kind(config, dataset.train)
    run, ended = write(trainer, config, dataset, tmp_path / "run", lambda: next(answers, False))
    assert ended == asked and [record["interrupted"] for record in run.records("end")] == [True]
    assert [record["iter"] for record in run.records("train")] == list(range(1, asked + 1))
    expected = reached(kind)[asked]
    assert in_bytes(trainer.snapshot()) == in_bytes(expected.snapshot)
    assert run.weights.read_bytes() == weights.to_bytes(expected.tensors, MODEL)


def test_reports_on_neurons_belong_to_their_iteration(kind, dataset):
    loop = begin(kind, job(), dataset)

    seen = [loop.summarize_neurons() for event in loop.events(0) if isinstance(event, Stepped)]
    summaries = [one.look for one in reached(kind)[1:]]
    assert seen == summaries and summaries[3] != summaries[4]


def test_steps_after_a_nonfinite_one_change_nothing(kind, dataset, tmp_path):
    """An infinite learning rate blows up the weights; the next iteration detects it after another one is dispatched."""

    class Unbounded(kind):
        def step(self, batch, rate):
            return super().step(batch, np.inf if batch.iteration == 3 else rate)

    config = job()
    trainer, run = Unbounded(config, dataset.train), rundir.RunDir(tmp_path / "run")
    with refusing(UserError, "iteration 5", "finite", run.weights, "lr"):
        write(trainer, config, dataset, run.path)
    assert [record["iter"] for record in run.records("train")] == [1, 2, 3, 4]
    expected = reached(kind)[3].tensors
    for name, tensor in weights.load(run.weights)[1].items():
        np.testing.assert_array_equal(tensor, expected[name])
    before = in_bytes(trainer.snapshot())
    assert not step(trainer, dataset.train, 5, range(5), 0.1).fetched().finite
    assert in_bytes(trainer.snapshot()) == before
    trainer.restore(reached(kind)[2].snapshot)
    assert step(trainer, dataset.train, 2, range(5), 0.1).fetched().finite
