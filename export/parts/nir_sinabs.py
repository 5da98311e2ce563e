"""`network_sinabs.nir`: for Sinabs, which uses nir 1.0.4, sum pooling, and time constants in steps."""

import math

import nir
import numpy as np
import torch
from torch import Tensor

from export.graphs.nir_dialect import Dialect, Given, Inexact, Written, node
from export.parts.nir_reader import Reader, States, Values, part, reset
from export.proof import Figures
from export.report import snippets


def neurons(given: Given) -> Written:
    """A LIF with exp(-1 / tau) = beta, which also spikes at its threshold."""
    if "alpha" in given.values:
        raise Inexact("Sinabs drops a CubaLIF; train with --neuron leaky --reset zero for a network_sinabs.nir")
    beta = given.values["beta"]
    for tau in _near(beta):
        if decay(torch.tensor(tau)).item() == beta:
            return Written(node(nir.LIF, given.shape, tau=tau, r=np.float32(1), v_threshold=given.included))
    raise Inexact(
        f"Sinabs computes exp(-1 / tau) in float32, and no tau gives {given.name}'s beta of {beta:.6g}; "
        "train with --beta 0, or 0.5 or more, for a network_sinabs.nir"
    )


def _near(beta: np.float32) -> list[np.float32]:
    """Time constants for about this beta, nearest first; for 0 and 1, one whose exponential rounds to it."""
    if beta in (0, 1):
        return [np.float32(2.0**-10 if beta == 0 else 2.0**30)]
    tau = np.float32(-1 / math.log(beta))
    return [tau + np.float32(step) * np.spacing(tau) for step in sorted(range(-8, 9), key=abs)]


def decay(tau: Tensor) -> Tensor:
    """The factor by which Sinabs multiplies a membrane."""
    return torch.exp(-1.0 / tau)


def rule(kind: nir.NIRNode, values: Values, x: Tensor, state: States) -> tuple[Tensor, States]:
    """Sinabs' LIF with SingleSpike and MembraneReset."""
    current, membrane = state
    membrane = decay(values["tau"]) * membrane + x
    fired = membrane - values["v_threshold"] >= 0
    return fired, (current, reset(fired, membrane))


def _usage(semantics: Figures) -> str:
    return f"""\
In Sinabs, whose importer makes neurons that reset by subtraction and can spike several times per step; the example
changes both:

<!-- sinabs -->
```python
{snippets.sinabs(semantics)}
```"""


DIALECT = Dialect("Sinabs", "network_sinabs.nir", None, neurons, sums=True, legacy=True)
PART = part(Reader(DIALECT, rule, 9, _usage))
