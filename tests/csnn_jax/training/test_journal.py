"""What training prints and records."""

import time

import numpy as np
import pytest
from trainings import job_of

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.config.pixels import Pixels
from csnn_jax.runs import rundir
from csnn_jax.runs.metrics import Evaluation, Records, StepMetrics
from csnn_jax.training.journal import Journal
from csnn_jax.training.loop import CheckpointDue, Evaluated, Finished, Interrupted, Stepped
from csnn_jax.update.trainer import Trainer

MODEL = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(), num_classes=3, time_steps=4, scale=256.0)
METRICS = StepMetrics(1.05, True, np.array([0.1, 0.2]), np.array([0.5, 0.25]))
RESULT = Evaluation(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]), {"lif1": 0.1, "lif2": 0.2}, 3)


SPLIT = data.Split(np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), np.uint8), np.arange(10) % 3)


@pytest.fixture
def trainer():
    return Trainer(decided(Config(MODEL, train=TrainConfig(batch_size=5, eval_images=4, max_iters=1))), SPLIT)


EVENTS = (
    Stepped(1, METRICS, time.perf_counter()),
    Evaluated(1, "test", RESULT),
    CheckpointDue(1),
    Finished(1, "test", RESULT),
)


def journal(trainer, records, say, **more) -> Journal:
    dataset = data.Dataset("drawn", SPLIT, None, SPLIT, ("0", "1", "2"), Pixels(), ())
    job = job_of(trainer.config, dataset, trainer)
    return Journal(job, records, lambda: trainer.summarize_neurons(SPLIT.images), say, **more)


def test_training_is_printed_and_recorded(trainer, tmp_path):
    run, lines, steps = rundir.create(str(tmp_path / "run"), trainer.config), [], []
    record = journal(trainer, run, lines.append, on_step=lambda *step: steps.append(step))
    for event in EVENTS:
        record(event)
    accuracy = "Test Acc: 75.00% (of 4 images)"
    assert [line for line in lines if "Acc" in line] == [
        f"Iter 1, {accuracy}",
        "Final Test Accuracy: 75.00% (of 4 images)",
    ]
    step, test, end = run.records()
    assert (step["loss"], step["density"]) == (1.05, {"lif1": 0.1, "lif2": 0.2}) and step["images_per_s"] > 0
    assert (step["iter"], test["iter"], steps) == (1, 1, [(1, 1.05)])
    assert (test["kind"], test["accuracy"], list(test["dead"])) == ("test", 0.75, ["lif1", "lif2"])
    assert (end["iter"], end["interrupted"], end["accuracy"]) == (1, False, 0.75)


def test_an_interrupt_and_further_values_are_recorded(trainer):
    records = Records()
    record = journal(trainer, records, print, at_end={"arrays": {"train": "1a"}})
    for event in (Interrupted(3), Finished(4, "validation", RESULT)):
        record(event)
    interrupted, end = records.records("end")
    assert (interrupted["iter"], interrupted["interrupted"], "arrays" in interrupted) == (3, True, False)
    assert (end["split"], end["arrays"], end["accuracy"]) == ("validation", {"train": "1a"}, 0.75)


def test_the_last_iteration_is_timed_by_its_dispatch(trainer):
    """On a CPU, its result is there before the one before it is recorded."""
    records = Records()
    record = journal(trainer, records, print)
    now = time.perf_counter()
    record(Stepped(1, METRICS, now - 2, 2.0))
    assert records.records("train")[0]["images_per_s"] <= 2.5
