"""When a trained network's answer is unknown: what `csnn_jax.evaluate --unknown` measured."""

import re
from dataclasses import dataclass

import numpy as np

from csnn_jax.options import Options, Rule, option
from csnn_jax.options.kinds import count, number, text

SHARE = number(above=0, below=1)
"""The values of a share of wrong answers."""
_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class UnknownConfig(Options):
    """The smallest margin of an answer, and what it was measured with. All fields are None if none was measured.

    Other weights or windows have other margins, so it applies to no others.
    """

    # fmt: off
    share: float | None = option(None, SHARE, """
        Share of the answers that may be wrong, by the upper end of its interval.""", has_flag=False)
    margin: float | None = option(None, number(
        above=0, most=_FLOAT32, limits="above 0, exact in float32",
        also=lambda value: float(np.float32(value)) == value), """
        Difference of the two highest scores below which the answer is unknown.""", has_flag=False)
    steps: int | None = option(None, count(), "Steps of the window.", has_flag=False)
    weights: str | None = option(None, text(
        "a SHA-256", lambda value: re.fullmatch("[0-9a-f]{64}", value) is not None), """
        SHA-256 of the weights, see `layouts.digest`.""", has_flag=False)
    # fmt: on

    RULES = (
        Rule(
            "margin",
            "share, steps and weights, too, or none of them",
            lambda unknown: len({value is None for value in vars(unknown).values()}) == 1,
        ),
    )

    def margin_for(self, weights: str, time_steps: int) -> float | None:
        """The margin for a network.

        Args:
            weights: SHA-256 of its weights.
            time_steps: steps of its window.

        Returns:
            None if it was measured with others, or never.
        """
        return self.margin if (self.weights, self.steps) == (weights, time_steps) else None
