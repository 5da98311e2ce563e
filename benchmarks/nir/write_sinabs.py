"""Sinabs' networks and their NIR files. See networks.py.

pip install sinabs nirtorch torch
"""

from pathlib import Path

import networks
import nir
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.nir import to_nir
from torch import nn

TAU = 10.0  # steps


def iaf(shape: tuple[int, ...], **keywords) -> nn.Module:
    return sl.IAFSqueeze(batch_size=networks.IMAGES, **keywords)


def lif(shape: tuple[int, ...], **keywords) -> nn.Module:
    """Neurons with parameters of the full shape; otherwise the file has wrong shapes."""
    tau, threshold = torch.full(shape, TAU), torch.ones(shape)
    keywords |= dict(tau_mem=tau, spike_threshold=threshold, norm_input=False)
    return sl.LIFSqueeze(batch_size=networks.IMAGES, **keywords)


def write(folder: Path, name: str, neurons, scales: tuple[float, ...]) -> None:
    """Writes one NIR file, which doesn't specify resets or multiple spikes, and runs with and without the defaults."""
    zero = dict(reset_fn=MembraneReset(), spike_fn=SingleSpike)
    for suffix, keywords in {"": zero, "-subtract": {}}.items():
        modules = networks.stack(
            lambda shape, keywords=keywords: neurons(shape, **keywords),
            lambda: sl.SumPool2d((2, 2)),
            scales,
            bias=False,
        )
        network, x = nn.Sequential(*modules), networks.images()
        networks.save(folder / f"{name}{suffix}.npz", networks.run(network, [modules[n] for n in (1, 4, 8)], x))
        if not suffix:
            graph = to_nir(network, x)
            graph.infer_types()  # or nir can't write a convolution
            nir.write(folder / f"{name}.nir", graph)


def write_all(folder: Path) -> None:
    write(folder, "sinabs", iaf, (0.12, 0.03, 0.015))
    write(folder, "sinabs-lif", lif, (0.15, 0.035, 0.015))


if __name__ == "__main__":
    write_all(networks.folder())
