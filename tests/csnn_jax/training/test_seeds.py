"""`--seeds`: each run equals the one with `--seed`, and a killed series can be resumed."""

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
from commands import passed
from disk import files
from refusals import refused, refusing
from trainings import losses

from csnn_jax.config import Config, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags
from csnn_jax.runs import rundir
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training import job, seeds

MODULE = "csnn_jax.train"
BRIEF = ("--conv-channels", 2, "--hidden", "--time-steps", 4, "--batch-size", 32)
"""10 iterations are an epoch."""


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """Seeds 3 and 1, trained one after the other: (their folder, what was printed)."""
    out = tmp_path_factory.mktemp("trained") / "runs"
    return out, passed(MODULE, *BRIEF, "--dataset", dataset, "--eval-every", 5, "--seeds", 3, 1, "--out", out)


def final(path) -> float:
    return RunDir(path).records("end")[-1]["accuracy"]


def test_each_run_equals_the_one_with_its_seed_alone(trained, dataset, tmp_path):
    out, _ = trained
    assert sorted(path.name for path in out.iterdir()) == ["seed-1", "seed-3", "summary.json"]
    alone = tmp_path / "alone"
    passed(MODULE, *BRIEF, "--dataset", dataset, "--eval-every", 5, "--seed", 1, "--out", alone)
    for name in ("weights.safetensors", "config.json", "spikes.png"):
        assert (alone / name).read_bytes() == (out / "seed-1" / name).read_bytes()
    assert losses(alone) == losses(out / "seed-1") != losses(out / "seed-3")


def test_the_summary_matches_the_runs(trained):
    out, printed = trained
    three, one = final(out / "seed-3"), final(out / "seed-1")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["runs"] == [
        {"seed": 3, "run": "seed-3", "accuracy": three},
        {"seed": 1, "run": "seed-1", "accuracy": one},
    ]
    mean, deviation = (three + one) / 2, abs(three - one) / 2**0.5
    assert deviation > 0 and summary["finished"] == 2
    assert (summary["mean"], summary["standard_deviation"]) == (pytest.approx(mean), pytest.approx(deviation))
    last = f"Mean Test Accuracy: {mean:.2%}, standard deviation {deviation:.2%} (2 seeds)"
    assert printed.splitlines()[-3:] == [f"Seed 3: {three:.2%}", f"Seed 1: {one:.2%}", last]


def test_the_summary_says_if_there_are_no_test_images(tmp_path):
    runs = {seed: rundir.create(str(tmp_path / f"seed-{seed}"), decided(Config())) for seed in (0, 1)}
    for run, share in zip(runs.values(), (0.5, 0.75), strict=True):
        run.record("end", iter=1, interrupted=False, accuracy=share, split="validation")
    summary = seeds.summary(runs)
    assert (summary["split"], summary["mean"]) == ("validation", 0.625)
    assert seeds.table(summary).splitlines()[-1].startswith("Mean Validation Accuracy: 62.50%")


def test_a_signal_while_the_folder_gets_its_name_leaves_nothing(tmp_path, monkeypatch):
    def named():
        os.kill(os.getpid(), signal.SIGTERM)
        return tmp_path / "runs"

    monkeypatch.setattr(seeds.rundir, "fresh", named)
    flags = TrainFlags(given=frozenset(), seeds=(0, 1), config=Config())
    assert seeds.train(flags, make=None) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_resume_skips_what_is_finished_and_trains_what_is_missing(trained, dataset, tmp_path):
    out = shutil.copytree(trained[0], tmp_path / "runs")
    before = [files(out / name) for name in ("seed-3", "seed-1")]
    printed = passed(MODULE, "--resume", "--seeds", 3, 1, 2, "--out", out)  # with the other runs' flags
    finished = "Seed 3 (1 of 3): already finished\nSeed 1 (2 of 3): already finished\n"
    assert f"{finished}Seed 2 (3 of 3)\n" in printed
    assert [files(out / name) for name in ("seed-3", "seed-1")] == before
    assert json.loads((out / "summary.json").read_text())["finished"] == 3
    assert "(3 seeds)" in passed(MODULE, "--resume", "--seeds", 3, "--out", out)  # the others stay in the summary
    one, two = (RunDir(out / f"seed-{seed}").config() for seed in (1, 2))
    assert two == replace(one, train=replace(one.train, seed=2))
    names = ("--lr", out / "seed-3", 0.005, 0.5)
    refused(MODULE, "--resume", "--seeds", 3, 1, 2, "--lr", 0.5, "--out", out, names=names)


def test_a_killed_series_is_resumed_bit_for_bit(trained, tmp_path):
    out = shutil.copytree(trained[0], tmp_path / "runs")
    run, whole = RunDir(out / "seed-1"), RunDir(trained[0] / "seed-1")
    shutil.rmtree(run.checkpoints / "10")
    run.truncate_records(7)
    run.weights.unlink()
    assert "resumed after 5 iterations" in passed(MODULE, "--resume", "--seeds", 3, 1, "--out", out)
    assert run.weights.read_bytes() == whole.weights.read_bytes() and losses(run.path) == losses(whole.path)
    assert (out / "summary.json").read_bytes() == (trained[0] / "summary.json").read_bytes()


def runs(out, *numbers) -> dict[int, RunDir]:
    return {number: RunDir(out / f"seed-{number}") for number in numbers}


def made(out, seed: int, **changes) -> RunDir:
    """A run with only its config.json."""
    return rundir.create(str(out / f"seed-{seed}"), decided(Config(train=TrainConfig(seed=seed, **changes))))


def test_other_seeds_of_the_same_job_stay_in_the_summary(tmp_path):
    made(tmp_path, 0, checkpoint_every=5)
    made(tmp_path, 1, epochs=2)
    made(tmp_path, 3, lr=0.5)
    (tmp_path / "seed-4").mkdir()
    (tmp_path / "seed-x").mkdir()
    assert [*seeds._others(tmp_path, TrainFlags(out=str(tmp_path), seeds=(2,)))] == [0]


def test_a_summary_of_fewer_than_two_runs_has_no_deviation(tmp_path):
    made(tmp_path, 0).record("end", iter=3, interrupted=True)
    assert seeds.summary(runs(tmp_path, 0, 1)) == {
        "runs": [{"seed": 0, "run": "seed-0", "accuracy": None}, {"seed": 1, "run": "seed-1", "accuracy": None}],
        "finished": 0,
        "mean": None,
        "standard_deviation": None,
    }
    RunDir(tmp_path / "seed-0").record("end", iter=9, interrupted=False, accuracy=0.5)
    summary = seeds.summary(runs(tmp_path, 0))
    assert (summary["mean"], summary["standard_deviation"]) == (0.5, None)
    assert seeds.table(summary) == "Seed 0: 50.00%\nMean Test Accuracy: 50.00% (1 seed)"


def test_a_run_killed_before_its_first_checkpoint_starts_over(tmp_path):
    flags = TrainFlags(out=str(tmp_path), resume=True, seeds=(0, 1))
    run = made(tmp_path, 0)
    assert (seeds.of_seed(flags, 0).resume, seeds.of_seed(flags, 0).overwrite) == (False, True)
    assert (seeds.of_seed(flags, 1).resume, seeds.of_seed(flags, 1).overwrite) == (False, False)
    run.checkpoints.mkdir()
    (run.checkpoints / ".0.x1").mkdir()
    assert not seeds.of_seed(flags, 0).resume
    (run.checkpoints / "0").mkdir()
    one = seeds.of_seed(flags, 0)
    assert one.resume and not one.overwrite and one.seeds is None and one.out == str(run.path)


def test_a_finished_run_is_done_unless_more_is_requested(tmp_path):
    run = made(tmp_path, 1)
    flags = TrainFlags(Config(train=TrainConfig(seed=1)), resume=True)
    assert not seeds.is_done(run, flags)
    run.record("end", iter=9, interrupted=False, accuracy=0.5)
    assert not seeds.is_done(run, flags)
    for name in job.figure_files("png"):
        (run.path / name).touch()
    assert seeds.is_done(run, flags) and not seeds.is_done(run, replace(flags, resume=False))
    assert not seeds.is_done(run, replace(flags, figures="pdf"))
    assert not seeds.is_done(run, replace(flags, config=Config(train=TrainConfig(seed=1, epochs=2))))


def test_all_runs_are_checked_before_the_first_is_trained(tmp_path):
    made(tmp_path, 1)
    flags = TrainFlags(out=str(tmp_path), seeds=(0, 1))
    with refusing(UserError, tmp_path / "seed-1", "unfinished", unchanged=tmp_path):
        seeds.check_folder(tmp_path, flags, runs(tmp_path, 0, 1))
    seeds.check_folder(tmp_path, replace(flags, overwrite=True), runs(tmp_path, 0, 1))
    (tmp_path / "config.json").touch()
    with refusing(UserError, tmp_path, "seeds", unchanged=tmp_path):
        seeds.check_folder(tmp_path, flags, runs(tmp_path, 0))


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--seeds", 1, 1), ("--seeds 1 1", "different")),
        (("--seeds", 0, -1), ("--seeds 0 -1", "below 2**63")),
        (("--seeds", 0, 1, "--seed", 0), ("--seed 0", "--seeds")),
        (("--seeds", 0, 1, "--resume", "--out", "x"), ("--resume", "x", "seeds")),
    ],
)
def test_bad_flags_are_refused_and_nothing_is_written(flags, names, tmp_path):
    refused(MODULE, *flags, names=names, cwd=tmp_path)
