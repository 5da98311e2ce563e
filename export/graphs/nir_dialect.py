"""Writes a layer's neurons for a NIR reader so that they compute the same as ours, bit for bit.

NIR's neuron is (nir 1.0.8, `nir.LIF`; Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9)

    tau dv/dt = (v_leak - v) + r I,      z = 1 where v > v_threshold,      v = v_reset where z = 1

and a reader discretizes it with a time step dt of its own choice. With v_leak = v_reset = 0, r = tau / dt and
tau = dt / (1 - beta), Euler's v + dt / tau (r I - v) is beta v + I: ours, for reset `zero`. `nir.CubaLIF` adds an input
current that decays the same way: our `synaptic`, for reset `clear`. NIR resets in the step that spikes, while we
(snnTorch's reset delay) reset at the start of the next one. The spikes are the same, because nothing reads the membrane
in between, but after a spike NIR's membrane reads 0 and ours is still above its threshold.

Programs differ from this in the unit of tau, in r and in whether a membrane at the threshold spikes
(docs/coming-from-nir.md): each has a `Dialect`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import nir
import numpy as np

DT = 1e-4
"""Time step (seconds) that readers assume; snnTorch, the first of them, hard-codes it."""


class Inexact(ValueError):
    """A reader can't compute the same neurons; the one-line message ends with how to train for the file."""


class Given(NamedTuple):
    """A layer's neurons.

    Attributes:
        name: `lif1`, `lif2`, ...
        shape: the shape of their membranes, without the batch.
        values: float32 parameters by name: `beta`, `threshold`, and `alpha` of synaptic neurons.
    """

    name: str
    shape: tuple[int, ...]
    values: dict[str, np.float32]

    @property
    def included(self) -> np.float32:
        """The lowest membrane that spikes: the threshold for readers whose neurons also spike at the threshold."""
        return np.nextafter(self.values["threshold"], np.float32(math.inf))


class Written(NamedTuple):
    """A node, and the power of two by which to multiply the weights and biases before it."""

    node: nir.NIRNode
    gain: float = 1.0


@dataclass(frozen=True)
class Dialect:
    """What a reader needs.

    Attributes:
        reader: its name.
        file: the name of its file in a bundle.
        dt: time step in seconds; None: time constants count steps.
        neurons: writes a layer's neurons; raises Inexact.
        sums: whether it lacks average pooling: windows are summed, and weights divided by the number of pixels.
        legacy: whether it uses nir 1.0.4, which has no v_reset, and one value of each parameter for a whole layer.
    """

    reader: str
    file: str
    dt: float | None
    neurons: Callable[[Given], Written]
    sums: bool = False
    legacy: bool = False


def node(kind: type[nir.NIRNode], shape: tuple[int, ...], **values: Any) -> nir.NIRNode:
    """A node of neurons at rest at 0. Parameters are arrays of the layer's full shape: some readers reject scalars."""
    if kind is not nir.IF:
        values["v_leak"] = np.float32(0)
    return kind(**{name: np.full(shape, value) for name, value in (values | {"v_reset": np.float32(0)}).items()})


class _TimeConstant(NamedTuple):
    """tau (seconds) and r of a layer; float32, or float64 if no float32 gives the layer's beta."""

    tau: np.floating
    r: np.floating


def _time_constant(beta: np.float32) -> _TimeConstant | None:
    """The tau and r from which a reader gets exactly this float32 beta; None if there are none.

    A reader computes 1 - dt / tau in tau's type, which rounds twice. A float32 tau works for the usual betas but not
    for all below 0.7 (not for 0.4); those need a float64 tau. Among the neighbors of dt / (1 - beta), this prefers the
    first whose r also gives beta in a reader that computes 1 - (tau / r) / tau (snn-mlir).
    """
    leak = max(1 - float(beta), 2.0**-26)  # for beta 1, tau is finite, and 1 - dt / tau still rounds to 1 in float32
    near = np.array(sorted(range(-8, 9), key=abs), np.float32)
    tau = np.float32(DT / leak) + np.repeat(near, 3) * np.spacing(np.float32(DT / leak))
    r = tau / np.float32(DT)
    r += np.tile(np.array([0, -1, 1], np.float32), len(near)) * np.spacing(r)
    exact = np.float32(1 - DT / tau) == beta
    if exact.any():
        best = np.argmax(exact * (1 + (np.float32(1 - (tau / r) / tau) == beta)))
        return _TimeConstant(tau[best], r[best])
    double = np.float64(DT / leak)
    return _TimeConstant(double, double / DT) if np.float32(1 - DT / double) == beta else None


def _as_defined(given: Given) -> Written:
    """A LIF, or a CubaLIF for synaptic neurons, as NIR defines them."""
    found = {name: _time_constant(given.values[name]) for name in ("alpha", "beta") if name in given.values}
    for name, constant in found.items():
        if constant is None:
            raise Inexact(
                f"NIR stores 1 - {name}, which can't represent {given.name}'s {name} of {given.values[name]:.6g}; "
                f"train with --{name} 0, or 1e-6 or more, for a network.nir"
            )
    beta, threshold = found["beta"], given.values["threshold"]
    assert beta is not None
    if (alpha := found.get("alpha")) is None:
        return Written(node(nir.LIF, given.shape, tau=beta.tau, r=beta.r, v_threshold=threshold))
    synapse = {"tau_syn": alpha.tau, "w_in": alpha.r}
    return Written(node(nir.CubaLIF, given.shape, tau_mem=beta.tau, r=beta.r, v_threshold=threshold, **synapse))


DEFINITION = Dialect("NIR", "network.nir", DT, _as_defined)
"""NIR's own dialect, as snnTorch reads it."""
