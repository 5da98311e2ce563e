"""`--profile` of csnn_jax.train: JAX's trace of the job that runs."""

import gzip
import json

import pytest
from commands import refused, run
from digits import few_digits

from csnn_jax.runs.rundir import RunDir

SMALL = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 5, "--batch-size", 32, "--eval-every", 0)


@pytest.mark.slow
def test_a_trace_holds_the_iterations_and_the_kernels_and_training_goes_on(tmp_path):
    dataset = few_digits(tmp_path)
    flags = (*SMALL, "--dataset", dataset, "--max-iters", 8)
    done = run("csnn_jax.train", *flags, "--profile", 3, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run" / "profile"
    assert f"Profile: iterations 1 to 3 are in {folder}" in done.stdout.splitlines()
    assert len(RunDir(tmp_path / "run").records("train")) == 8
    (trace,) = folder.glob("plugins/profile/*/*.trace.json.gz")
    assert list(trace.parent.glob("*.xplane.pb"))
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    steps = [event for event in events if event.get("name") == "iteration"]
    assert [event["args"]["step_num"] for event in steps] == ["1", "2", "3"] and all(e["dur"] > 0 for e in steps)
    names = {event.get("name") for event in events}
    assert any("jit_update" in str(name) or "PjitFunction(update)" in str(name) for name in names), names
    assert run("csnn_jax.train", *flags, "--out", tmp_path / "plain").returncode == 0
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("run", "plain")]
    assert weights[0] == weights[1]
    assert run("csnn_jax.train", *flags, "--overwrite", "--out", tmp_path / "run").returncode == 0
    assert not folder.exists()


@pytest.mark.slow
def test_bad_counts_are_refused_before_anything_is_made(tmp_path):
    for count, why in (
        (0, "expected a whole number of at least 1"),
        (468, "the job has 468 iterations, and its first"),
    ):
        assert f"--profile {count}: {why}" in refused("csnn_jax.train", "--profile", count, "--out", tmp_path / "run")
    assert not list(tmp_path.iterdir())
