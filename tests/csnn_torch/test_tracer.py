"""`--profile` of csnn_torch.train: torch's trace of the job that runs."""

import json

import pytest
from commands import run
from digits import few_digits

SMALL = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 4, "--batch-size", 32, "--eval-every", 0)


@pytest.mark.slow
def test_a_trace_holds_the_iterations(tmp_path):
    flags = (*SMALL, "--dataset", few_digits(tmp_path), "--max-iters", 4, "--device", "cpu")
    done = run("csnn_torch.train", *flags, "--profile", 2, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    (trace,) = (tmp_path / "run" / "profile").iterdir()
    assert trace.name == "iterations-1.trace.json"
    events = json.loads(trace.read_text())["traceEvents"]
    named = [event for event in events if str(event.get("name")).startswith("iteration ")]
    assert sorted(event["name"] for event in named) == ["iteration 1", "iteration 2"]
    assert any(event.get("name") == "aten::conv2d" for event in events)
