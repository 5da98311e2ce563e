"""The tables of speed say what results/ does, and what nobody has measured."""

import json

import pytest
import speed_tables

SIDE = {"step_s": 0.0512, "step_processor_s": 0.0987, "infer_s": 0.00931, "infer_processor_s": 0.0157}
MEASURED = {
    "time_steps": 5,
    "csnn_jax": SIDE | {"densities": {"lif1": 0.1234, "lif2": 0.3}, "peak_memory_mb": 812},
    "snntorch": SIDE | {"step_s": 0.171, "peak_memory_mb": 1012},
    "times_faster": {
        "snntorch": {"training": 3.3, "inference": "none: the machine was busy, other programs took 40 % of it"},
        "snntorch first convolution once": {"training": 2.9, "inference": 6.1},
    },
}


@pytest.fixture
def measured(tmp_path, monkeypatch):
    (tmp_path / "train_step_fast.json").write_text(json.dumps(MEASURED))
    monkeypatch.setattr(speed_tables, "RESULTS", tmp_path)


def test_a_ratio_stands_with_its_densities_or_with_the_reason_for_none(measured):
    busy = "none: the machine was busy, other programs took 40 % of it"
    row = f"| `--recipe fast` and `accurate` | 5 | 12, 30 | 0.051 s | 0.17 s | 3.3 | 0.0093 s | 0.0093 s | {busy} |"
    assert row in speed_tables.speed().splitlines()
    none = "not measured"
    row = f"| `--recipe fast` and `accurate`, event engine | 12, 30 | 3.3 | {none} | 2.9 | {busy} | {none} | 6.1 |"
    assert row in speed_tables.ratios().splitlines()


def test_what_nobody_has_measured_is_named(measured):
    assert "| default | not measured |" in speed_tables.speed()
    (row,) = (line for line in speed_tables.sides().splitlines() if line.startswith("| snnTorch first convolution"))
    assert row.count("not measured") == 6


def test_processor_seconds_stand_beside_those_on_the_clock(measured):
    (speed_tables.RESULTS / "train_step.json").write_text(
        json.dumps(MEASURED | {"default_job_s_extrapolated": {"event": 278}})
    )
    assert (
        "| csnn_jax, event engine | 0.051 s | 0.099 s | 0.0093 s | 0.016 s | 4.6 min | 0.8 GB |" in speed_tables.sides()
    )
