"""SpikingJelly: Euler with a step of 1e-4 s by default, and spikes at the threshold."""

import math
from typing import Any

import numpy as np

from csnn_torch.programs.program import STEPPED, Importer, Layer, Program, Rules, Target, Written, euler

DT = 1e-4
FILE = "network_spikingjelly.nir"


def neurons(layer: Layer) -> Written:
    """A LIF if dividing by tau, a power of two, is exact; otherwise a CubaLIF, which multiplies by beta.

    Time constants are float64, because the importer divides them by dt. For leaky neurons, the CubaLIF's current decays
    completely at every step, so the input is unchanged.
    """
    threshold, beta = {"v_threshold": layer.included}, float(layer.values["beta"])
    if "alpha" not in layer.values and 0 < beta < 1 and math.frexp(1 - beta)[0] == 0.5:
        tau = DT / (1 - beta)
        return Written("LIF", {"tau": tau, "r": tau / DT} | threshold)
    mem, syn = _tau(layer.values["beta"]), _tau(layer.values.get("alpha", np.float32(0)))
    return Written("CubaLIF", {"tau_mem": mem, "r": mem / DT, "tau_syn": syn, "w_in": syn / DT} | threshold)


def _tau(decay: np.float32) -> float:
    """The float64 time constant for which 1 - dt / tau is this decay in float32."""
    tau = DT / max(1 - float(decay), 2.0**-26)
    assert _decay(tau) == decay
    return tau


def _decay(tau: float) -> np.float32:
    return np.float32(1.0 - DT / tau)


def _leaky(kind: str, tau: Any, state: Any, x: Any) -> Any:
    """Its LIFNode without decay of its input, and its CUBALIFNode."""
    one = tau.flatten()[0]
    if kind == "LIF":
        return state - state / (one / DT).item() + x
    return state * float(_decay(one.item())) + x


PROGRAM = Program(
    name="spikingjelly",
    title="SpikingJelly",
    packages=("spikingjelly", "nir", "nirtorch"),
    rules=Rules(dt=DT, leak=euler, kinds=("IF", "LIF", "CubaLIF"), includes=True),
    importer=Importer(
        "spikingjelly.activation_based.nir_exchange:import_from_nir",
        ("spikingjelly.activation_based.nir_exchange.from_nir:_NIRStatefulModule",),
        lambda module, output: (output[0], output[1][list(module.module._memories).index("v")]),
        lambda batch, dt: {"dt": dt},
        stateful=True,
    ),
    target=Target(
        file=FILE,
        read_as={"written_by": "spikingjelly"},
        neurons=neurons,
        dt=DT,
        leaky=_leaky,
        usage=("In SpikingJelly:",),
        imports=("from spikingjelly.activation_based.nir_exchange import import_from_nir",),
        setup=f'network = import_from_nir("{FILE}")',
        counts=STEPPED,
    ),
)
