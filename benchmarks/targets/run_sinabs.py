"""Sinabs (the simulator for Speck and DynapCNN) and its NIR importer. See common.py.

pip install sinabs nirtorch torch onnx
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
import nir
import numpy as np
import sinabs.layers as sl
import torch
from common import Golden
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.nir import from_nir

FILE = "network_sinabs.nir"


@torch.no_grad()
def run(bundle: Path, golden: Golden, mend: bool) -> np.ndarray:
    """Runs the whole window; Sinabs expects batch and time in one axis. `mend`: uses NIR's reset and spikes."""
    steps, count = len(golden.spikes), len(golden.images)
    network = from_nir(nir.read(bundle / FILE), batch_size=count)
    for neurons in network.modules() if mend else ():
        if isinstance(neurons, sl.LIFSqueeze):
            neurons.reset_fn, neurons.spike_fn = MembraneReset(), SingleSpike
    out, *_ = network(torch.from_numpy(golden.images).repeat_interleave(steps, dim=0))
    return out.reshape(count, steps, -1).swapaxes(0, 1).numpy()


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    yield FILE, "from_nir, which subtracts, and spikes several times a step", lambda: run(bundle, golden, mend=False)
    yield FILE, "from_nir, then MembraneReset and SingleSpike", lambda: run(bundle, golden, mend=True)
    yield "report.md", "its Python", lambda: common.run_example(bundle, golden, "sinabs")


if __name__ == "__main__":
    common.main(("sinabs", "nir", "nirtorch", "torch", "numpy"), trials)
