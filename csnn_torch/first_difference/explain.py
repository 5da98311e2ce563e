"""Finds causes of a difference by experiment: a network is computed as each of them has it, and compared."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from csnn_jax.errors import UserError
from csnn_torch.first_difference.causes import CAUSES, Cause, of_other
from csnn_torch.first_difference.difference import Place, Signals, What, first, signals
from csnn_torch.first_difference.simulation import Network, simulate

BATCH = 16
"""Images that are run at a time, so that membranes of large networks fit into memory."""
MOST = 4
"""Causes that are combined."""
LISTED = 3
"""Findings that leave some values unexplained and are given."""


@dataclass(frozen=True)
class Finding:
    """Causes that, together, make a network give the other side's values, or more of them.

    Attributes:
        causes: in the order in which they were found.
        left: values that still differ, of all images.
        first: the first difference, and all before it, is explained.
    """

    causes: tuple[Cause, ...]
    left: int
    first: bool


@dataclass(frozen=True, eq=False)
class Experiment:
    """One side's network against what the other side gave.

    Attributes:
        network: of the side.
        x: its inputs [time, images, C, H, W].
        what: is compared of every layer.
        wanted: what the other side gave.
        place: where the sides differ first.
    """

    network: Network
    x: Tensor
    what: Sequence[What]
    wanted: Signals
    place: Place

    def reproduces(self, own: Signals) -> bool:
        """Whether the network, as it is, gives what its side gave of the image with the first difference."""
        images = [self.place.image]
        found = signals(self.what, simulate(self.network, self.x[:, images]))
        return all(np.array_equal(a, b[:, images]) for a, b in zip(found, own, strict=True))

    def findings(self, other: Network | None) -> list[Finding]:
        """What explains the first difference, the most complete first; if nothing does, what leaves the fewest.

        Causes are tried on the image with the first difference: alone, and if none explains all of it, two at a time.
        To the best others are added while that leaves fewer values that differ, there and where it left most.

        Args:
            other: the network of the other side, if it can be read.
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
        """Of sets of causes those that explain the first difference; only the steps up to it are run for the others."""
        steps = self.place.step + 1
        short = replace(self, x=self.x[:steps], wanted=[signal[:steps] for signal in self.wanted])
        return self._tried([one.causes for one in short._tried(sets, images) if one.first], images)

    def _complete(self, found: Sequence[Finding]) -> list[Finding]:
        """Those that explain all values of all images, with no more causes than they need."""
        whole = [one for one in found if one.first and not one.left and not self._left(one.causes).any()]
        return sorted(dict.fromkeys(map(self._needed, whole)), key=_rank)

    def _partial(self, found: Sequence[Finding], best: Finding) -> list[Finding]:
        """Those that leave the fewest values of all images: the best, and some that explain the first difference."""
        some = [best, *(one for one in sorted(found, key=_rank) if one.first and one is not best)][:LISTED]
        return sorted((replace(one, left=int(self._left(one.causes).sum())) for one in some), key=_rank)

    def _needed(self, finding: Finding) -> Finding:
        """What explains everything, without the causes that aren't needed for that."""
        for cause in finding.causes if len(finding.causes) > 1 else ():
            fewer = tuple(one for one in finding.causes if one is not cause)
            if not self._left(fewer).any():
                return self._needed(replace(finding, causes=fewer))
        return finding

    def _tried(self, sets: Sequence[tuple[Cause, ...]], images: list[int]) -> list[Finding]:
        """Sets of causes on some images, that with the first difference first, without those that nothing can have."""
        found = []
        for causes in sets:
            try:
                differ = self._differ(causes, images)
            except UserError:  # no network is computed so
                continue
            at = first(differ, self.what)
            here = self.place._replace(image=0)
            found.append(Finding(causes, sum(int(x.sum()) for x in differ), at is None or at > here))
        return found

    def _left(self, causes: tuple[Cause, ...]) -> np.ndarray:
        """How many values of each image differ with some causes [images]."""
        count = self.x.shape[1]
        parts = [self._differ(causes, [*range(i, min(i + BATCH, count))]) for i in range(0, count, BATCH)]
        return np.concatenate([sum(x.swapaxes(0, 1).reshape(x.shape[1], -1).sum(1) for x in part) for part in parts])

    def _differ(self, causes: tuple[Cause, ...], images: list[int]) -> list[np.ndarray]:
        """Where layers of the network with some causes differ from the other side, bool [time, images, *shape]."""
        network = self.network
        for cause in causes:
            network = cause.change(network)
        found = signals(self.what, simulate(network, self.x[:, images]))
        wanted = [signal[:, images] for signal in self.wanted]
        if any(a.shape != b.shape for a, b in zip(found, wanted, strict=True)):
            raise UserError("layers of another shape")
        return [a != b for a, b in zip(found, wanted, strict=True)]


def _rank(finding: Finding) -> tuple[bool, int, int]:
    return not finding.first, finding.left, len(finding.causes)
