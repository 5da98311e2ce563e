"""How long each side took, when the times allow a ratio, and why a side failed."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from csnn_jax import machine
from csnn_torch.compare import cost
from csnn_torch.compare.cost import APART, OTHERS, Cost, Rounds

STEADY = Rounds([[3.0, 1.0, 2.0], [2.0]], [[4.0, 2.0, 3.0], [5.0]])
BASE = Cost("snntorch", step=Rounds([[8.0]] * 3), infer=Rounds([[1.0]] * 3), others=[0.0] * 3)
COST = Cost("scan", step=STEADY, infer=Rounds([[0.25]] * 3), first_step=12.0, others=[0.01, 0.02, 0.0])


def test_a_side_that_fails_says_why(tmp_path):
    (found,) = cost.measure(str(tmp_path / "nope"), ("scan",), turns=2, rounds=1)
    assert found.failed is not None and "nope: no such directory" in found.failed
    assert found.failed.startswith(str(tmp_path))  # without the exception's class name
    assert (found.side, found.step, found.infer) == ("scan", Rounds(), Rounds())


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_share_of_other_programs_excludes_the_sides_own_time():
    began, busy = time.perf_counter(), machine.busy_s()
    code = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    (all_others,), (without,) = (cost.others(began, busy, seconds) for seconds in (0.0, 0.5))
    assert all_others > without and cost.others(began, None, 0.0) == []
    assert cost.others(began, busy, 1e6) == [0.0]


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
    busy = [0.0, OTHERS + 0.3, 0.0]
    for mine, base in ((replace(COST, others=busy), BASE), (COST, replace(BASE, others=busy))):
        speed = mine.speed(base, "step")
        assert speed.startswith("none: ") and speed.endswith("the machine was busy, other programs took 40% of it")
    reasons = replace(COST, others=busy).as_json()["no_ratio"]
    assert set(reasons.values()) == {"the machine was busy, other programs took 40% of it"}
    assert replace(COST, others=[OTHERS] * 3).speed(BASE, "step") == 4.0
    assert replace(COST, others=[]).speed(BASE, "step") == 4.0  # if the system doesn't report the load
