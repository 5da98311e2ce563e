"""Every side does the same work on the same network; when its times allow a ratio, and what happens if it fails."""

import io
import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from bundles import drawn, make_run
from recordings import write_nmnist
from refusals import refusing

from csnn_jax import data, machine
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.config.pixels import Pixels
from csnn_jax.errors import UserError
from csnn_torch.compare import cost, worker
from csnn_torch.compare.cost import APART, OTHERS, Cost, Rounds

STEADY = Rounds([[3.0, 1.0, 2.0], [2.0]], [[4.0, 2.0, 3.0], [5.0]])
BASE = Cost("snntorch", step=Rounds([[8.0]] * 3), infer=Rounds([[1.0]] * 3), others=[0.0] * 3)
COST = Cost("scan", step=STEADY, infer=Rounds([[0.25]] * 3), first_step=12.0, others=[0.01, 0.02, 0.0])
STACK = ModelConfig((8, 8, 1), (4,), hidden=(8,), num_classes=3, time_steps=6)


def test_costs_are_medians_over_all_turns_and_a_failed_side_has_none():
    assert (COST.step.clock_s, COST.step.processor_s, COST.compile_s) == (2.0, 3.5, 10.0)
    assert COST.step.range == (1.0, 3.0)
    assert replace(COST, first_step=1.0).compile_s == 0
    assert Cost("event", "RuntimeError: no").as_json() == {"side": "event", "failed": "RuntimeError: no"}


@pytest.mark.parametrize("slowest", [1.01 * APART, 0.99 * APART])
def test_no_ratio_is_given_if_turns_differ_by_more_than_a_third(slowest):
    turns = Rounds([[1.0, 9.0, 1.0], [1.0], [slowest]])  # only the median of a turn counts
    speed = replace(COST, step=turns).speed(BASE, "step")
    if slowest < APART:
        assert speed == 8.0
    else:
        assert speed == "none: turns differ by a factor of 1.3"
        base = replace(BASE, step=Rounds([[8.0], [8.0], [8.0 * slowest]]))
        assert COST.speed(base, "step") == "none: snnTorch: turns differ by a factor of 1.3"
        assert COST.speed(base, "infer") == 4.0


def test_a_busy_machine_gives_no_ratio():
    busy, why = [0.0, OTHERS + 0.3, 0.0], "the machine was busy, other programs took 40% of it"
    for mine, base in ((replace(COST, others=busy), BASE), (COST, replace(BASE, others=busy))):
        speed = mine.speed(base, "step")
        assert speed.startswith("none: ") and speed.endswith(why)
    assert {*replace(COST, others=busy).as_json()["no_ratio"].values()} == {why}
    for others in ([OTHERS] * 3, []):  # empty if the system doesn't report the load
        assert replace(COST, others=others).speed(BASE, "step") == 4.0


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_share_of_other_programs_excludes_the_sides_own_time():
    began, busy = time.perf_counter(), machine.busy_s()
    code = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    (all_of_it,), (less,) = (cost.others(began, busy, seconds) for seconds in (0.0, 0.5))
    assert all_of_it > less and cost.others(began, None, 0.0) == []
    assert cost.others(began, busy, 1e6) == [0.0]


def test_a_side_that_fails_says_why(tmp_path):
    (failed_side,) = cost.measure(str(tmp_path / "nope"), ("scan",), turns=2, rounds=1)
    assert failed_side.failed is not None and "nope: no such directory" in failed_side.failed
    assert failed_side.failed.startswith(str(tmp_path))  # without the exception's class name
    assert (failed_side.side, failed_side.step, failed_side.infer) == ("scan", Rounds(), Rounds())


@pytest.mark.slow
def test_short_rounds_are_repeated_until_they_fill_the_time(tmp_path):
    run = str(make_run(tmp_path / "run", ModelConfig(conv_channels=(2,), hidden=(), time_steps=2)))
    (side,) = cost.measure(run, ("scan",), turns=1, rounds=2, seconds=0.3)
    for (turn,) in (side.step.clock, side.infer.clock):
        assert len(turn) >= 2 and sum(turn) >= 0.3
        assert len(turn) == 2 or sum(turn[:-1]) < 0.3


def dataset_of(split: data.Split) -> data.Dataset:
    return data.Dataset("few", split, None, split, ("0", "1", "2"), Pixels(), ())


def test_all_sides_predict_the_same_and_learn():
    config = decided(Config(STACK, train=TrainConfig(rate_target=0.1, lr=0.01)))  # which not every side supports
    random = np.random.default_rng(0)
    split = data.Split(random.integers(0, 256, (32, 8, 8, 1), np.uint8), random.integers(0, 3, 32).astype(np.int32))
    few, tensors, index = dataset_of(split), drawn(STACK, 5), np.arange(24)
    sides = {name: make(config, few, tensors) for name, make in worker.SIDES.items()}
    expected, before = (call(index) for call in (sides["snntorch"].infer, sides["snntorch"].densities))
    assert len(set(expected)) > 1
    for side in sides.values():
        np.testing.assert_array_equal(side.infer(index), expected)
        assert side.densities(index) == before and "threads)" in side.describe()
        side.step(0, index)
        assert side.densities(index) != before


def test_messages_of_a_data_source_are_not_mixed_with_the_answer(tmp_path, monkeypatch, capsys):
    dataset = write_nmnist(tmp_path / "bars", train=13, test=1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = ModelConfig(input_shape=(34, 34, 2), conv_channels=(2,), hidden=(), time_steps=3, scale=1.0)
    run = make_run(tmp_path / "run", model, dataset)

    class Reading(worker.Jax):
        def step(self, iteration, index):
            print("caching recordings that are read for the first time")
            super().step(iteration, index)

    monkeypatch.setitem(worker.SIDES, "scan", partial(Reading, "scan"))
    monkeypatch.setattr("sys.stdin", io.StringIO("step\nreport\n"))
    worker.work(str(run), "scan")
    out, err = capsys.readouterr()
    step, report = map(json.loads, out.splitlines())
    assert step["seconds"] > 0 and "JAX" in report["description"] and err.count("caching") == 2


def test_an_input_that_changes_at_every_step_is_not_computed_once():
    rate = decided(Config(replace(STACK, encoding="rate")))
    split = data.Split(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int32))
    with refusing(UserError, "every step"):
        worker.SIDES["snntorch first convolution once"](rate, dataset_of(split), drawn(STACK))
