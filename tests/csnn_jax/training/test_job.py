import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from bundles import TRAIN
from refusals import refusing
from trainings import job_of

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.runs import checkpoints, rundir
from csnn_jax.runs.checkpoints import State
from csnn_jax.training import job
from csnn_jax.update.trainer import Trainer


class Counter:
    """A trainer whose state is a count."""

    def __init__(self, count: int = 0):
        self.count = count

    def describe(self) -> str:
        return "Counter"

    def snapshot(self) -> State:
        return {"count": np.array(self.count)}

    def restore(self, state: State) -> None:
        self.count = int(state["count"])


DIGITS = data.load("mnist", (28, 28, 1))
TEN = replace(DIGITS, train=data.Split(DIGITS.train.images[:1280], DIGITS.train.labels[:1280]))  # iterations per epoch


def job_config(**changes) -> Config:
    settings = {"lr": 0.01, "schedule": "constant"} | changes
    return Config(data.fit_model(ModelConfig(), TEN), train=TrainConfig(**settings))


@pytest.fixture
def interrupted(tmp_path):
    run = rundir.create(str(tmp_path / "run"), job_config())
    run.record("train", iter=5, **TRAIN)
    run.record("end", iter=5, interrupted=True, seconds=1.0)
    return run


def resume(run, done, **changes):
    """Resumes a run from a checkpoint after `done` iterations; returns the iterations done."""
    checkpoints.write(run.checkpoints, done, Counter(done).snapshot(), b"")
    trainer = Counter()
    begun = job.resumed(job_of(job_config(**changes), TEN, trainer), run)
    trainer.restore(begun.state)
    assert trainer.count == begun.done
    return begun.done


def files(run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}


def test_a_run_can_be_extended(interrupted):
    assert resume(interrupted, 5, epochs=2, max_iters=7) == 5
    assert interrupted.config().train == job_config(epochs=2, max_iters=7).train
    assert interrupted.records() == [{"kind": "train", "iter": 5} | TRAIN]


@pytest.mark.parametrize(
    ("done", "changes", "flag"), [(5, {"max_iters": 4}, "max_iters 4"), (15, {"epochs": 1}, "epochs 1")]
)
def test_fewer_iterations_than_were_done_are_refused_and_change_nothing(interrupted, done, changes, flag):
    before = files(interrupted)
    with refusing(UserError, flag, done):
        resume(interrupted, done, **changes)
    assert files(interrupted) == before


def test_a_finished_job_is_resumed_only_for_more_iterations_or_for_its_pictures(interrupted):
    interrupted.record("end", iter=10, interrupted=False, accuracy=0.9, seconds=2.0)
    before = files(interrupted)
    assert resume(interrupted, 10) == 10 and files(interrupted) == before  # no pictures yet
    for name in job.figure_files("png"):
        (interrupted.path / name).write_bytes(b"a picture")
    with refusing(UserError, interrupted.path, "larger epochs"):
        resume(interrupted, 10)
    begun = job.resumed(job_of(job_config(), TEN, Counter(), figures="pdf"), interrupted)
    assert (begun.done, begun.unfinished) == (10, False)  # the PDFs are missing
    assert resume(interrupted, 10, epochs=2) == 10
    assert not interrupted.finished


def test_the_log_begins_with_the_numbers_of_images():
    held_out = replace(TEN, validation=data.Split(DIGITS.train.images[1280:1285], DIGITS.train.labels[1280:1285]))
    config = job_config(max_iters=10)
    images, _ = job.introduced(job_of(config, held_out, Counter()))
    assert all(words in images for words in ("1280 training, 5 held out", "10000 test images", "10 classes"))
    config = replace(config, model=replace(config.model, scale=64.0), train=replace(config.train, max_iters=11))
    _, scale, end, _ = job.introduced(job_of(config, held_out, Counter()))
    assert "64, not 256" in scale and end.startswith("Ends after 10 iterations")


FEW = replace(TEN, train=TEN.train.part(slice(20)), test=TEN.test.part(slice(4)))


class Struck(Trainer):
    """Sends SIGTERM in its second iteration, or while it draws the pictures of a finished run."""

    def __init__(self, drawing: bool, config: Config):
        super().__init__(config, FEW.train)
        self.drawing = drawing

    def step(self, batch, rate):
        if batch.iteration == 1 and not self.drawing:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().step(batch, rate)

    def trace(self, images):
        if self.drawing:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().trace(images)


@pytest.mark.parametrize("drawing", [False, True])
def test_an_interrupted_job_ends_with_its_signal_and_says_how_to_continue(drawing, tmp_path, capsys):
    model, out = data.fit_model(ModelConfig(conv_channels=(), hidden=(), time_steps=2), FEW), tmp_path / "a run"
    config = decided(Config(model, train=TrainConfig(batch_size=5, eval_every=0)))
    flags = {"out": str(out), "given": frozenset({"init_from"})}
    assert job.train(job_of(config, FEW, Struck(drawing, config), **flags)) == 128 + signal.SIGTERM
    *_, before, last = capsys.readouterr().out.splitlines()
    assert rundir.RunDir(out).finished == drawing and str(out) in last
    assert drawing or before.startswith("Interrupted after 2 iterations;")
    assert drawing == ("already finished" in last) and drawing != (f"--resume --out '{out}'" in last)
    assert drawing or last.endswith(", without --init-from")


def test_a_run_continues_from_the_checkpoint_before_a_damaged_one(interrupted, capsys):
    checkpoints.write(interrupted.checkpoints, 3, Counter(3).snapshot(), b"")
    checkpoints.write(interrupted.checkpoints, 5, Counter(5).snapshot(), b"")
    damaged = interrupted.checkpoints / "5" / "state.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    interrupted.truncate_records(0)
    for iteration in (3, 4):
        interrupted.record("train", iter=iteration, **TRAIN)
    (interrupted.checkpoints / ".5.abc").mkdir()
    (interrupted.path / ".weights.safetensors.abc").write_text("half")
    trainer = Counter()
    begun = job.resumed(job_of(job_config(), TEN, trainer), interrupted)
    trainer.restore(begun.state)
    assert begun.done == 3 == trainer.count
    assert capsys.readouterr().out.startswith(f"Checkpoint: {damaged}: ")
    assert [record["iter"] for record in interrupted.records()] == [3]
    assert [path.name for path in interrupted.checkpoints.iterdir()] == ["3"]
    assert sorted(files(interrupted)) == ["config.json", "metrics.jsonl"]


@pytest.mark.parametrize("changes", [{"epochs": 2}, {"max_iters": 7}, {"lr": 0.5}, {"schedule": "constant"}], ids=str)
def test_a_job_with_a_cosine_schedule_cannot_be_changed(changes, tmp_path):
    before = {"schedule": "cosine", "warmup": 2}
    run = rundir.create(str(tmp_path / "run"), job_config(**before))
    job.check_same_job(run, job_config(**before))
    (now,) = changes.values()
    why = ["schedule"] if changes.keys() & {"epochs", "max_iters", "schedule"} else []
    with refusing(UserError, now, "resume", *why):
        job.check_same_job(run, job_config(**before | changes))


@pytest.mark.parametrize("bits", [4, 5])
def test_the_length_is_fixed_if_its_first_tenth_chooses_exponents(bits, tmp_path):
    before = job_config()
    before = replace(before, model=replace(before.model, weight_bits=bits))
    run, longer = rundir.create(str(tmp_path / "run"), before), replace(before, train=replace(before.train, epochs=9))
    if bits == 5:
        job.check_same_job(run, longer)
    else:
        with refusing(UserError, "resume", "weight_bits", 5):
            job.check_same_job(run, longer)
