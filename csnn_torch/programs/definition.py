"""NIR's definition: how it's read, and `network.nir`, which follows it.

With v_leak = v_reset = 0, r = tau / dt and tau = dt / (1 - beta), Euler's v + dt / tau (r I - v) is beta v + I: ours,
for reset `zero`. `nir.CubaLIF` adds an input current that decays the same way: our `synaptic`, for reset `clear`. NIR
resets in the step that spikes, while we (snnTorch's reset delay) reset at the start of the next one. The spikes are the
same, because nothing reads the membrane in between, but after a spike NIR's membrane reads 0 and ours is still above
its threshold.
"""

from itertools import islice

import numpy as np

from csnn_torch.programs.program import Inexact, Layer, Rules, Written, euler, near

DT = 1e-4
"""Time step (seconds) that readers assume; snnTorch, the first of them, hard-codes it."""
FILE = "network.nir"

RULES = Rules(dt=DT, leak=euler, kinds=("IF", "LIF", "CubaLIF", "LI"))
"""The definition doesn't say where a membrane starts."""


def neurons(layer: Layer) -> Written:
    """A LIF, or a CubaLIF for synaptic neurons, as NIR defines them."""
    values = {"v_threshold": layer.values["threshold"]}
    synaptic = "alpha" in layer.values
    for name, tau, r in (("alpha", "tau_syn", "w_in"), ("beta", "tau_mem" if synaptic else "tau", "r")):
        if name in layer.values:
            constant = _time_constant(layer.values[name])
            if constant is None:
                raise Inexact(
                    f"NIR stores 1 - {name}, which can't represent {layer.name}'s {name} of {layer.values[name]:.6g}; "
                    f"train with --{name} 0, or 1e-6 or more, for a {FILE}"
                )
            values |= dict(zip((tau, r), constant, strict=True))
    return Written("CubaLIF" if synaptic else "LIF", values)


def _time_constant(beta: np.float32) -> tuple[np.floating, np.floating] | None:
    """The (tau in seconds, r) from which a reader gets exactly this float32 beta; None if there are none.

    A reader computes 1 - dt / tau in tau's type, which rounds twice. A float32 tau works for the usual betas but not
    for all below 0.7 (not for 0.4); those need a float64 tau. Among the neighbors of dt / (1 - beta), this prefers the
    first whose r also gives beta in a reader that computes 1 - (tau / r) / tau (snn-mlir).
    """
    leak = max(1 - float(beta), 2.0**-26)  # for beta 1, tau is finite, and 1 - dt / tau still rounds to 1 in float32
    exact = [tau for tau in near(np.float32(DT / leak)) if np.float32(1 - DT / tau) == beta]
    if pairs := [(tau, r) for tau in exact for r in islice(near(tau / np.float32(DT)), 3)]:
        return next(((tau, r) for tau, r in pairs if np.float32(1 - (tau / r) / tau) == beta), pairs[0])
    double = np.float64(DT / leak)
    return (double, double / DT) if np.float32(1 - DT / double) == beta else None
