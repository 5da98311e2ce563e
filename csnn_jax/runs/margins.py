"""How far an answer is ahead of the others, and how far it has to be for few enough wrong answers. NumPy only."""

import math
from typing import Any, NamedTuple

import numpy as np

_TAIL = 0.025
"""The probability above the upper end of a two-sided 95% interval."""


def margins(scores: np.ndarray) -> np.ndarray:
    """The highest score minus the second highest, 0 on ties.

    Args:
        scores: [..., classes]: whole numbers, or float32, whose difference is rounded once, as everywhere.

    Returns:
        Of the same type [...].
    """
    highest = np.partition(scores, -2, axis=-1)
    return highest[..., -1] - highest[..., -2]


class Answers(NamedTuple):
    """What a margin gives on images whose classes are known.

    Attributes:
        margin: the margin.
        given: number of images with an answer, whose margin is at least as large.
        wrong: number of these answers that are wrong.
    """

    margin: Any
    given: int
    wrong: int


def smallest(margins: np.ndarray, wrong: np.ndarray, share: float) -> Answers | None:
    """The smallest margin of these images, above 0, at which few enough of the answers given are wrong.

    A tie is never an answer.

    Args:
        margins: of the images [N].
        wrong: whether their answers are, bool [N].
        share: the share of wrong answers that the `upper_end` mustn't exceed, above 0 and below 1.

    Returns:
        None if there is no such margin.
    """
    order = np.argsort(margins)
    values, first = np.unique(margins[order], return_index=True)
    before = np.concatenate([[0], wrong[order].cumsum()])
    for value, start in zip(values, first.tolist(), strict=True):
        answers = Answers(value.item(), len(order) - start, int(before[-1] - before[start]))
        if value > 0 and _suffices(share, answers.wrong, answers.given):
            return answers
    return None


def upper_end(wrong: int, given: int) -> float:
    """The upper end of the two-sided 95% interval of a share (Clopper and Pearson, 1934).

    With a larger share, at most this many wrong answers would have a probability below 2.5%.

    Args:
        wrong: number of wrong answers.
        given: number of answers.
    """
    if wrong == given:
        return 1.0
    low, high = wrong / given, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if _suffices(middle, wrong, given) else (middle, high)
    return high


def _suffices(share: float, wrong: int, given: int) -> bool:
    """Whether a share, above 0 and below 1, is at least the `upper_end`."""
    return wrong < share * given and _at_most(wrong, given, share) <= _TAIL


def _at_most(wrong: int, given: int, share: float) -> float:
    """The probability of at most this many wrong answers if each is wrong with probability `share`."""
    right, ways = math.log1p(-share), math.lgamma(given + 1)
    return math.fsum(
        math.exp(ways - math.lgamma(k + 1) - math.lgamma(given - k + 1) + k * math.log(share) + (given - k) * right)
        for k in range(wrong + 1)
    )
