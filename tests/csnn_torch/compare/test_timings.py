"""How long each side took, and when the times allow a ratio."""

from dataclasses import replace

import pytest

from csnn_torch.compare.cost import APART, OTHERS, Cost, Rounds

STEADY = Rounds([[3.0, 1.0, 2.0], [2.0]], [[4.0, 2.0, 3.0], [5.0]])
BASE = Cost("snntorch", step=Rounds([[8.0]] * 3), infer=Rounds([[1.0]] * 3), others=[0.0] * 3)
COST = Cost("scan", step=STEADY, infer=Rounds([[0.25]] * 3), first_step=12.0, others=[0.01, 0.02, 0.0])


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
