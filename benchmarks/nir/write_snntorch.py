"""snnTorch's networks and their NIR files. See networks.py.

pip install snntorch nir nirtorch torch
"""

from pathlib import Path

import networks
import nir
import snntorch as snn
import torch
from snntorch.export_nir import export_to_nir
from torch import nn

BETA, ALPHA = 0.9, 0.75


def leaky(shape: tuple[int, ...], **keywords) -> nn.Module:
    """Neurons with parameters of the full shape; otherwise the exporter fails."""
    return snn.Leaky(torch.full(shape, BETA), threshold=torch.ones(shape), init_hidden=True, **keywords)


def synaptic(shape: tuple[int, ...], **keywords) -> nn.Module:
    alpha, beta = torch.full(shape, ALPHA), torch.full(shape, BETA)
    return snn.Synaptic(alpha, beta, threshold=torch.ones(shape), init_hidden=True, **keywords)


def write(folder: Path, name: str, neuron, scales: tuple[float, ...], resets: dict[str, str]) -> None:
    """Writes one NIR file, which doesn't specify the reset, and runs with each reset."""
    x = networks.images()
    for suffix, reset in resets.items():
        modules = networks.stack(
            lambda shape, reset=reset: neuron(shape, reset_mechanism=reset),
            lambda: nn.AvgPool2d((2, 2), (2, 2)),
            scales,
        )
        network = nn.Sequential(*modules)
        networks.save(folder / f"{name}{suffix}.npz", networks.run(network, [modules[n] for n in (1, 4, 8)], x))
        if not suffix:
            nir.write(folder / f"{name}.nir", export_to_nir(network, x[:1], ignore_dims=[0]))


def write_all(folder: Path) -> None:
    write(folder, "snntorch", leaky, (0.25, 0.25, 0.06), {"": "zero", "-subtract": "subtract"})
    write(folder, "snntorch-cuba", synaptic, (0.1, 0.1, 0.03), {"": "zero", "-subtract": "subtract"})


if __name__ == "__main__":
    write_all(networks.folder())
