import os
import pty
import re
import shutil
import threading
from contextlib import redirect_stderr, redirect_stdout, suppress

import numpy as np
import pytest
import safetensors.numpy
from commands import call, passed
from disk import largest_file
from refusals import assert_line, refused, refusing
from trainings import BRIEF, losses, records

import csnn_jax
from csnn_jax import ModelConfig, train
from csnn_jax.errors import UserError

TINY = ModelConfig(conv_channels=(), hidden=(), time_steps=2)
MODULE = "csnn_jax.train"
TINIEST = ("--conv-channels", "--hidden", "--time-steps", 2, "--batch-size", 32, "--eval-every", 0)
"""A stack of one layer, for jobs whose weights don't matter."""


@pytest.mark.parametrize(("name", "best"), [("small_run", 0.8), ("scan_run", 0.3)])
def test_a_short_run_learns(name, best, request):
    out = request.getfixturevalue(name)
    (end,) = records(out, "end")
    assert end["accuracy"] > best and not end["interrupted"]
    printed = (out.parent / "printed").read_text()
    assert f"Final Test Accuracy: {end['accuracy']:.2%}" in printed.splitlines()
    lines = [f"Iter {record['iter']}, Test Acc: {record['accuracy']:.2%}" for record in records(out, "test")]
    assert [line for line in printed.splitlines() if "Test Acc" in line and line.startswith("Iter")] == lines


def test_metrics_hold_every_loss_and_the_density_of_every_layer(small_run):
    learnt = losses(small_run)
    assert len(learnt) == 60 and np.mean(learnt[-20:]) < np.mean(learnt[:20]) < np.log(10) + 1e-5
    for record in records(small_run, "test"):
        assert list(record["density"]) == ["lif1", "lif2", "lif3", "lif4"]
    assert all(0.01 < density < 0.6 for density in records(small_run, "test")[-1]["density"].values())


def test_a_finished_run_is_not_replaced_unless_asked(small_run, dataset, tmp_path):
    out = shutil.copytree(small_run, tmp_path / "run")
    flags = (*TINIEST, "--dataset", dataset, "--max-iters", 1, "--out", out)
    before = (out / "weights.safetensors").read_bytes()
    (out / "notes.txt").write_text("mine")
    refused(MODULE, *flags, names=(f"--out {out}", "finished", "--overwrite"))
    passed(MODULE, *flags, "--overwrite")
    assert (out / "weights.safetensors").read_bytes() != before
    assert (out / "notes.txt").read_text() == "mine"


def test_a_run_whose_weights_blow_up_stops_and_keeps_the_last_good_ones(dataset, tmp_path):
    out = tmp_path / "run"
    flags = (*BRIEF, "--dataset", dataset, "--init", "torch", "--max-iters", 20, "--eval-every", 0, "--out", out)
    flags += ("--surrogate", "spike_rate_escape", "--slope", "1e38")
    done = call(MODULE, *flags)
    assert done.returncode == 2
    assert_line(done.stderr.removesuffix("\n"), "iteration 1", "finite", "--lr")
    tensors = safetensors.numpy.load_file(out / "weights.safetensors")
    assert all(np.isfinite(t).all() for t in tensors.values())
    assert np.abs(tensors["conv1.weight"]).max() <= 1 / 3  # the initial weights


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--batch-size", "321"), ("--batch-size 321", "1 to 320")),
        (("--dataset", "idx:/nowhere"), ("--dataset idx:/nowhere", "no such folder")),
        (("--dataset", "images:nope"), ("--dataset images:nope: no such folder",)),
        (("--dataset", "events:nope/"), ("--dataset events:nope/: no such folder",)),
        (("--out", "/proc/run"), ("--out /proc/run", "can't be written")),
        (("--batch-size", "32", "--warmup", "11"), ("--warmup 11", 10)),
        (("--per-channel", "beta", "threshold", "--learn-beta"), ("--per-channel threshold", "--learn-threshold")),
    ],
)
def test_bad_flags_are_refused_in_one_line(flags, names, dataset, tmp_path):
    data = () if "--dataset" in flags else ("--dataset", dataset)
    refused(MODULE, *data, *flags, names=names, cwd=tmp_path)


def test_a_failure_before_the_first_checkpoint_leaves_nothing(dataset, tmp_path):
    """Also of the run that it replaces."""
    flags = (*TINIEST[:-1], 1, "--dataset", dataset, "--max-iters", 1, "--out", tmp_path / "run")
    for overwrite in ((), ("--overwrite",)):
        with largest_file(8_000):
            done = call(MODULE, *flags, *overwrite)
        assert done.returncode == 2 and "Iter 0, Test Acc" in done.stdout
        assert_line(done.stderr.removesuffix("\n"), tmp_path / "run" / "weights.safetensors")
        assert not (tmp_path / "run").exists()
        if not overwrite:
            passed(MODULE, *flags)


def test_out_must_be_a_directory(dataset, tmp_path):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    model = csnn_jax.CSNN(TINY)
    for path in (tmp_path / "file", tmp_path / "pipe"):
        for overwrite in ((), ("--overwrite",)):
            flags = ("--dataset", dataset, "--out", path, *overwrite)
            refused(MODULE, *flags, names=(f"--out {path}", "directory"), unchanged=tmp_path)
        with refusing(UserError, f"path {path}", "directory", unchanged=tmp_path):
            csnn_jax.save(model, TINY, path)


def test_a_thread_trains_with_a_live_bar_in_a_directory_of_its_own(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.chdir(tmp_path)
    leader, follower = pty.openpty()
    codes, shown = [], []

    def job() -> None:
        with open(follower, "w") as terminal, redirect_stdout(terminal), redirect_stderr(terminal):
            codes.append(train.main([*map(str, TINIEST), "--dataset", dataset, "--max-iters", "5"]))

    thread = threading.Thread(target=job)
    thread.start()
    with suppress(OSError):  # the other end is closed
        while True:
            shown.append(os.read(leader, 65536))
    thread.join()
    os.close(leader)
    text = b"".join(shown).decode()
    assert codes == [0]
    assert "5/5" in text and "images/s" in text and "loss" in text and "Final Test Accuracy" in text
    (made,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", made.name)


def test_a_short_job_is_evaluated_on_the_first_images(dataset, tmp_path):
    job = (*TINIEST[:-1], 2, "--schedule", "constant", "--dataset", dataset)
    flags = (*job, "--eval-images", 16, "--out", tmp_path / "run")
    printed = passed(MODULE, *flags, "--max-iters", 3)
    assert "accuracy is measured on the first 16 images (--eval-images)" in printed
    assert printed.count("% (of 16 images)\n") == 3
    passed(MODULE, "--resume", "--max-iters", 5, "--out", tmp_path / "run")
    evaluated = (*records(tmp_path / "run", "test"), *records(tmp_path / "run", "end"))
    shares = [record["accuracy"] for record in evaluated]
    assert len(shares) == 4 and all(16 * share == int(16 * share) for share in shares)
    refused(MODULE, "--resume", *flags[-2:], "--eval-images", 17, names=("--eval-images", 16, 17))


@pytest.mark.slow
@pytest.mark.parametrize("module", [MODULE, "csnn_torch.train"])
def test_batch_normalization_leaves_a_plain_network(module, dataset, tmp_path):
    """It learns, goes on exactly, and gives the same numbers when its folded weights are evaluated or exported."""
    whole, part = tmp_path / "whole", tmp_path / "part"
    flags = ("--batch-norm", *BRIEF, "--conv-channels", 4, 4, "--dataset", dataset, "--lr", 0.02, "--epochs", 3)
    flags += ("--schedule", "constant", "--eval-every", 10)
    passed(module, *flags, "--out", whole)
    passed(module, *flags, "--max-iters", 14, "--out", part)
    passed(module, "--resume", "--max-iters", 30, "--out", part)
    for name in ("weights.safetensors", "checkpoints/30/weights.safetensors"):
        assert (whole / name).read_bytes() == (part / name).read_bytes()
    learned = losses(whole)
    assert learned == losses(part) and np.mean(learned[-5:]) < np.mean(learned[:5]) - 0.1
    (end,) = records(whole, "end")
    assert f"{end['accuracy']:.2%}" in passed("csnn_jax.evaluate", whole, "--checkpoint", 30)
    if module == MODULE:
        tuned = passed(
            MODULE,
            "--batch-norm",
            "--init-from",
            whole,
            "--dataset",
            dataset,
            "--max-iters",
            1,
            "--batch-size",
            32,
            "--out",
            tmp_path / "tuned",
        )
        assert f"Iter 0, Test Acc: {end['accuracy']:.2%}" in tuned
        bundled = passed("export", whole, "--quick", "--out", tmp_path / "bundle")
        assert "Bundle: " in bundled and "weights.safetensors      ok" in bundled
