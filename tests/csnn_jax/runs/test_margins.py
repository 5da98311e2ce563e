from fractions import Fraction
from math import comb

import numpy as np
import pytest

from csnn_jax.runs.margins import Answers, margins, smallest, upper_end


def tail(wrong: int, given: int, share: float) -> float:
    """The probability of at most this many wrong answers, in whole numbers."""
    one = Fraction(share)
    return float(sum(comb(given, k) * one**k * (1 - one) ** (given - k) for k in range(wrong + 1)))


@pytest.mark.parametrize("given", [1, 2, 7, 100, 4938])
def test_the_interval_has_its_closed_forms(given):
    """Without a wrong answer, and without more than one right answer."""
    assert upper_end(0, given) == pytest.approx(1 - 0.025 ** (1 / given), rel=1e-12)
    assert upper_end(given - 1, given) == pytest.approx(0.975 ** (1 / given), rel=1e-12)
    assert upper_end(given, given) == 1


@pytest.mark.parametrize(("wrong", "given"), [(1, 2), (10, 100), (57, 500), (90, 100)])
def test_at_the_upper_end_so_few_wrong_answers_have_a_probability_of_one_in_forty(wrong, given):
    assert tail(wrong, given, upper_end(wrong, given)) == pytest.approx(0.025, rel=1e-9)
    assert upper_end(wrong, given) > wrong / given


def test_the_highest_score_minus_the_second():
    scores = np.array([[3, 9, 4], [5, 5, 1], [0, 0, 0], [-2, -7, -9]])
    assert margins(scores).tolist() == [5, 0, 0, 5]
    rounded = margins(np.array([[0.1, 2**24, 0]], np.float32))
    assert rounded.dtype == np.float32 and rounded.tolist() == [2**24]


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_the_smallest_margin_with_few_enough_wrong_answers(kind):
    """Compared with every margin in turn; a tie is never an answer."""
    random, lowest = np.random.default_rng(0), set()
    for share in (0.02, 0.1, 0.3, 0.999):
        ahead = (random.integers(0, 30, 400) / (1 if kind == np.int64 else 7)).astype(kind)
        wrong = random.random(400) < np.exp(-6 * ahead / ahead.max())
        for value in np.unique(ahead[ahead > 0]):
            given, bad = int((ahead >= value).sum()), int(wrong[ahead >= value].sum())
            if upper_end(bad, given) <= share:
                assert smallest(ahead, wrong, share) == Answers(value, given, bad)
                lowest.add(value)
                break
        else:
            assert smallest(ahead, wrong, share) is None
    assert len(lowest) >= 2 and min(lowest) == ahead[ahead > 0].min()
