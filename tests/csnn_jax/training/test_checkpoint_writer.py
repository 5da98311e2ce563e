"""Checkpoints are written while training continues, and hold the state at the time of the request."""

import os
import time

import numpy as np
import pytest
from disk import largest_file
from refusals import refusing
from stepping import step

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.runs import checkpoints, rundir, weights
from csnn_jax.runs.metrics import Evaluation
from csnn_jax.training.checkpoint_writer import CheckpointWriter
from csnn_jax.training.loop import CheckpointDue, Evaluated, Stepped
from csnn_jax.update.trainer import Trainer
from csnn_torch.trainer import Trainer as TorchTrainer

MODEL = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(), num_classes=3, time_steps=4)


def job(**changes) -> Config:
    return decided(Config(MODEL, DataConfig(validation=4), TrainConfig(batch_size=5, **changes)))


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    return data.Split(rng.integers(0, 256, (16, 8, 8, 1), np.uint8), rng.integers(0, 3, 16).astype(np.uint8))


def make(config, split, tmp_path, kind=Trainer):
    run = rundir.create(str(tmp_path / "run"), config)
    trainer = kind(config, split)
    return run, trainer, CheckpointWriter(config, trainer, run)


@pytest.mark.parametrize("kind", [Trainer, TorchTrainer])
def test_later_steps_do_not_change_a_checkpoint_being_written(kind, split, tmp_path):
    run, trainer, writer = make(job(), split, tmp_path, kind)
    with writer:
        step(trainer, split, 0, np.arange(5), 0.1)
        then = {name: array.copy() for name, array in trainer.snapshot().items()}
        writer.keep(1)
        for iteration in (1, 2):
            step(trainer, split, iteration, np.arange(5), 0.1)
    later = trainer.snapshot()
    assert any(not np.array_equal(later[name], array) for name, array in then.items())
    iteration, state = checkpoints.restore(run.checkpoints, later)
    assert iteration == 1 and {k: v.tobytes() for k, v in state.items()} == {k: v.tobytes() for k, v in then.items()}
    expected = step(trainer, split, 3, np.arange(5), 0.1), trainer.snapshot()
    trainer.restore(state)
    assert weights.to_bytes(trainer.tensors(), trainer.config.model) == run.weights.read_bytes()
    for iteration in (1, 2):
        step(trainer, split, iteration, np.arange(5), 0.1)
    again = step(trainer, split, 3, np.arange(5), 0.1), trainer.snapshot()
    assert again[0].loss == expected[0].loss
    assert {k: v.tobytes() for k, v in again[1].items()} == {k: v.tobytes() for k, v in expected[1].items()}


def evaluation(accuracy: float) -> Evaluation:
    labels = np.zeros(10, int)
    return Evaluation(labels, np.arange(10) >= 10 * accuracy, {"lif1": 0.1}, 3)


def test_the_newest_and_the_best_are_kept(split, tmp_path):
    run, trainer, writer = make(job(keep_checkpoints=2), split, tmp_path)
    with writer:
        for done, accuracy in ((1, 0.5), (2, 0.9), (3, None), (4, 0.9), (5, 0.1), (6, None)):
            if accuracy is not None:
                run.record("validation", iter=done, accuracy=accuracy)
            writer(CheckpointDue(done) if accuracy is None else Evaluated(done, "validation", evaluation(accuracy)))
    assert checkpoints.numbers(run.checkpoints) == [2, 5, 6]
    assert [run.at(name).checkpoint for name in ("best", "last", "5")] == [2, 6, 5]
    assert run.at("best").weights == run.path / "checkpoints" / "2" / "weights.safetensors"
    with CheckpointWriter(job(keep_checkpoints=1), trainer, run) as again:  # reads the scores like a resumed run
        again.keep(7)
    assert checkpoints.numbers(run.checkpoints) == [2, 7]


def test_weights_out_of_range_are_reported_and_replace_nothing(split, tmp_path):
    run, trainer, writer = make(job(optimizer="sgd"), split, tmp_path)
    with refusing(UserError, "iteration 2", "magnitudes"), writer:
        writer.keep(1)
        writer.wait()
        before = run.weights.read_bytes()
        step(trainer, split, 0, np.arange(5), 1e20)
        writer.keep(2)
    assert run.weights.read_bytes() == before and os.listdir(run.checkpoints) == ["1"]


@pytest.mark.parametrize("told", ["step", "keep", "end"])
def test_a_full_disk_is_reported_at_the_next_step_or_at_the_end(told, split, tmp_path):
    run, trainer, writer = make(job(), split, tmp_path)
    writer.keep(1)
    writer.wait()
    step(trainer, split, 0, np.arange(5), 0.1)
    size = len(weights.to_bytes(trainer.tensors(), trainer.config.model)) + 100
    with refusing(UserError, run.checkpoints / "2" / "state.safetensors", "too large"), largest_file(size), writer:
        writer.keep(2)
        deadline = time.monotonic() + 60
        while told == "step" and time.monotonic() < deadline:
            writer(Stepped(2, None, 0.0))
        assert told != "step"
        if told == "keep":
            writer.keep(3)
    assert os.listdir(run.checkpoints) == ["1"]
    assert checkpoints.restore(run.checkpoints, trainer.snapshot())[0] == 1
