"""`network_norse.nir`: for Norse, whose importer has no average pooling and multiplies a LIF's input by 1 - beta."""

import math
from collections.abc import Callable

import nir
import numpy as np
from torch import Tensor

from export.graphs.nir_dialect import Dialect, Given, Inexact, Written, node
from export.parts.nir_reader import Reader, Rule, States, Values, part, reset
from export.proof import Figures
from export.report import snippets

DT = 1e-3
"""The default time step of Norse's importer, in seconds."""


def neurons(given: Given) -> Written:
    """An IF if there's no leak, otherwise a LIF with weights divided by 1 - beta; a CubaLIF uses r and w_in instead.

    Norse ignores an IF's r, but NIR defines its input as r dt I, so r is 1 / dt.
    """
    values, threshold = given.values, given.values["threshold"]
    if "alpha" not in values and values["beta"] == 1:
        return Written(node(nir.IF, given.shape, r=np.float32(1 / DT), v_threshold=threshold))
    for name in ("alpha", "beta"):
        if name in values and math.frexp(1 - float(values[name]))[0] != 0.5:
            raise Inexact(
                f"Norse multiplies its input by 1 - {name}, which the file only compensates exactly if it's a power of "
                f"two, but {given.name}'s {name} is {values[name]:.6g}; train with --{name} 0.5 or 0.75 for a "
                "network_norse.nir"
            )
    gain, tau = _gain_and_tau(values["beta"])
    if "alpha" not in values:
        return Written(node(nir.LIF, given.shape, tau=tau, r=np.float32(1), v_threshold=threshold), gain)
    w_in, tau_syn = _gain_and_tau(values["alpha"])
    synapse = {"tau_syn": tau_syn, "w_in": np.float32(w_in)}
    return Written(node(nir.CubaLIF, given.shape, tau_mem=tau, r=np.float32(gain), v_threshold=threshold, **synapse))


def _gain_and_tau(decay: np.float32) -> tuple[float, np.float32]:
    """(1 / (1 - decay), the tau from which Norse gets exactly this decay)."""
    leak = np.float32(1 - decay)
    near = np.float32(DT) / leak
    for step in sorted(range(-8, 9), key=abs):
        tau = near + np.float32(step) * np.spacing(near)
        if np.float32(DT) * (np.float32(1) / tau) == leak:
            return 1 / float(leak), tau
    raise AssertionError(f"no tau for a decay of {decay}")  # can't happen: the steps are the same for any power of two


def _neurons(leaky: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Rule:
    """Norse's neurons; `leaky` maps a state, its rate and its input to the next state."""

    def rule(kind: nir.NIRNode, values: Values, x: Tensor, state: States) -> tuple[Tensor, States]:
        current, membrane = state
        if isinstance(kind, nir.CubaLIF):
            current = leaky(current, _rate(values["tau_syn"]), values["w_in"] * x)
            x = values["r"] * current
        if isinstance(kind, nir.IF):
            membrane = membrane + x
        else:
            membrane = leaky(membrane, _rate(values["tau_mem" if isinstance(kind, nir.CubaLIF) else "tau"]), x)
        fired = membrane > values["v_threshold"]
        return fired, (current, reset(fired, membrane))

    return rule


def _rate(tau: Tensor) -> Tensor:
    return DT * (1 / tau)


def _usage(semantics: Figures) -> str:
    return f"""\
In Norse, which adds (1 - beta) (I / (1 - beta) - U) to a membrane U. In exact arithmetic, that's beta U + I, but it
rounds differently, so a spike may differ if a membrane is within rounding of its threshold:

<!-- norse -->
```python
{snippets.norse(semantics)}
```"""


DIALECT = Dialect("Norse", "network_norse.nir", DT, neurons, sums=True)
rule = _neurons(lambda state, rate, x: state + rate * (x - state))
same_as_ours = _neurons(lambda state, rate, x: (1 - rate) * state + rate * x)
PART = part(Reader(DIALECT, rule, 8, _usage, same_as_ours))
