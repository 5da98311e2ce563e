"""Norse's networks and their NIR files. See networks.py.

pip install norse nir nirtorch torch setuptools
"""

from pathlib import Path

import networks
import nir
import nirtorch
import norse.torch as norse
import torch
from norse.torch.utils.export_nir import _extract_norse_module
from torch import nn

DT = 0.001
TAU_MEM_INV, TAU_SYN_INV = 250.0, 500.0  # per second; the membrane decays by a quarter per default step


def lif_box(shape: tuple[int, ...]) -> nn.Module:
    """Neurons with parameters of the full shape, which nir needs to write them."""
    zero, one = torch.zeros(shape), torch.ones(shape)
    return norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=one * TAU_MEM_INV, v_leak=zero, v_th=one), dt=DT)


def lif(shape: tuple[int, ...]) -> nn.Module:
    zero, one = torch.zeros(shape), torch.ones(shape)
    constants = dict(tau_syn_inv=one * TAU_SYN_INV, tau_mem_inv=one * TAU_MEM_INV)
    return norse.LIFCell(norse.LIFParameters(**constants, v_leak=zero, v_th=one), dt=DT)


def node(module: nn.Module) -> nir.NIRNode | None:
    """Norse's exporter, plus two modules that it doesn't support."""
    if isinstance(module, nn.LPPool2d):
        return nir.SumPool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))
    if isinstance(module, nn.Flatten):
        return nir.Flatten(None, start_dim=0, end_dim=-1)
    return _extract_norse_module(module, dt=DT)


def write(folder: Path, name: str, modules: list[nn.Module], x: torch.Tensor) -> None:
    """Writes and runs a network; uses Norse's own `to_nir` for dense layers, the only ones it supports."""
    network, state = norse.SequentialState(*modules), None
    dense = not any(isinstance(module, nn.Conv2d) for module in modules)
    if dense:
        graph = norse.to_nir(network, x[:1], dt=DT)
    else:
        graph = nirtorch.extract_nir_graph(network, node, x[:1], ignore_dims=[0])
        graph.infer_types()
    nir.write(folder / f"{name}.nir", graph)

    def step(x: torch.Tensor) -> None:
        nonlocal state
        _, state = network(x, state)

    neurons = [module for module in modules if isinstance(module, norse.LIFBoxCell | norse.LIFCell)]
    networks.save(folder / f"{name}.npz", networks.run(step, neurons, x))


def write_all(folder: Path) -> None:
    x = networks.images()
    pool = lambda: nn.LPPool2d(1, 2)  # noqa: E731
    write(folder, "norse", networks.stack(lif_box, pool, (1, 0.4, 0.1)), x)
    write(folder, "norse-cuba", networks.stack(lif, pool, (0.5, 0.2, 0.04)), x)
    dense = [nn.Linear(256, 32), lif_box((32,)), nn.Linear(32, 10), lif_box((10,))]
    networks.draw((dense[0], dense[2]), (0.15, 1))
    write(folder, "norse-dense", dense, x.flatten(1))


if __name__ == "__main__":
    write_all(networks.folder())
