"""Norse's rules. See rules.py.

pip install norse nir nirtorch torch setuptools
"""

import inspect
import logging
import tempfile
from functools import partial
from pathlib import Path

import cases
import nir
import norse.torch as norse
import numpy as np
import rules
import torch
import write_norse
from torch import nn

STEP = np.float32(1e-3) * np.float32(250)
"""dt * tau_mem_inv, a quarter."""
SYN = np.float32(1e-3) * np.float32(400)


def lif_box(x, v):
    v = v + STEP * ((x + np.float32(0)) - v)
    return v > 1, np.where(v > 1, np.float32(0), v)


def ours(x, v):
    v = (1 - STEP) * v + STEP * x
    return v > 1, np.where(v > 1, np.float32(0), v)


def integrate(x, v):
    v = v + x
    return v > 1, np.where(v > 1, np.float32(0), v)


def lif(x, v, i):
    i = i + x
    v = v + STEP * (-v + i)
    return v > 1, np.where(v > 1, np.float32(0), v), i + -SYN * i


def cuba(x, v, i):
    i = i + DT_SYN * (-i + np.float32(2) * x)
    v = v + DT_MEM * (np.float32(4) * i - v)
    return v > 1, np.where(v > 1, np.float32(0), v), i


DT_SYN, DT_MEM = (np.float32(1e-4) * (np.float32(1) / np.float32(tau)) for tau in (2e-4, 4e-4))


def lif_of_file(x, v):
    v = v + DT_MEM * ((x + np.float32(0)) - v)
    return v > 1, np.where(v > 1, np.float32(0), v)


@torch.no_grad()
def run(cell: nn.Module, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs a layer of neurons from its initial state: spikes and membranes [T, N]."""
    state, steps = None, []
    for now in torch.from_numpy(x):
        spikes, state = cell(now, state)
        inner = state if hasattr(state, "v") else state[1]  # an imported CubaLIF has two: synapse, neuron
        steps.append((spikes, inner.v))
    return tuple(torch.stack(part).numpy() for part in zip(*steps, strict=True))


def neurons() -> dict:
    tau = torch.tensor(250.0)
    box = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=tau))
    current = norse.LIFCell(norse.LIFParameters(tau_mem_inv=tau, tau_syn_inv=torch.tensor(400.0)))
    return {
        "IAFCell": rules.neurons(partial(run, norse.IAFCell()), integrate),
        "LIFBoxCell": rules.neurons(partial(run, box), lif_box, unit=4, ours=ours),
        "LIFCell": rules.neurons(partial(run, current), lif, 2, unit=4),
    }


def imported() -> dict:
    """Neurons made by the importer, with dt=1e-4."""

    def one(kind: type, **values: float):
        graph = cases.chain({"n": cases.neuron(kind, v_threshold=1, **values)}, (1,), (1,))
        return partial(run, load(graph).n)

    constants = dict(tau_syn=2e-4, tau_mem=4e-4, r=4, w_in=2, v_leak=0)
    return {
        "dt": inspect.signature(norse.from_nir).parameters["dt"].default,
        "IF": rules.neurons(one(nir.IF, r=1), integrate),
        "LIF": rules.neurons(one(nir.LIF, tau=4e-4, r=1, v_leak=0), lif_of_file, unit=4),
        "CubaLIF": rules.neurons(one(nir.CubaLIF, **constants), cuba, 2),
    }


load = partial(norse.from_nir, dt=1e-4, ignore_warnings=True)


@torch.no_grad()
def read(graph: nir.NIRGraph, x: torch.Tensor, load=load) -> np.ndarray:
    """Runs a graph step by step, passing the state along."""
    network, state, out = load(graph), None, []
    for now in x:
        spikes, state = network(now, state)
        out.append(spikes.numpy())
    return np.stack(out)


def write() -> dict:
    def one(*modules: nn.Module, x: torch.Tensor):
        network = norse.SequentialState(*modules)
        return rules.written(lambda path: nir.write(path, norse.to_nir(network, x)), nir.read)

    torch.manual_seed(0)
    image, vector = torch.ones(1, 1, 8, 8), torch.ones(1, 2)
    array = write_norse.lif_box((2,))
    conv, linear = nn.Conv2d(1, 2, 3), nn.Linear(2, 2)
    zero, one_ = torch.zeros(2), torch.ones(2)
    reset = norse.LIFBoxParameters(tau_mem_inv=250 * one_, v_leak=zero, v_th=one_, v_reset=one_ / 4)
    return {
        "Linear, LIFBoxCell with arrays": one(linear, array, x=vector),
        "Linear without bias": one(nn.Linear(2, 2, bias=False), array, x=vector),
        "LIFBoxCell with v_reset": one(linear, norse.LIFBoxCell(reset), x=vector),
        "LIFCell with arrays": one(linear, write_norse.lif((2,)), x=vector),
        "IAFCell with arrays": one(linear, norse.IAFCell(norse.IAFParameters(v_th=one_)), x=vector),
        "LIFBoxCell()": one(linear, norse.LIFBoxCell(), x=vector),
        "Conv2d": one(conv, write_norse.lif_box((2, 6, 6)), x=image),
        "Conv2d without bias": one(nn.Conv2d(1, 2, 3, bias=False), write_norse.lif_box((2, 6, 6)), x=image),
        "AvgPool2d": one(nn.AvgPool2d(2), write_norse.lif_box((1, 4, 4)), x=image),
        "LPPool2d (sums)": one(nn.LPPool2d(1, 2), write_norse.lif_box((1, 4, 4)), x=image),
        "Flatten": one(nn.Flatten(), nn.Linear(64, 2), array, x=image),
    }


def tau_of(inverse):
    return 1 / np.float32(inverse) * np.float32(1e-3)


def constants() -> dict:
    """tau for inverse time constants from 1 to 900 per second, with the default step of 1e-3 s."""
    inverses = [float(n) for n in range(1, 901)]
    wanted = np.array(inverses, np.float32) * np.float32(1e-3)
    taus = np.array([export(inverse) for inverse in inverses], np.float64)
    back = (np.float64(np.float32(1e-3)) ** 2 / taus).astype(np.float32)
    lost = f"{(back != wanted).sum()} of {len(inverses)}, by at most {abs(back / wanted - 1).max():.1e}"
    read = {"dt * dt / tau isn't dt * tau_mem_inv, in float32": lost}
    return rules.time_constants(export, tau_of, inverses) | read


def export(inverse: float) -> np.float32:
    one = torch.ones(1)
    cell = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=inverse * one, v_leak=0 * one, v_th=one))
    return norse.to_nir(norse.SequentialState(nn.Linear(1, 1), cell), torch.ones(1, 1)).nodes["1"].tau[0]


def own_files() -> dict:
    """Reads with and without nir's check; a step of dt * dt undoes the exporter's factor."""

    def one(path: Path, x: np.ndarray, dt: float, **keywords: bool) -> np.ndarray:
        return read(nir.read(path, **keywords), torch.from_numpy(x), partial(load, dt=dt))

    with tempfile.TemporaryDirectory() as folder:
        write_norse.write_all(Path(folder))
        back = partial(rules.read_back, Path(folder))
        return {
            "dt=1e-3": back(partial(one, dt=1e-3)),
            "dt=1e-3, type_check=False": back(partial(one, dt=1e-3, type_check=False)),
            "dt=1e-6, type_check=False": back(partial(one, dt=1e-6, type_check=False)),
        }


if __name__ == "__main__":
    logging.disable()
    packages = ("norse", "nir", "nirtorch", "torch", "numpy")
    sections = dict(neurons=neurons, write=write, time_constants=constants, imported=imported)
    rules.main(packages, **sections, read=lambda: cases.read(read, r=1), own_files=own_files)
