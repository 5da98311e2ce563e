"""Sinabs (the simulator in front of Speck and DynapCNN) and its NIR importer. See common.py.

pip install sinabs nirtorch torch onnx
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import common
import nir
import sinabs.layers as sl
import torch
from common import Golden
from nir_graphs import with_one_value, with_sum_pooling
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.nir import from_nir


@torch.no_grad()
def run(graph: nir.NIRGraph, golden: Golden, mend: bool = False):
    """Runs a graph for the whole window, batch and time in one axis as Sinabs wants it.

    Args:
        graph: what is imported.
        golden: the images.
        mend: give the imported neurons what the import loses: tau in steps, not seconds, reset to zero, single spikes.
    """
    steps, count = len(golden.spikes), len(golden.images)
    module = from_nir(graph, batch_size=count)
    for name, neurons in module.named_modules() if mend else ():
        if isinstance(neurons, sl.LIFSqueeze):
            beta = 1 - 1 / graph.nodes[name].r.flat[0]
            neurons.tau_mem = torch.nn.Parameter(torch.tensor(-1 / math.log(beta)))
            neurons.reset_fn, neurons.spike_fn = MembraneReset(), SingleSpike
    x = torch.from_numpy(golden.images).repeat_interleave(steps, dim=0)
    out, *_ = module(x)
    return out.reshape(count, steps, -1).swapaxes(0, 1).numpy()


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    graph = nir.read(bundle / "network_nir104.nir")  # sinabs pins nir to 1.0.4 or older
    summed = with_one_value(with_sum_pooling(graph))
    yield "network_nir104.nir", "from_nir", lambda: run(graph, golden)
    yield (
        "network_nir104.nir",
        "from_nir after nir_graphs.with_sum_pooling and with_one_value",
        lambda: run(summed, golden),
    )
    yield (
        "network_nir104.nir",
        "the same, then tau_mem in steps, MembraneReset, SingleSpike",
        lambda: run(summed, golden, True),
    )


if __name__ == "__main__":
    common.main(("sinabs", "nir", "nirtorch", "torch", "numpy"), trials)
