"""`--seeds`: each run is the one that `--seed` alone gives, and they go on after a kill."""

import json
import shutil

import pytest
from commands import passed
from disk import files
from trainings import BRIEF, losses

from csnn_jax.runs.rundir import RunDir

MODULE = "csnn_jax.train"


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """Seeds 3 and 1, trained one after the other: (their folder, what was printed)."""
    out = tmp_path_factory.mktemp("trained") / "runs"
    return out, passed(MODULE, *BRIEF, "--dataset", dataset, "--eval-every", 5, "--seeds", 3, 1, "--out", out)


def final(path) -> float:
    return RunDir(path).records("end")[-1]["accuracy"]


def test_each_run_is_that_of_its_seed_alone(trained, dataset, tmp_path):
    out, _ = trained
    assert sorted(path.name for path in out.iterdir()) == ["seed-1", "seed-3", "summary.json"]
    alone = tmp_path / "alone"
    passed(MODULE, *BRIEF, "--dataset", dataset, "--eval-every", 5, "--seed", 1, "--out", alone)
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
    before = [files(out / name) for name in ("seed-3", "seed-1")]
    printed = passed(MODULE, "--resume", "--seeds", 3, 1, 2, "--out", out)  # with the flags of the others
    finished = "Seed 3 (1 of 3): is finished already\nSeed 1 (2 of 3): is finished already\n"
    assert f"{finished}Seed 2 (3 of 3)\n" in printed
    assert [files(out / name) for name in ("seed-3", "seed-1")] == before
