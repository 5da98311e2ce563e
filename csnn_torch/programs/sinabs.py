"""Sinabs: nir 1.0.4, sum pooling, tau in steps, and an exponential decay.

By default, its neurons spike several times per step and subtract their threshold at once.
"""

import math
from typing import Any

import numpy as np

from csnn_jax.neurons.neuron import MEMBRANE, State
from csnn_torch.programs.cause import Moment, Step, changes, decays, steps
from csnn_torch.programs.program import Importer, Inexact, Layer, Program, Rules, Target, Written, near

FILE = "network_sinabs.nir"


def decay(tau: Any) -> Any:
    """The factor by which Sinabs multiplies a membrane: a float32 tensor, from a tensor or array."""
    import torch  # here, because flags need this module without torch

    return torch.exp(-1.0 / torch.as_tensor(np.asarray(tau, np.float32)))


def _leak(steps: np.ndarray, _: float) -> np.ndarray:
    """1 minus the decay, in float64, which keeps all of its bits."""
    return 1 - decay(steps).double().numpy()


def neurons(layer: Layer) -> Written:
    """A LIF with exp(-1 / tau) = beta, which also spikes at its threshold."""
    if "alpha" in layer.values:
        raise Inexact(f"Sinabs drops a CubaLIF; train with --neuron leaky --reset zero for a {FILE}")
    beta = layer.values["beta"]
    if beta in (0, 1):  # its exponential rounds to beta
        candidates = iter([np.float32(2.0**-10 if beta == 0 else 2.0**30)])
    else:
        candidates = near(np.float32(-1 / math.log(beta)))
    for tau in candidates:
        if decay(tau).item() == beta:
            return Written("LIF", {"tau": tau, "r": np.float32(1), "v_threshold": layer.included})
    raise Inexact(
        f"Sinabs computes exp(-1 / tau) in float32, and no tau gives {layer.name}'s beta of {beta:.6g}; "
        f"train with --beta 0, or 0.5 or more, for a {FILE}"
    )


def _several(membrane: Any, threshold: Any) -> Any:
    return (membrane / threshold).trunc().where(membrane > 0, 0)


def _bounded(step: Step, at: Moment) -> State:
    after = step(at)
    return after | {MEMBRANE: after[MEMBRANE].maximum(-at.kind.threshold(at.values, after))}


PROGRAM = Program(
    name="sinabs",
    title="Sinabs",
    packages=("sinabs", "nir<=1.0.4", "nirtorch"),
    rules=Rules(
        dt=None,
        leak=_leak,
        kinds=("IF", "LIF", "LI"),
        by_r=False,
        includes=True,
        reset="subtract",
        starts="0",
        unsaid="Sinabs' files don't contain norm_input, tau_syn, min_v_mem, reset_fn or spike_fn: assuming the "
        "defaults, but at most one spike per step (SingleSpike); use --reset zero for MembraneReset and "
        "--no-norm-input for norm_input=False",
    ),
    importer=Importer(
        "sinabs.nir:from_nir",
        ("sinabs.layers:IAFSqueeze", "sinabs.layers:LIFSqueeze"),
        lambda module, output: (output, module.v_mem),
        lambda batch, dt: {"batch_size": batch},  # one axis for batch and time, here of one step
    ),
    target=Target(
        file=FILE,
        neurons=neurons,
        dt=None,
        leaky=lambda kind, tau, state, x: decay(tau) * state + x,
        note="unchanged, then two settings, see above",
        sums=True,
        legacy=True,
        read_as={"written_by": "sinabs", "reset": "zero", "norm_input": False},
        usage=(
            "In Sinabs, whose importer makes neurons that reset by subtraction and can spike several times per step; "
            "the example changes both:",
        ),
        imports=(
            "import nir",
            "import sinabs.layers as sl",
            "from sinabs.activation import MembraneReset, SingleSpike",
            "from sinabs.nir import from_nir",
        ),
        setup=f'graph = nir.read("{FILE}")',
        counts="""\
network = from_nir(graph, batch_size=1)  # again for each image, because its neurons keep their membranes
for neurons in network.modules():
    if isinstance(neurons, sl.LIFSqueeze):
        neurons.reset_fn, neurons.spike_fn = MembraneReset(), SingleSpike
counts = network({frames})[0].sum(0)""",
    ),
    causes=(
        decays("decay exponential: exp(beta - 1) instead of Euler's beta", lambda decay: np.exp(decay - 1)),
        decays(
            "decay by Euler's method: 1 + ln(beta) instead of the exponential beta",
            lambda decay: 1 + np.log(np.maximum(decay, np.exp(-1))),
        ),
        decays(
            "membrane decays to 0 in each step: tau read as a number of steps", lambda decay: 0 * decay, "time step"
        ),
        changes("several spikes of a neuron in a step", "spikes", "fires", lambda _: _several),
        steps("membranes no lower than the negative threshold", "spikes", _bounded),
    ),
)
