"""Helpers for the comparison's tests."""

from collections.abc import Iterable

from csnn_torch.compare.results import Check, GradientResult, SpikeResult, Trajectory


def broken(results: Iterable[SpikeResult | GradientResult | Trajectory]) -> list[Check]:
    """The bounds that don't hold."""
    return [check for result in results for check in result.checks() if not check.holds]
