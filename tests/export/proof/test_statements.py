"""The form of everything that only a bundle's maker can state is checked, and nothing else may be stated."""

import copy
from datetime import UTC, datetime, timedelta

import pytest

from csnn_jax.runs import rundir
from export import manifest
from export.proof import statements


@pytest.fixture(scope="module")
def recorded(small_bundle):
    return manifest.read(small_bundle)


@pytest.mark.parametrize(
    ("entry", "name", "value", "said"),
    [
        ("made", "utc", "today", "made.utc is 'today', which `export` doesn't write"),
        ("made", "utc", "9999-99-99T00:00:00+00:00", "made.utc is '9999-99-99T00:00:00+00:00', which `export` doesn't"),
        ("made", "utc", "1999-12-31T23:59:59+00:00", "made.utc is '1999-12-31T23:59:59+00:00'"),
        ("made", "utc", "2999-01-01T00:00:00+00:00", "made.utc is '2999-01-01T00:00:00+00:00'"),
        ("made", "cpu", "\x1b[31m", "made.cpu is "),
        ("made", "versions", {"torch": "<script>"}, "made.versions is "),
        ("training", "iterations", True, "training.iterations is True"),
        ("training", "seconds", -1.0, "training.seconds is -1.0"),
        ("training", "checkpoint", None, "training.checkpoint is None"),
        ("data", "sha256", "0", "data.sha256 is '0'"),
        ("settings", "effort", [], "settings.effort is []"),
        ("settings", "images", 0, "settings.images is 0"),
        ("files", "step.onnx", {"bytes": 0, "sha256": "no plain file"}, "files['step.onnx'].sha256 is 'no plain file'"),
        ("settings", "note", "x", "settings.note isn't part of a manifest"),
        ("latency", "c/", {"median_ms": float("inf"), "p99_ms": 1, "calls": 1}, "latency['c/'].median_ms is inf"),
        ("latency", "c/", 7, "latency['c/'] isn't an object"),
        (
            "latency",
            "step.onnx",
            {"median_ms": 1.0, "p99_ms": 1.0, "calls": 1, "dequantizing_ms": "long"},
            "latency['step.onnx'].dequantizing_ms is 'long'",
        ),
        ("files", "step.onnx", {"bytes": 1}, "files['step.onnx'].sha256 is missing"),
    ],
)
def test_a_value_of_another_form_is_one_line(recorded, entry, name, value, said):
    changed = copy.deepcopy(recorded)
    changed[entry][name] = value
    (line,) = statements.problems(changed)
    assert line.startswith(said)


def test_an_entry_that_is_no_object_is_reported(recorded):
    assert [*statements.problems(recorded | {"made": 7})] == ["made is 7, expected an object"]
    assert [*statements.problems(recorded | {"dropped": []})] == ["dropped is [], expected an object"]


def test_statements_are_compared_with_the_configuration_the_images_and_the_network(recorded, small_bundle):
    _, job, tensors = rundir.open_run(str(small_bundle))
    count = sum(value.size for value in tensors.values())
    changed = copy.deepcopy(recorded)
    changed["settings"] |= {"opset": 18, "images": 20_000, "drop_silent": True, "weight_bits": 3}
    changed["training"] |= {"dtype": "float32", "time_steps": 50, "weight_bits": 4}
    assert [*statements.belied(recorded, job, 10_000)] == []
    assert sorted(statements.belied(changed, job, 10_000)) == [
        "made.opset is 20, expected 18",
        "settings.accuracy_images is 100, expected 10000",
        "settings.drop_silent doesn't match `dropped`",
        "settings.images is 20000, but the test set has 10000",
        "settings.weight_bits doesn't match `rounded`",
        "training.dtype is 'float32', expected 'float64'",
        "training.time_steps is 50, expected 6",
        "training.weight_bits is 4, expected None",
    ]
    assert [*statements.belied(changed | {"rounded": {"accuracy": 0.9}}, job, None)][-2:] == [
        "settings.weight_bits is 3, expected None",
        "settings.drop_silent doesn't match `dropped`",
    ]
    left = {"layers": [["conv1", 4, 8], ["fc1", 16, 20]], "fired_on": 0, "other_answers": 0, "test_images": 10}
    left |= {"parameters": [2 * count, count], "bytes": [8 * count, 4 * count]}
    assert [*statements.belied_by_network(left, job.model, tensors)] == []
    left |= {"layers": [["conv1", 3, 8], ["fc1", 16, 20]], "fired_on": 11, "bytes": [8 * count, 4]}
    assert [line.split()[0] for line in statements.belied_by_network(left, job.model, tensors)] == [
        *("dropped.layers", "dropped.parameters", "dropped"),
    ]


def test_a_clock_may_be_some_hours_ahead(recorded):
    for hours in (0, 20):
        utc = f"{datetime.now(UTC) + timedelta(hours=hours):%FT%T}+00:00"
        assert [*statements.problems(recorded | {"made": recorded["made"] | {"utc": utc}})] == []


def test_a_percentile_below_the_median_is_impossible(recorded, small_bundle):
    changed = copy.deepcopy(recorded)
    changed["latency"]["c/"] |= {"median_ms": 2.0, "p99_ms": 1.0}
    _, job, _ = rundir.open_run(str(small_bundle))
    assert [*statements.belied(changed, job, None)] == ["latency['c/'].p99_ms is 1.0, below the median, 2.0"]


@pytest.mark.parametrize(
    ("version", "is_newer"), [("9.9", True), ("0.4.0", False), ("0.4.0.dev1+g1", False), ("x", False)]
)
def test_a_newer_csnn_jax_is_said_and_other_packages_may_be_newer(recorded, version, is_newer):
    changed = copy.deepcopy(recorded)
    changed["made"]["versions"] |= {"csnn-jax": version, "torch": "99.0"}
    assert (version in statements.newer(changed)) is is_newer


def test_latencies_of_slow_and_fast_machines_are_plausible():
    assert not statements.implausible(0.05, 500.0) and not statements.implausible(500.0, 0.05)
    assert statements.implausible(0.0, 0.01) and statements.implausible(1e5, 1.0) and statements.implausible(1e-5, 1.0)
