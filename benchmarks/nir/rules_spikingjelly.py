"""SpikingJelly's rules. See rules.py.

pip install spikingjelly nir nirtorch torch
"""

import inspect
import tempfile
from pathlib import Path

import cases
import nir
import numpy as np
import rules
import torch
import write_spikingjelly
from spikingjelly.activation_based import layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir, import_from_nir
from torch import nn

TAU = np.float32(3)


def lif(x, v):
    v = v + (x - v) / TAU
    return v >= 1, np.where(v >= 1, np.float32(0), v)


def lif_without_decay_of_input(x, v):
    v = (v - v / TAU) + x
    return v >= 1, np.where(v >= 1, np.float32(0), v)


def lif_subtract(x, v):
    v = v + (x - v) / TAU
    return v >= 1, v - (v >= 1)


def ours(x, v):
    v = (1 - 1 / TAU) * v + x / TAU
    return v >= 1, np.where(v >= 1, np.float32(0), v)


def ours_without_decay_of_input(x, v):
    v = (1 - 1 / TAU) * v + x
    return v >= 1, np.where(v >= 1, np.float32(0), v)


def integrate(x, v):
    v = v + x
    return v >= 1, np.where(v >= 1, np.float32(0), v)


def cuba(x, v, i):
    i = i * np.float32(0.6) + x
    v = v * np.float32(0.9) + i
    return v >= 1, np.where(v >= 1, np.float32(0), v), i


@torch.no_grad()
def run(layer: nn.Module, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs a layer of neurons from its initial state: spikes and membranes [T, N]."""
    layer.reset()
    steps = [(layer(now), layer.v) for now in torch.from_numpy(x)]
    return tuple(torch.stack(part).numpy() for part in zip(*steps, strict=True))


def neurons() -> dict:
    def one(layer: nn.Module):
        return lambda x: run(layer, x)

    return {
        "IFNode": rules.neurons(one(neuron.IFNode()), integrate),
        "LIFNode": rules.neurons(one(neuron.LIFNode(tau=3.0)), lif, unit=3, ours=ours),
        "LIFNode, decay_input=False": rules.neurons(
            one(neuron.LIFNode(tau=3.0, decay_input=False)),
            lif_without_decay_of_input,
            ours=ours_without_decay_of_input,
        ),
        "LIFNode, v_reset=None": rules.neurons(one(neuron.LIFNode(tau=3.0, v_reset=None)), lif_subtract, unit=3),
        "CUBALIFNode": rules.neurons(one(neuron.CUBALIFNode(0.6, 0.9, v_threshold=1.0)), cuba, 2),
    }


def imported() -> dict:
    """Neurons made by the importer."""

    def one(kind: type, **values: float):
        node = cases.neuron(kind, v_threshold=1, **values)
        layer = import_from_nir(cases.chain({"n": node}, (1,), (1,))).n.module
        return lambda x: run(layer, x)

    constants = dict(tau_syn=2.5e-4, tau_mem=1e-3, r=10, w_in=2.5, v_leak=0)
    return {
        "dt": inspect.signature(import_from_nir).parameters["dt"].default,
        "IF, r 1/dt": rules.neurons(one(nir.IF, r=1e4), integrate),
        "LIF, r 1": rules.neurons(one(nir.LIF, tau=3e-4, r=1, v_leak=0), lif, unit=3),
        "LIF, r tau/dt": rules.neurons(one(nir.LIF, tau=3e-4, r=3, v_leak=0), lif_without_decay_of_input),
        "CubaLIF": rules.neurons(one(nir.CubaLIF, **constants), cuba, 2),
    }


@torch.no_grad()
def read(graph: nir.NIRGraph | Path, x: torch.Tensor) -> np.ndarray:
    """Runs a graph step by step, passing the state along."""
    network, state, out = import_from_nir(graph), None, []
    for now in x:
        spikes, state = network(now, state)
        out.append(spikes.numpy())
    return np.stack(out)


def write() -> dict:
    def one(*modules: nn.Module, x: torch.Tensor):
        network = nn.Sequential(*modules)
        return rules.written(lambda path: export_to_nir(network, x, save_path=path) and None, nir.read)

    def layers(padding: int | str, pool: nn.Module, neurons=neuron.LIFNode) -> dict:
        conv = layer.Conv2d(1, 2, 3, padding=padding, bias=False)
        modules = conv, neurons(), pool, layer.Flatten(), layer.Linear(32, 3), neurons()
        return one(*modules, x=torch.ones(1, 1, 8, 8))

    torch.manual_seed(0)
    return {
        "LIFNode": layers(1, layer.AvgPool2d((2, 2))),
        'LIFNode, decay_input=False, padding "same", AvgPool2d(2)': layers(
            "same", layer.AvgPool2d(2), lambda: neuron.LIFNode(tau=3.0, decay_input=False)
        ),
        "LIFNode, v_reset=0.25": one(layer.Linear(2, 2), neuron.LIFNode(v_reset=0.25), x=torch.ones(1, 2)),
        "LIFNode, v_reset=None": one(layer.Linear(2, 2), neuron.LIFNode(v_reset=None), x=torch.ones(1, 2)),
        "IFNode": layers(1, layer.AvgPool2d(2), neuron.IFNode),
        "CUBALIFNode": layers(1, layer.AvgPool2d(2), lambda: neuron.CUBALIFNode(0.6, 0.9)),
        "MaxPool2d": layers(1, layer.MaxPool2d(2)),
        "LPPool2d (sums)": layers(1, nn.LPPool2d(1, 2)),
        "BatchNorm2d": one(layer.Conv2d(1, 2, 3), layer.BatchNorm2d(2), neuron.LIFNode(), x=torch.ones(1, 1, 8, 8)),
        "Linear without bias": one(layer.Linear(2, 2, bias=False), neuron.LIFNode(), x=torch.ones(1, 2)),
    }


def tau_of(steps):
    return steps * 1e-4


def constants() -> dict:
    """tau for time constants from 1.01 to 10 steps, and the number that a reader doesn't recover."""
    steps = [n / 100 for n in range(101, 1001)]
    back = [export(tau) / 1e-4 for tau in steps]
    text = "time constants that tau / dt misses, in float32"
    missed = sum(np.float32(a) != np.float32(b) for a, b in zip(steps, back, strict=True))
    return rules.time_constants(export, tau_of, steps) | {text: f"{missed} of {len(steps)}"}


def export(tau: float) -> np.float64:
    network = nn.Sequential(layer.Linear(1, 1), neuron.LIFNode(tau=tau))
    return export_to_nir(network, torch.ones(1, 1)).nodes["_1"].tau[0]


def own_files() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        write_spikingjelly.write_all(Path(folder))
        return rules.read_back(Path(folder), lambda path, x: read(path, torch.from_numpy(x)))


if __name__ == "__main__":
    packages = ("spikingjelly", "nir", "nirtorch", "torch", "numpy")
    sections = dict(neurons=neurons, write=write, time_constants=constants, imported=imported)
    rules.main(packages, **sections, read=lambda: cases.read(read), own_files=own_files)
