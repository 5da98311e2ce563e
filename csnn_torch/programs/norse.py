"""Norse: Euler with a step of 1 ms, ignores r, and resets in the step of the spike."""

import math
from typing import Any

import numpy as np

from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import MEMBRANE, State
from csnn_torch.programs.cause import Moment, Step, decays, steps
from csnn_torch.programs.program import (
    STEPPED,
    Importer,
    Inexact,
    Layer,
    Program,
    Rules,
    Target,
    Written,
    near,
)

DT = 1e-3
FILE = "network_norse.nir"


def rate(tau: Any) -> Any:
    """The leak of its neurons, from arrays or tensors."""
    return DT * (1 / tau)


def _pulled(leak: Any, state: Any, x: Any) -> Any:
    return state + leak * (x - state)


def _leak(written: np.ndarray, dt: float) -> np.ndarray:
    """Norse writes dt tau instead of tau, in float32. This restores the rate 1 / tau, with its few original digits."""
    rates = np.asarray(dt / np.asarray(written, np.float64))
    short = np.array([float(f"{one:.5g}") for one in rates.flat]).reshape(rates.shape)
    rates = np.where(abs(rates - short) < 2.0**-22 * rates, short, rates)
    return np.float32(dt) * rates.astype(np.float32)


def neurons(layer: Layer) -> Written:
    """An IF if there's no leak, otherwise a LIF with weights divided by 1 - beta; a CubaLIF uses r and w_in instead.

    Norse ignores an IF's r, but NIR defines its input as r dt I, so r is 1 / dt.
    """
    values, threshold = layer.values, {"v_threshold": layer.values["threshold"]}
    if "alpha" not in values and values["beta"] == 1:
        return Written("IF", {"r": np.float32(1 / DT)} | threshold)
    for name in ("alpha", "beta"):
        if name in values and math.frexp(1 - float(values[name]))[0] != 0.5:
            raise Inexact(
                f"Norse multiplies its input by 1 - {name}, which the file only compensates exactly if it's a power of "
                f"two, but {layer.name}'s {name} is {values[name]:.6g}; train with --{name} 0.5 or 0.75, "
                f"not learned, for a {FILE}"
            )
    gain, tau = _gain_and_tau(values["beta"])
    if "alpha" not in values:
        return Written("LIF", {"tau": tau, "r": np.float32(1)} | threshold, gain)
    w_in, tau_syn = _gain_and_tau(values["alpha"])
    synapse = {"tau_syn": tau_syn, "w_in": np.float32(w_in)}
    return Written("CubaLIF", {"tau_mem": tau, "r": np.float32(gain)} | synapse | threshold)


def _gain_and_tau(decay: np.float32) -> tuple[float, np.float32]:
    """(1 / (1 - decay), the tau from which Norse gets exactly this decay)."""
    leak = np.float32(1 - decay)
    return 1 / float(leak), next(tau for tau in near(np.float32(DT) / leak) if rate(tau) == leak)


def _euler(step: Step, at: Moment) -> State:
    """The membrane is pulled to I / (1 - beta), each operation rounded; a beta of 1 leaves U + I."""
    if at.kind.states != (MEMBRANE,):
        raise UserError(f"{at.kind} neurons have more states than the membrane")
    bare = at.without_leak().without_subtraction()._replace(currents=(0 * at.current,))
    left, leak = step(bare)[MEMBRANE], 1 - at.values["beta"]
    pulled = (left + at.current).where(leak == 0, _pulled(leak, left, at.current / leak))
    return at.subtracted({MEMBRANE: pulled})


PROGRAM = Program(
    name="norse",
    title="Norse",
    packages=("norse", "nir", "nirtorch"),
    rules=Rules(
        dt=DT,
        leak=_leak,
        kinds=("IF", "LIF", "CubaLIF", "LI"),
        by_r=False,
        starts="v_leak",
        unsaid="Norse's files contain neither v_reset nor reset_method: assuming a reset to 0, its default",
    ),
    importer=Importer(
        "norse.torch.utils.import_nir:from_nir",
        # LIFBoxCell is also the membrane of its CubaLIF
        ("norse.torch.module.iaf:IAFCell", "norse.torch.module.lif_box:LIFBoxCell"),
        lambda module, output: (output[0], output[1].v),
        lambda batch, dt: {"ignore_warnings": True, "dt": dt},
        stateful=True,
    ),
    target=Target(
        file=FILE,
        neurons=neurons,
        dt=DT,
        leaky=lambda kind, tau, state, x: _pulled(rate(tau), state, x),
        like_ours=lambda kind, tau, state, x: (1 - rate(tau)) * state + rate(tau) * x,
        note="unchanged; membranes may differ in their last bit",
        sums=True,
        by_factors=True,
        usage=(
            "In Norse, which adds (1 - beta) (I / (1 - beta) - U) to a membrane U. In exact arithmetic, that's beta U "
            "+ I, but it rounds differently, so a spike may differ if a membrane is within rounding of its threshold:",
        ),
        imports=("import nir", "from norse.torch import from_nir"),
        setup=f'network = from_nir(nir.read("{FILE}"))',
        counts=STEPPED,
    ),
    causes=(
        decays("a time step of 1 ms instead of 0.1 ms", lambda decay: 1 - 10 * (1 - decay), "time step"),
        steps("rounding: Euler's form U + (1 - beta) (I / (1 - beta) - U)", "rounding", _euler),
    ),
)
