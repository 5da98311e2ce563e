"""Event files hold the figures of metrics.jsonl, and continue with their run."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import ENVIRONMENT, passed
from disk import largest_file
from event_files import events, pictures, scalars
from refusals import refused_by_process, refusing

from csnn_jax.config import Config
from csnn_jax.errors import UserError
from csnn_jax.runs import rundir, tensorboard
from csnn_jax.runs.rundir import RunDir

STACK = ("--conv-channels", 2, "--hidden", "--time-steps", 4, "--batch-size", 32)
JOB = (*STACK, "--max-iters", 6, "--eval-every", 4, "--schedule", "cosine", "--warmup", 3)
TRAIN = {"loss": 2.0, "images_per_s": 10.0, "density": {"lif1": 0.25}, "gradient": {"conv1": 0.5}}


@pytest.fixture(scope="module")
def watched(dataset, tmp_path_factory):
    """A short run with event files."""
    out = tmp_path_factory.mktemp("watched") / "run"
    passed("csnn_jax.train", *JOB, "--dataset", dataset, "--tensorboard", "--out", out)
    return out


def compare(out: Path) -> None:
    """Checks that the event files hold these figures of metrics.jsonl as float32, and no others."""
    logged = scalars(out / "tensorboard")
    train, ends = RunDir(out).records("train"), RunDir(out).records("end")
    assert list(logged["learning_rate"]) == [r["iter"] for r in train]
    expected = {tag: {r["iter"]: r[tag] for r in train} for tag in ("loss", "images_per_s")}
    for key, layers in (("density", ("lif1", "lif2")), ("gradient", ("conv1", "fc1"))):
        expected |= {f"{key}/{layer}": {r["iter"]: r[key][layer] for r in train} for layer in layers}
    for name, records in (("test", RunDir(out).records("test")), ("final", ends[-1:])):
        expected[f"accuracy/{name}"] = {r["iter"]: r["accuracy"] for r in records}
        for key in ("density", "dead"):
            for layer in ("lif1", "lif2"):
                expected[f"{key}_{name}/{layer}"] = {r["iter"]: r[key][layer] for r in records}
    assert logged.keys() == expected.keys() | {"learning_rate"}
    for tag, values in expected.items():
        assert {step: np.float32(value) for step, value in values.items()} == logged[tag], tag


def test_event_files_hold_the_figures_of_metrics_jsonl(watched):
    compare(watched)
    rates = scalars(watched / "tensorboard")["learning_rate"]
    assert rates[3] == pytest.approx(5e-3) and rates[1] == pytest.approx(5e-3 / 3) and rates[6] < rates[5] < rates[4]


def test_each_evaluation_has_a_raster_and_the_last_is_spikes_png(watched):
    rasters = pictures(watched / "tensorboard")
    assert list(rasters) == [0, 4, 6] and len(set(rasters.values())) == 3
    assert all(png.startswith(b"\x89PNG") for png in rasters.values())
    assert rasters[6] == (watched / "spikes.png").read_bytes()


def test_a_run_that_had_no_event_files_gets_its_earlier_records(watched, tmp_path):
    out = shutil.copytree(watched, tmp_path / "run")
    shutil.rmtree(out / "tensorboard")
    followed = tensorboard.follow(RunDir(out), 6, np.ones(12), lambda: b"")
    followed.record("train", iter=7, **TRAIN)
    assert list(scalars(out / "tensorboard")["loss"]) == [*range(1, 8)]


def test_a_finished_run_that_continues_loses_its_final_accuracy(watched, tmp_path):
    out = shutil.copytree(watched, tmp_path / "run")
    tensorboard.follow(RunDir(out), 6, np.ones(12), lambda: b"")
    logged = scalars(out / "tensorboard")
    assert list(logged["loss"]) == [*range(1, 7)] and "accuracy/final" not in logged


def test_a_file_truncated_by_a_kill_is_repaired(tmp_path):
    made = rundir.create(str(tmp_path / "run"), Config())
    folder = made.path / "tensorboard"
    first = tensorboard.follow(made, 0, np.ones(9), lambda: b"")
    for iteration in range(1, 6):
        first.record("train", iter=iteration, **TRAIN)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-7])
    again = tensorboard.follow(made, 3, np.ones(9), lambda: b"")
    again.record("train", iter=4, **TRAIN)
    assert list(scalars(folder)["loss"]) == [1, 2, 3, 4]
    starts = [(e.step, e.session_log.status) for e in events(folder) if e.HasField("session_log")]
    assert starts == [(1, 1), (4, 1)]  # SessionLog.START: TensorBoard drops later steps that it has read


def test_a_full_disk_ends_in_one_line_and_leaves_whole_events(tmp_path):
    file = tensorboard.EventFiles(tmp_path, 0, np.ones(9))
    file.write({"kind": "train", "iter": 1, **TRAIN})
    before = file.path.read_bytes()
    with largest_file(len(before) + 20), refusing(UserError, file.path, "written"):
        file.write({"kind": "train", "iter": 2, **TRAIN})
    assert file.path.read_bytes() == before
    file.write({"kind": "train", "iter": 3, **TRAIN})
    assert list(scalars(tmp_path)["loss"]) == [1, 3]


@pytest.mark.slow
def test_without_tensorboardx_nothing_is_written(tmp_path):
    (tmp_path / "tensorboardX.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorboardX'\")\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    env = ENVIRONMENT | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    facts = ("--tensorboard", "tensorboardX", "`pip install 'csnn-jax[tensorboard]'`")
    refused_by_process("csnn_jax.train", "--tensorboard", "--out", "run", names=facts, env=env, cwd=tmp_path)


def test_a_link_is_not_truncated(tmp_path):
    folder = tmp_path / "run" / "tensorboard"
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (folder / "events.out.tfevents.1.host").symlink_to(tmp_path / "secret")
    with refusing(UserError, folder, "written"):
        tensorboard.follow(RunDir(tmp_path / "run"), 0, np.ones(3), lambda: b"")
    assert (tmp_path / "secret").read_text() == "secret"
