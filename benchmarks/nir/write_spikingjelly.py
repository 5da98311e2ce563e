"""SpikingJelly's networks and their NIR files. See networks.py.

pip install spikingjelly nir nirtorch torch
"""

from pathlib import Path

import networks
from spikingjelly.activation_based import layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch import nn


def write(folder: Path, name: str, neurons, scales: tuple[float, ...]) -> None:
    x = networks.images()
    modules = networks.stack(lambda shape: neurons(), lambda: layer.AvgPool2d(2, 2), scales, bias=False)
    network = nn.Sequential(*modules)
    networks.save(folder / f"{name}.npz", networks.run(network, [modules[n] for n in (1, 4, 8)], x))
    export_to_nir(network, x, save_path=folder / f"{name}.nir")


def write_all(folder: Path) -> None:
    write(folder, "spikingjelly", lambda: neuron.LIFNode(tau=2.0), (0.8, 0.75, 0.2))
    write(folder, "spikingjelly-tau3", lambda: neuron.LIFNode(tau=3.0, decay_input=False), (0.35, 0.3, 0.06))
    write(folder, "spikingjelly-if", neuron.IFNode, (0.25, 0.2, 0.03))
    write(folder, "spikingjelly-cuba", lambda: neuron.CUBALIFNode(0.5, 0.75, v_threshold=1.0), (0.15, 0.15, 0.04))


if __name__ == "__main__":
    write_all(networks.folder())
