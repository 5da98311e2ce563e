"""`network_spikingjelly.nir`: for SpikingJelly, whose neurons also spike at the threshold and use tau in steps."""

import math

import nir
import numpy as np
from torch import Tensor

from export.graphs.nir_dialect import DT, Dialect, Given, Written, node
from export.parts.nir_reader import Reader, States, Values, part, reset
from export.proof import Figures
from export.report import snippets


def neurons(given: Given) -> Written:
    """A LIF if dividing by tau, a power of two, is exact; otherwise a CubaLIF, which multiplies by beta.

    Time constants are float64, because the importer divides them by dt. For leaky neurons, the CubaLIF's current decays
    completely at every step, so the input is unchanged.
    """
    beta = float(given.values["beta"])
    if "alpha" not in given.values and 0 < beta < 1 and math.frexp(1 - beta)[0] == 0.5:
        tau = DT / (1 - beta)
        return Written(node(nir.LIF, given.shape, tau=tau, r=tau / DT, v_threshold=given.included))
    mem, syn = _tau(given.values["beta"]), _tau(given.values.get("alpha", np.float32(0)))
    synapse = {"tau_syn": syn, "w_in": syn / DT}
    return Written(node(nir.CubaLIF, given.shape, tau_mem=mem, r=mem / DT, v_threshold=given.included, **synapse))


def _tau(decay: np.float32) -> float:
    """The float64 time constant for which 1 - dt / tau is this decay in float32."""
    tau = DT / max(1 - float(decay), 2.0**-26)
    assert _decay(tau) == decay
    return tau


def _decay(tau: float) -> np.float32:
    return np.float32(1.0 - DT / tau)


def rule(kind: nir.NIRNode, values: Values, x: Tensor, state: States) -> tuple[Tensor, States]:
    """SpikingJelly's LIFNode without decay of its input, and its CUBALIFNode."""
    current, membrane = state
    if isinstance(kind, nir.LIF):
        steps = (values["tau"].flatten()[0] / DT).item()
        membrane = membrane - membrane / steps + x
    else:
        decays = (float(_decay(values[name].flatten()[0].item())) for name in ("tau_syn", "tau_mem"))
        current = current * next(decays) + x
        membrane = membrane * next(decays) + current
    fired = membrane - values["v_threshold"] >= 0
    return fired, (current, reset(fired, membrane))


def _usage(semantics: Figures) -> str:
    return f"""\
In SpikingJelly:

<!-- spikingjelly -->
```python
{snippets.spikingjelly(semantics)}
```"""


DIALECT = Dialect("SpikingJelly", "network_spikingjelly.nir", DT, neurons)
PART = part(Reader(DIALECT, rule, 10, _usage))
