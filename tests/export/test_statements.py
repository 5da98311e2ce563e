"""What only a bundle's maker can say has a form, and there is nothing beside it."""

import copy

import pytest

from export import manifest, statements


@pytest.fixture(scope="module")
def recorded(small_bundle):
    return manifest.read(small_bundle)


def test_what_export_writes_is_in_order(recorded):
    assert [*statements.problems(recorded)] == []


@pytest.mark.parametrize(
    ("entry", "name", "value", "said"),
    [
        ("made", "utc", "today", "made.utc is 'today', which `export` doesn't write"),
        ("made", "cpu", "\x1b[31m", "made.cpu is "),
        ("made", "versions", {"torch": "<script>"}, "made.versions is "),
        ("training", "iterations", True, "training.iterations is True"),
        ("training", "seconds", -1.0, "training.seconds is -1.0"),
        ("training", "checkpoint", None, "training.checkpoint is None"),
        ("data", "sha256", "0", "data.sha256 is '0'"),
        ("settings", "effort", [], "settings.effort is []"),
        ("settings", "note", "x", "settings.note is not part of a manifest"),
        ("latency", "c/", {"median_ms": float("inf"), "p99_ms": 1, "calls": 1}, "latency['c/'].median_ms is inf"),
        ("latency", "c/", 7, "latency['c/'] is no object"),
        ("files", "step.onnx", {"bytes": 1}, "files['step.onnx'].sha256 is missing"),
    ],
)
def test_another_form_is_one_line(recorded, entry, name, value, said):
    changed = copy.deepcopy(recorded)
    changed[entry][name] = value
    (line,) = statements.problems(changed)
    assert line.startswith(said)


def test_an_entry_may_be_no_object(recorded):
    assert [*statements.problems(recorded | {"made": 7})] == ["made is 7, expected an object"]
    assert [*statements.problems(recorded | {"dropped": []})] == ["dropped is [], expected an object"]
