"""What training prints, records and keeps."""

import time

import numpy as np
import pytest

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.runs import rundir
from csnn_jax.runs.metrics import Evaluation, StepMetrics
from csnn_jax.runs.records import Records
from csnn_jax.training.journal import RecordingJournal, WritingJournal
from csnn_jax.update.trainer import Trainer

MODEL = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(), num_classes=3, time_steps=4, scale=256.0)
METRICS = StepMetrics(1.05, True, np.array([0.1, 0.2]), np.array([0.5, 0.25]))
RESULT = Evaluation(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]), {"lif1": 0.1, "lif2": 0.2}, 3)


SPLIT = data.Split(np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), np.uint8), np.arange(10) % 3)


@pytest.fixture
def trainer():
    return Trainer(decided(Config(MODEL, train=TrainConfig(batch_size=5, eval_images=4))), SPLIT)


def told(journal) -> None:
    """Reports an iteration, an evaluation, a checkpoint and the end of training."""
    with journal:
        journal.step(1, METRICS, time.perf_counter())
        journal.evaluated(1, "test", RESULT)
        journal.keep(1)
        journal.finished(1, "test", RESULT)


def written(trainer, run) -> WritingJournal:
    return WritingJournal(trainer.config, trainer, run, 0, 1, lambda: trainer.look(SPLIT.images))


def test_training_is_printed_recorded_and_kept(trainer, tmp_path, capsys):
    run = rundir.create(str(tmp_path / "run"), trainer.config)
    told(written(trainer, run))
    accuracy = "Test Acc: 75.00% (of 4 images)"
    assert [line for line in capsys.readouterr().out.splitlines() if "Acc" in line] == [
        f"Iter 1, {accuracy}",
        "Final Test Accuracy: 75.00% (of 4 images)",
    ]
    step, test, end = run.records()
    assert (step["loss"], step["density"]) == (1.05, {"lif1": 0.1, "lif2": 0.2}) and step["images_per_s"] > 0
    assert (step["iter"], test["iter"]) == (1, 1)
    assert (test["kind"], test["accuracy"], list(test["dead"])) == ("test", 0.75, ["lif1", "lif2"])
    assert (end["iter"], end["interrupted"], end["accuracy"]) == (1, False, 0.75)
    assert run.weights.is_file() and (run.checkpoints / "1").is_dir()


def test_a_muted_journal_prints_nothing_but_records_everything(trainer, tmp_path, capsys):
    run = rundir.create(str(tmp_path / "run"), trainer.config)
    journal = written(trainer, run)
    journal.mute()
    told(journal)
    assert capsys.readouterr().out == ""
    assert [record["kind"] for record in run.records()] == ["train", "test", "end"]


def test_without_a_run_records_stay_in_memory_and_lines_are_passed_on(trainer, capsys):
    records, lines = Records(), []
    journal = RecordingJournal(trainer.config, records, 1, lambda: trainer.look(SPLIT.images), lines.append)
    told(journal)
    assert [record["kind"] for record in records.records()] == ["train", "test", "end"]
    assert [record["accuracy"] for record in records.records("end")] == [0.75]
    of = "75.00% (of 4 images)"
    assert [line for line in lines if "Acc" in line] == [f"Iter 1, Test Acc: {of}", f"Final Test Accuracy: {of}"]
    assert capsys.readouterr().out == ""
