"""The form of everything that only a bundle's maker can state is checked, and nothing else may be stated."""

import copy
import functools
from datetime import UTC, datetime, timedelta

import pytest

from export import manifest
from export.proof import statements


@pytest.fixture(scope="module")
def recorded(small_bundle):
    return manifest.read(small_bundle)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("statements.made.utc", "today"),
        ("statements.made.utc", "9999-99-99T00:00:00+00:00"),
        ("statements.made.utc", "1999-12-31T23:59:59+00:00"),
        ("statements.made.utc", "2999-01-01T00:00:00+00:00"),
        ("statements.made.cpu", "\x1b[31m"),
        ("statements.made.versions.torch", "<script>"),
        ("statements.made.versions.certified", "1.0"),
        ("statements.training.iterations", True),
        ("statements.training.seconds", -1.0),
        ("statements.training.checkpoint", None),
        ("statements.data.sha256", "0"),
        ("statements.settings.effort", []),
        ("statements.settings.images", 0),
        ("statements.settings.prefix", "2nd"),
        ("statements.settings.note", "x"),
        ("statements.latency", {"c/": {"median_ms": float("inf"), "p99_ms": 1, "calls": 1}}),
        ("statements.latency", {"c/": 7}),
        ("statements.latency", {"c/": {"median_ms": 1, "p99_ms": 1, "calls": 1, "dequantizing_ms": "long"}}),
        ("statements.made", 7),
        ("statements.dropped", []),
        ("statements.note", {}),
        ("hashes", {"step.onnx": {"bytes": 0, "sha256": "no plain file"}}),
        ("hashes", {"step.onnx": {"bytes": 1}}),
        ("results", []),
        ("statements.training.seconds", 10**400),
        ("statements.training.seconds", -1.0),
        ("statements.training.seconds", float("nan")),
        ("statements.settings.opset", 9),
        ("statements.settings.opset", 22),
    ],
)
def test_a_value_of_another_form_is_one_line_with_its_path(recorded, place, value):
    changed = copy.deepcopy(recorded)
    *entries, name = place.split(".")
    functools.reduce(dict.__getitem__, entries, changed)[name] = value
    (line,) = statements.problems(changed)
    assert line.startswith(place)


@pytest.mark.parametrize(
    ("place", "accepted", "refused"),
    [
        ("training.iterations", (0, 2**53 - 1), (-1, 2**53)),
        ("training.seconds", (None, 0, 1e300), (-0.5,)),
        ("made.cores", (1,), (0,)),
        ("made.cpu", (None, "x", "x" * 1000), ("", "x" * 1001)),
        ("made.utc", ("2000-01-01T00:00:00+00:00",), (f"{datetime.now(UTC) + timedelta(hours=28):%FT%T}+00:00",)),
        ("rounded?.accuracy", (0, 0.5, 1.0), (-0.5, 1.5)),
    ],
)
def test_the_ends_of_a_range_are_accepted(place, accepted, refused):
    form = functools.reduce(dict.__getitem__, place.split("."), statements.STATEMENTS)
    counts = [len([*statements.problems(value, form, place)]) for value in (*accepted, *refused)]
    assert counts == [0] * len(accepted) + [1] * len(refused)


def test_a_missing_statement_is_named(recorded):
    for entry in recorded["statements"]:
        changed = copy.deepcopy(recorded)
        del changed["statements"][entry]
        assert [*statements.problems(changed)] == [f"statements.{entry} is missing"]


def test_statements_are_compared_with_the_results_and_the_images(recorded):
    stated, results = copy.deepcopy(recorded["statements"]), recorded["results"]
    count = results["numbers"]["total"]["parameters"]
    assert [*statements.contradictions(stated, results, True)] == []
    stated["settings"]["images"] = 10_000
    assert [*statements.contradictions(stated, results, True)] == []
    stated["settings"]["images"] = 20_000
    assert [*statements.contradictions(stated | {"rounded": {"accuracy": 0.9}}, results, True)] == [
        "settings.images is 20000, but the test set has 10000",
        "rounded is stated, but the weights have all their bits",
    ]
    stated, accuracy = copy.deepcopy(recorded["statements"]), results["accuracy"]
    dropped = {"accuracy": accuracy - 0.01, "channels": {"conv1": 8, "fc1": 20}, "fired_on": 0}
    dropped |= {"other_answers": 100, "parameters": 2 * count}
    for changes, named in (
        ({}, []),
        ({"channels": {"conv1": 3, "fc1": 20}}, ["dropped.channels"]),
        ({"channels": {"conv1": 8}}, ["dropped.channels"]),
        ({"parameters": count - 1}, ["dropped.parameters"]),
        ({"parameters": count, "channels": {"conv1": 4, "fc1": 16}, "fired_on": 10_000, "other_answers": 10_000}, []),
        ({"fired_on": 10**6, "parameters": 1}, ["dropped.parameters", "dropped"]),
        ({"other_answers": 10**6}, ["dropped"]),
        ({"other_answers": 99}, ["dropped.accuracy"]),
        ({"accuracy": accuracy + 0.011}, ["dropped.accuracy"]),
    ):
        lines = statements.contradictions(stated | {"dropped": dropped | changes}, results, True)
        assert [line.split()[0] for line in lines] == named
    wrong = {"dropped": dropped | {"other_answers": 99}}
    assert [*statements.contradictions(stated | wrong, results, False)] == []
    stated["settings"]["time_steps"] = 3
    assert [*statements.contradictions(stated | wrong, results, True)] == []


def test_a_clock_may_be_some_hours_ahead(recorded):
    for hours in (0, 20):
        utc = f"{datetime.now(UTC) + timedelta(hours=hours):%FT%T}+00:00"
        changed = copy.deepcopy(recorded)
        changed["statements"]["made"]["utc"] = utc
        assert [*statements.problems(changed)] == []


def test_a_percentile_below_the_median_is_impossible(recorded):
    stated = copy.deepcopy(recorded["statements"])
    stated["latency"]["c/"] |= {"median_ms": 2.0, "p99_ms": 1.0}
    lines = [*statements.contradictions(stated, recorded["results"], True)]
    assert lines == ["latency.c/.p99_ms is 1.0, below the median, 2.0"]


@pytest.mark.parametrize(
    ("version", "is_newer"), [("9.9", True), ("0.4.0", False), ("0.4.0.dev1+g1", False), ("x", False)]
)
def test_a_newer_csnn_jax_is_said_and_other_packages_may_be_newer(recorded, version, is_newer):
    made = copy.deepcopy(recorded["statements"]["made"])
    made["versions"] |= {"csnn-jax": version, "torch": "99.0"}
    assert (version in statements.newer(made)) is is_newer


def test_latencies_of_slow_and_fast_machines_are_plausible():
    assert not statements.implausible(0.05, 500.0) and not statements.implausible(500.0, 0.05)
    assert statements.implausible(0.0, 0.01) and statements.implausible(1e5, 1.0) and statements.implausible(1e-5, 1.0)
