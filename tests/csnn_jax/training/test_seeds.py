"""`--seeds`: each run is the one that `--seed` alone gives, and they go on after a kill."""

import json
import shutil
from dataclasses import replace

import pytest
from commands import call, refused, run, start

from csnn_jax.config import Config, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags
from csnn_jax.runs import rundir
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training import pictures, seeds

MODULE = "csnn_jax.train"
SMALL = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 5, "--batch-size", 32)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """Seeds 3 and 1, trained one after the other: (their folder, what was printed)."""
    out = tmp_path_factory.mktemp("trained") / "runs"
    done = call(MODULE, *SMALL, "--dataset", dataset, "--eval-every", 5, "--seeds", 3, 1, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def final(path) -> float:
    return RunDir(path).records("end")[-1]["accuracy"]


def files(folder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def losses(path) -> list[float]:
    return [record["loss"] for record in RunDir(path).records("train")]


def test_each_run_is_that_of_its_seed_alone(trained, dataset, tmp_path):
    out, _ = trained
    assert sorted(path.name for path in out.iterdir()) == ["seed-1", "seed-3", "summary.json"]
    alone = tmp_path / "alone"
    done = call(MODULE, *SMALL, "--dataset", dataset, "--eval-every", 5, "--seed", 1, "--out", alone)
    assert done.returncode == 0, done.stderr
    for name in ("weights.safetensors", "config.json", "spikes.png"):
        assert (alone / name).read_bytes() == (out / "seed-1" / name).read_bytes()
    assert losses(alone) == losses(out / "seed-1") != losses(out / "seed-3")


def test_the_summary_is_that_of_the_runs(trained):
    out, printed = trained
    three, one = final(out / "seed-3"), final(out / "seed-1")
    found = json.loads((out / "summary.json").read_text())
    assert found["runs"] == [
        {"seed": 3, "run": "seed-3", "accuracy": three},
        {"seed": 1, "run": "seed-1", "accuracy": one},
    ]
    mean, deviation = (three + one) / 2, abs(three - one) / 2**0.5
    assert deviation > 0 and found["finished"] == 2
    assert (found["mean"], found["standard_deviation"]) == (pytest.approx(mean), pytest.approx(deviation))
    last = f"Mean Test Accuracy: {mean:.2%}, standard deviation {deviation:.2%} (2 seeds)"
    assert printed.splitlines()[-3:] == [f"Seed 3: {three:.2%}", f"Seed 1: {one:.2%}", last]


def test_resume_skips_what_is_finished_and_trains_what_is_missing(trained, dataset, tmp_path):
    out = shutil.copytree(trained[0], tmp_path / "runs")
    before = files(out / "seed-3") | files(out / "seed-1")
    done = call(MODULE, "--resume", "--seeds", 3, 1, 2, "--out", out)  # with the flags of the others
    assert done.returncode == 0, done.stderr
    assert (
        "Seed 3 (1 of 3): is finished already\nSeed 1 (2 of 3): is finished already\nSeed 2 (3 of 3)\n" in done.stdout
    )
    assert files(out / "seed-3") | files(out / "seed-1") == before
    assert json.loads((out / "summary.json").read_text())["finished"] == 3
    one, two = (RunDir(out / f"seed-{seed}").config() for seed in (1, 2))
    assert two == replace(one, train=replace(one.train, seed=2))
    before = files(out)
    line = refused(MODULE, "--resume", "--seeds", 3, 1, 2, "--lr", 0.5, "--out", out)
    assert f"--lr: {out / 'seed-3'} was started with 0.005, not 0.5" in line and files(out) == before


@pytest.mark.slow
def test_a_killed_series_goes_on_bit_for_bit(dataset, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    job = (*SMALL, "--dataset", dataset, "--epochs", 4, "--eval-every", 2, "--seeds", 0, 1, 2)
    assert run(MODULE, *job, "--out", whole).returncode == 0
    process = start(MODULE, *job, "--out", broken)
    lines = iter(process.stdout)
    for text in ("Seed 1", "Iter 4, Test"):
        assert any(line.startswith(text) for line in lines)
    process.kill()
    process.communicate(timeout=120)
    assert not (broken / "seed-2").exists() and final(broken / "seed-0") == final(whole / "seed-0")
    done = run(MODULE, "--resume", "--seeds", 0, 1, 2, "--out", broken)
    assert done.returncode == 0, done.stderr
    for seed in range(3):
        one, other = (folder / f"seed-{seed}" for folder in (whole, broken))
        assert (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()
        assert losses(one) == losses(other)
    assert (whole / "summary.json").read_bytes() == (broken / "summary.json").read_bytes()


def runs(out, *numbers) -> dict[int, RunDir]:
    return {number: RunDir(out / f"seed-{number}") for number in numbers}


def made(out, seed: int, **changes) -> RunDir:
    """A run as far as its config.json."""
    return rundir.create(str(out / f"seed-{seed}"), decided(Config(train=TrainConfig(seed=seed, **changes))))


def test_a_summary_of_fewer_than_two_has_no_deviation(tmp_path):
    made(tmp_path, 0).record("end", iter=3, interrupted=True)
    assert seeds.summary(runs(tmp_path, 0, 1)) == {
        "runs": [{"seed": 0, "run": "seed-0", "accuracy": None}, {"seed": 1, "run": "seed-1", "accuracy": None}],
        "finished": 0,
        "mean": None,
        "standard_deviation": None,
    }
    RunDir(tmp_path / "seed-0").record("end", iter=9, interrupted=False, accuracy=0.5)
    found = seeds.summary(runs(tmp_path, 0))
    assert (found["mean"], found["standard_deviation"]) == (0.5, None)
    assert seeds.table(found) == "Seed 0: 50.00%\nMean Test Accuracy: 50.00% (1 seeds)"


def test_a_run_that_was_killed_before_its_first_checkpoint_is_trained_anew(tmp_path):
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


def test_a_finished_run_is_done_unless_more_is_asked_of_it(tmp_path):
    run = made(tmp_path, 1)
    flags = TrainFlags(Config(train=TrainConfig(seed=1)), resume=True)
    assert not seeds.is_done(run, flags)
    run.record("end", iter=9, interrupted=False, accuracy=0.5)
    assert not seeds.is_done(run, flags)
    for name in pictures.names("png"):
        (run.path / name).touch()
    assert seeds.is_done(run, flags) and not seeds.is_done(run, replace(flags, resume=False))
    assert not seeds.is_done(run, replace(flags, figures="pdf"))
    assert not seeds.is_done(run, replace(flags, config=Config(train=TrainConfig(seed=1, epochs=2))))


def test_all_runs_are_looked_at_before_the_first_is_trained(tmp_path):
    made(tmp_path, 1)
    flags = TrainFlags(out=str(tmp_path), seeds=(0, 1))
    with pytest.raises(UserError, match="seed-1: holds an unfinished run already"):
        seeds.check_folder(tmp_path, flags, runs(tmp_path, 0, 1))
    seeds.check_folder(tmp_path, replace(flags, overwrite=True), runs(tmp_path, 0, 1))
    rundir.create(str(tmp_path), Config())
    with pytest.raises(UserError, match="is a run itself; expected a folder for the runs of --seeds"):
        seeds.check_folder(tmp_path, flags, runs(tmp_path, 0))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seeds", 1, 1), "--seeds 1 1: expected each seed once"),
        (("--seeds", 0, -1), "--seeds 0 -1: expected whole numbers from 0 to below 2**63"),
        (("--seeds", 0, 1, "--seed", 0), "--seed 0: expected no --seeds beside it"),
        (("--seeds", 0, 1, "--resume"), "--resume: expected --out"),
        (("--seeds", 0, 1, "--resume", "--out", "x"), "--resume: x holds no run of these seeds yet"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_bad_flags_are_refused_and_make_nothing(flags, message, tmp_path):
    assert message in refused(MODULE, *flags, cwd=tmp_path)
    assert not list(tmp_path.iterdir())
