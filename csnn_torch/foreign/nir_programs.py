"""What a NIR file leaves to its writer: how a time constant becomes a decay, a neuron's input factor, its reset.

A file doesn't state which program wrote it. By NIR's definition, solved by Euler's method with a step dt,

    v = v + dt / tau ((v_leak - v) + r I),      spike where v > v_threshold,      then v = v_reset

and each program differs in some way (docs/coming-from-nir.md has measurements).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from csnn_jax.config import Reset

WrittenBy = Literal["snntorch", "norse", "sinabs", "spikingjelly"]


@dataclass(frozen=True)
class Program:
    """How a program's neurons run, and how its files describe them.

    Attributes:
        step: default dt in seconds, unless it's in the file or a flag; None: its time constants count steps.
        leak: (written tau, dt) -> the fraction of a membrane that's lost in a step, in the program's own precision.
        kinds: the neurons that it writes.
        fixed: whether `step` is the only possible one.
        by_r: whether a neuron's input is multiplied by r dt / tau, an IF's by r dt. Otherwise r is ignored: a LIF's
            input is multiplied by its leak, and an IF's by 1.
        includes: whether a membrane at the threshold spikes, too.
        late: whether resets come one step after the spike, as in csnn_jax.
        reset: the reset of its neurons, unless the user overrides it.
        starts: where membranes start: at v_reset, at v_leak or at 0.
        unsaid: what its files don't contain, in words.
    """

    step: float | None
    leak: Callable[[np.ndarray, float], np.ndarray]
    kinds: tuple[str, ...]
    fixed: bool = False
    by_r: bool = True
    includes: bool = False
    late: bool = False
    reset: Reset = "zero"
    starts: Literal["v_reset", "v_leak", "0"] = "v_reset"
    unsaid: str = ""


def _euler(tau: np.ndarray, dt: float) -> np.ndarray:
    return dt / tau


def _snntorch(tau: np.ndarray, dt: float) -> np.ndarray:
    """snnTorch writes float32(dt) / (1 - beta): in float64, this gives back each beta of 0.5 or more."""
    return np.float64(np.float32(dt)) / np.asarray(tau, np.float64)


def _norse(written: np.ndarray, dt: float) -> np.ndarray:
    """Norse writes dt tau instead of tau, in float32. This restores the rate 1 / tau, with its few original digits."""
    rate = np.asarray(dt / np.asarray(written, np.float64))
    short = np.array([float(f"{one:.5g}") for one in rate.flat]).reshape(rate.shape)
    rate = np.where(abs(rate - short) < 2.0**-22 * rate, short, rate)
    return np.float32(dt) * rate.astype(np.float32)


def _exponential(steps: np.ndarray, _: float) -> np.ndarray:
    """1 minus Sinabs' decay. The decay is float32; subtracting in float64 keeps all of its bits."""
    import torch  # here, because the command's flags need this module without torch

    alpha = torch.exp(-1.0 / torch.as_tensor(np.asarray(steps, np.float32)))
    return 1 - alpha.double().numpy()


DEFINITION = Program(step=1e-4, leak=_euler, kinds=("IF", "LIF", "CubaLIF", "LI"))
"""NIR's definition, which doesn't say where a membrane starts."""

PROGRAMS: dict[WrittenBy, Program] = {
    "snntorch": Program(
        step=1e-4,
        fixed=True,
        leak=_snntorch,
        kinds=("LIF", "CubaLIF"),
        late=True,
        reset="subtract",
        starts="0",
        unsaid="snnTorch's files don't contain the reset: assuming subtract, its default; use --reset for another",
    ),
    "norse": Program(
        step=1e-3,
        leak=_norse,
        kinds=("IF", "LIF", "CubaLIF", "LI"),
        by_r=False,
        starts="v_leak",
        unsaid="Norse's files contain neither v_reset nor reset_method: assuming a reset to 0, its default",
    ),
    "sinabs": Program(
        step=None,
        leak=_exponential,
        kinds=("IF", "LIF", "LI"),
        by_r=False,
        includes=True,
        reset="subtract",
        starts="0",
        unsaid="Sinabs' files don't contain norm_input, tau_syn, min_v_mem, reset_fn or spike_fn: assuming the "
        "defaults, but at most one spike per step (SingleSpike); use --reset zero for MembraneReset and "
        "--no-norm-input for norm_input=False",
    ),
    "spikingjelly": Program(step=1e-4, leak=_euler, kinds=("IF", "LIF", "CubaLIF"), includes=True),
}


def known(name: Any) -> Program:
    """A program by its name; NIR's definition without one."""
    return DEFINITION if name is None else PROGRAMS[name]
