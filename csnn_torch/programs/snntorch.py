"""snnTorch: Euler with a fixed step of 1e-4 s; its importer resets to zero in the step of the spike."""

import numpy as np

from csnn_torch.programs import definition
from csnn_torch.programs.program import STEPPED, Importer, Program, Rules, Target


def _leak(tau: np.ndarray, dt: float) -> np.ndarray:
    """It writes float32(dt) / (1 - beta): in float64, this gives back each beta of 0.5 or more."""
    return np.float64(np.float32(dt)) / np.asarray(tau, np.float64)


PROGRAM = Program(
    name="snntorch",
    title="snnTorch",
    packages=("snntorch", "nir", "nirtorch"),
    rules=Rules(
        dt=definition.DT,
        fixed=True,
        leak=_leak,
        kinds=("LIF", "CubaLIF"),
        late=True,
        reset="subtract",
        starts="0",
        unsaid="snnTorch's files don't contain the reset: assuming subtract, its default; use --reset for another",
    ),
    importer=Importer(
        "snntorch.import_nir:import_from_nir",
        ("snntorch:SpikingNeuron",),
        lambda module, output: (output[0] if isinstance(output, tuple) else output, module.mem),
        stateful=True,  # nirtorch keeps the last outputs of what closes a cycle; neurons keep their own state
    ),
    target=Target(
        file=definition.FILE,
        neurons=definition.neurons,
        dt=definition.DT,
        usage=(
            "network.nir is for readers with a time step of 1e-4 s. With Euler's method, their neurons then multiply a "
            "membrane by beta at every step. Present {meaning}, for {steps} steps. NIR resets a neuron in the step of "
            "its spike, not at the start of the next one as described below. The spikes are the same, but membranes "
            "after a spike aren't.",
            "In snnTorch, whose neurons keep their membranes from one image to the next unless the network is imported "
            "again:",
        ),
        imports=("import nir", "from snntorch.import_nir import import_from_nir"),
        setup='graph = nir.read("network.nir")',
        counts="""\
network = import_from_nir(graph)  # again for each image, because its neurons keep their membranes
"""
        + STEPPED,
    ),
)
