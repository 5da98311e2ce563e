"""Finds causes of a difference by experiment: computes a network with each of them, and compares the results."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from csnn_jax.errors import UserError
from csnn_jax.runs.equality import Place, differing, first_place
from csnn_jax.window import Trace
from csnn_torch.first_difference.causes import CAUSES, Cause, of_other
from csnn_torch.first_difference.signals import signals
from csnn_torch.first_difference.simulation import Network, simulate

BATCH = 16
"""Number of images to run at once, so the membranes of large networks fit in memory."""
MOST = 4
"""Maximum number of causes to combine."""
LISTED = 3
"""Maximum number of findings to list if values remain unexplained."""


@dataclass(frozen=True)
class Finding:
    """Causes that together make a network give the other side's values, or more of them.

    Attributes:
        causes: in the order in which they were found.
        left: number of values that still differ, in all images.
        first: whether the first difference, and everything before it, is explained.
    """

    causes: tuple[Cause, ...]
    left: int
    first: bool


@dataclass(frozen=True, eq=False)
class Experiment:
    """Compares variations of one side's network with what the other side gave.

    Attributes:
        network: the side's network.
        x: its inputs [time, images, C, H, W].
        wanted: what the other side gave that is compared.
        place: where the sides first differ.
    """

    network: Network
    x: Tensor
    wanted: Trace
    place: Place

    def reproduces(self, own: Trace) -> bool:
        """Whether the unchanged network reproduces its own side on the image with the first difference."""
        images = [self.place.image]
        found, expected = signals(simulate(self.network, self.x[:, images]), own), signals(own, own)
        return all(np.array_equal(found[node], expected[node][:, images]) for node in found)

    def findings(self, other: Network | None) -> list[Finding]:
        """What explains the first difference, most complete first; if nothing does, what leaves the fewest values.

        Causes are tried on the image with the first difference: alone, and if none explains all of it, in pairs. More
        are added to the best while fewer values differ, there and in the image with the most left.

        Args:
            other: the other side's network, if it can be read.
        """
        causes = CAUSES + (of_other(self.network, other) if other else ())
        images = [self.place.image]
        found = self._first_explained([(cause,) for cause in causes], images)
        if all(one.left for one in found):
            found += self._first_explained([*itertools.combinations(causes, 2)], images)
        found = found or self._tried([(cause,) for cause in causes], images)
        best = min(found, key=_rank)
        while len(best.causes) < MOST and (left := self._left(best.causes)).any():
            images = [*dict.fromkeys((*images, int(left.argmax())))]
            longer = self._tried([(*best.causes, cause) for cause in causes if cause not in best.causes], images)
            better = min(longer, key=_rank)
            if better.left >= left[images].sum():
                break
            found, best = [*found, better], better
        return self._complete(found) or self._partial(found, best)

    def _first_explained(self, sets: Sequence[tuple[Cause, ...]], images: list[int]) -> list[Finding]:
        """The sets of causes that explain the first difference; the others only run the steps up to it."""
        steps = self.place.step + 1
        short = replace(self, x=self.x[:steps], wanted=self.wanted.map(lambda signal: signal[:steps]))
        return self._tried([one.causes for one in short._tried(sets, images) if one.first], images)

    def _complete(self, found: Sequence[Finding]) -> list[Finding]:
        """The findings that explain all values of all images, with no more causes than needed."""
        whole = [one for one in found if one.first and not one.left and not self._left(one.causes).any()]
        return sorted(dict.fromkeys(map(self._needed, whole)), key=_rank)

    def _partial(self, found: Sequence[Finding], best: Finding) -> list[Finding]:
        """The best finding, and some others that explain the first difference, counted on all images."""
        some = [best, *(one for one in sorted(found, key=_rank) if one.first and one is not best)][:LISTED]
        return sorted((replace(one, left=int(self._left(one.causes).sum())) for one in some), key=_rank)

    def _needed(self, finding: Finding) -> Finding:
        """A finding that explains everything, without unnecessary causes."""
        for cause in finding.causes if len(finding.causes) > 1 else ():
            fewer = tuple(one for one in finding.causes if one is not cause)
            if not self._left(fewer).any():
                return self._needed(replace(finding, causes=fewer))
        return finding

    def _tried(self, sets: Sequence[tuple[Cause, ...]], images: list[int]) -> list[Finding]:
        """Tries sets of causes on images, the one with the first difference first; skips those that don't apply."""
        found = []
        for causes in sets:
            try:
                differ = self._differ(causes, images)
            except UserError:  # the network can't be computed that way
                continue
            at = first_place(differ)
            here = self.place._replace(image=0)
            found.append(Finding(causes, sum(int(x.sum()) for x in differ.values()), at is None or at > here))
        return found

    def _left(self, causes: tuple[Cause, ...]) -> np.ndarray:
        """Number of values of each image that differ with some causes [images]."""
        count = self.x.shape[1]
        parts = [self._differ(causes, [*range(i, min(i + BATCH, count))]) for i in range(0, count, BATCH)]
        layers = [[x.swapaxes(0, 1).reshape(x.shape[1], -1).sum(1) for x in part.values()] for part in parts]
        return np.concatenate([sum(part) for part in layers])

    def _differ(self, causes: tuple[Cause, ...], images: list[int]) -> dict[str, np.ndarray]:
        """Where the network with some causes differs from the other side, by node: bool [time, images, *shape]."""
        network = self.network
        for cause in causes:
            network = cause.change(network)
        found = signals(simulate(network, self.x[:, images]), self.wanted)
        wanted = {node: signal[:, images] for node, signal in signals(self.wanted, self.wanted).items()}
        if any(found[node].shape != wanted[node].shape for node in found):
            raise UserError("layers of another shape")
        return {node: differing(found[node], wanted[node]) for node in found}


def _rank(finding: Finding) -> tuple[bool, int, int]:
    return not finding.first, finding.left, len(finding.causes)
