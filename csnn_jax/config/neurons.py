"""The neurons of a block, and the values that they run with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Reset = Literal["subtract", "zero", "none"]


class Values(NamedTuple):
    """What a layer's neurons run with, as floats: exact for weights of either type, rounded by whoever uses them.

    Attributes:
        beta: membrane decay per time step, 0 to 1.
        threshold: theta, above which a membrane spikes.
    """

    beta: float
    threshold: float


@dataclass(frozen=True)
class Neurons:
    """The neurons of a block.

    Attributes:
        name: `lif1`, `lif2`, ...: the first part of the names of learned values in files.
        reset: what a spike does to the membrane one step later.
        beta: membrane decay per time step; what training starts from where it is learned.
        threshold: theta, likewise.
        learned: which of `beta` and `threshold` are learned, one value per layer.
    """

    name: str = "lif1"
    reset: Reset = "subtract"
    beta: float = 0.5
    threshold: float = 1.0
    learned: tuple[str, ...] = ()

    @property
    def initial(self) -> dict[str, float]:
        """What training starts from, by the names in files: `lif1.beta`, `lif1.threshold`; learned values only."""
        configured = {"beta": self.beta, "threshold": self.threshold}
        return {f"{self.name}.{part}": configured[part] for part in self.learned}

    def values(self, tensors: Mapping[str, np.ndarray]) -> Values:
        """The values after training: learned ones from a network's `tensors` (or arrays), the others as configured.

        Training may have moved a beta out of 0 to 1; every user of it clips it, and so does this.
        """
        values = {"beta": self.beta, "threshold": self.threshold}
        values |= {part: float(tensors[f"{self.name}.{part}"]) for part in self.learned}
        return Values(min(max(values["beta"], 0.0), 1.0), values["threshold"])
