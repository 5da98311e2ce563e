"""Sinabs' rules. See rules.py.

pip install sinabs nirtorch torch
"""

import logging
import tempfile
from functools import partial
from pathlib import Path

import cases
import nir
import numpy as np
import rules
import sinabs.layers as sl
import torch
import write_sinabs
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.nir import from_nir, to_nir
from torch import nn

ALPHA, ALPHA_SYN = (torch.exp(-1 / torch.tensor(tau)).numpy() for tau in (4.0, 2.0))


def lif(x, v):
    v = ALPHA * v + (1 - ALPHA) * x
    spikes = np.maximum(np.trunc(v), np.float32(0))
    return spikes, v - spikes


def lif_not_normalized(x, v):
    v = ALPHA * v + x
    spikes = np.maximum(np.trunc(v), np.float32(0))
    return spikes, v - spikes


def lif_reset(x, v):
    v = ALPHA * v + x
    return v >= 1, np.where(v >= 1, np.float32(0), v)


def lif_synaptic(x, v, i):
    i = ALPHA_SYN * (i + x)
    v = ALPHA * v + i
    spikes = np.maximum(np.trunc(v), np.float32(0))
    return spikes, v - spikes, i


def integrate(x, v):
    v = v + x
    spikes = np.maximum(np.trunc(v), np.float32(0))
    return spikes, v - spikes


def integrate_bounded(x, v):
    _, v = spikes, v = integrate(x, v)
    return spikes, np.maximum(v + np.float32(1), np.float32(0)) - np.float32(1)


@torch.no_grad()
def run(layer: nn.Module, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs a layer of neurons from zero states, all steps at once: spikes and membranes [T, N]."""
    layer.reset_states()
    layer.record_states = True
    squeezed = isinstance(layer, sl.LIFSqueeze | sl.IAFSqueeze)
    spikes = layer(torch.from_numpy(x) if squeezed else torch.from_numpy(x)[None])
    return spikes.reshape(x.shape).numpy(), layer.recordings["v_mem"][0].numpy()


def neurons() -> dict:
    plain = dict(tau_mem=4.0, norm_input=False)
    return {
        "IAF": rules.neurons(partial(run, sl.IAF()), integrate),
        "LIF": rules.neurons(partial(run, sl.LIF(tau_mem=4.0)), lif, unit=4.5, exact=False),
        "LIF, norm_input=False": rules.neurons(partial(run, sl.LIF(**plain)), lif_not_normalized),
        "LIF, norm_input=False, MembraneReset, SingleSpike": rules.neurons(
            partial(run, sl.LIF(**plain, reset_fn=MembraneReset(), spike_fn=SingleSpike)), lif_reset
        ),
        "LIF, norm_input=False, tau_syn=2": rules.neurons(
            partial(run, sl.LIF(**plain, tau_syn=2.0)), lif_synaptic, 2, exact=False
        ),
    }


def imported() -> dict:
    """Neurons made by the importer."""

    def one(kind: type, **values: float):
        node = cases.neuron(kind, dtype=np.float32, v_threshold=1, **values)
        network = from_nir(cases.chain({"n": node}, (1,), (1,)), batch_size=1)
        return partial(run, network.n)

    return {
        "IF": rules.neurons(one(nir.IF, r=1), integrate_bounded),
        "LIF, tau 4": rules.neurons(one(nir.LIF, tau=4, r=1, v_leak=0), lif_not_normalized),
    }


@torch.no_grad()
def read(graph: nir.NIRGraph, x: torch.Tensor) -> np.ndarray:
    """Runs a graph for all steps at once; Sinabs expects batch and time in one axis."""
    images = x.shape[1]
    out, *_ = from_nir(graph, batch_size=images)(x.transpose(0, 1).flatten(0, 1))
    return out.unflatten(0, (images, -1)).transpose(0, 1).numpy()


def exponential(x, tau, r=1, v_leak=0, v_reset=0, v_threshold=1):
    """The expected LIF here, instead of NIR's definition: tau in steps, a decay of exp(-1 / tau)."""
    v, spikes = np.zeros(x.shape[1:]), np.zeros(x.shape, np.float32)
    for t, now in enumerate(x.astype(np.float64)):
        v = np.exp(-1 / tau) * v + r * now
        spikes[t] = np.maximum(np.trunc(v / v_threshold), 0)
        v = v - spikes[t] * v_threshold
    return spikes


def write() -> dict:
    def one(*modules: nn.Module, infer: bool = True, x: torch.Tensor):
        def export(path: Path) -> None:
            graph = to_nir(nn.Sequential(*modules), x)
            if infer:
                graph.infer_types()
            nir.write(path, graph)

        return rules.written(export, nir.read)

    def layers(neurons, pool=(2, 2), padding: int | str = 1, **keywords) -> dict:
        conv, pooling = nn.Conv2d(1, 2, 3, padding=padding, bias=False), sl.SumPool2d(pool)
        modules = conv, neurons((2, 8, 8)), pooling, nn.Flatten(), nn.Linear(32, 3), neurons((3,))
        return one(*modules, x=torch.ones(2, 1, 8, 8), **keywords)

    torch.manual_seed(0)
    tau, threshold = torch.tensor([4.0]), torch.tensor([1.0])
    single = lambda shape: sl.LIFSqueeze(batch_size=1, tau_mem=tau, spike_threshold=threshold)  # noqa: E731
    vector = dict(x=torch.ones(2, 2))
    two = torch.full((2,), 4.0)
    synaptic = sl.LIFSqueeze(batch_size=1, tau_mem=two, tau_syn=2.0, spike_threshold=torch.ones(2))
    image = torch.ones(2, 1, 8, 8)
    return {
        "IAFSqueeze, infer_types": layers(lambda shape: sl.IAFSqueeze(batch_size=1)),
        "IAFSqueeze": layers(lambda shape: sl.IAFSqueeze(batch_size=1), infer=False),
        'LIFSqueeze with full shapes, SumPool2d(2), padding "same", infer_types': layers(
            lambda shape: sl.LIFSqueeze(
                batch_size=1, tau_mem=torch.full(shape, 4.0), spike_threshold=torch.ones(shape)
            ),
            2,
            "same",
        ),
        "LIFSqueeze with one value, infer_types": layers(single),
        "LIFSqueeze with tau_syn": one(nn.Linear(2, 2), synaptic, infer=False, **vector),
        "LIFSqueeze(tau_mem=4.0)": one(
            nn.Linear(2, 2), sl.LIFSqueeze(batch_size=1, tau_mem=4.0), infer=False, **vector
        ),
        "Linear without bias": one(nn.Linear(2, 2, bias=False), single((2,)), infer=False, **vector),
        "AvgPool2d": one(nn.AvgPool2d(2), sl.IAFSqueeze(batch_size=1), x=image),
        "MaxPool2d": one(nn.MaxPool2d(2), sl.IAFSqueeze(batch_size=1), x=image),
    }


def tau_of(steps):
    return np.float32(steps)


def constants() -> dict:
    """tau for time constants from 1 to 100 steps."""
    return rules.time_constants(export, tau_of, [float(n) for n in range(1, 101)])


def export(tau: float) -> np.float32:
    layer = sl.LIFSqueeze(batch_size=1, tau_mem=torch.tensor([tau]), spike_threshold=torch.ones(1))
    return to_nir(nn.Sequential(nn.Linear(1, 1), layer), torch.ones(2, 1)).nodes["1"].tau[0]


def own_files() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        write_sinabs.write_all(Path(folder))
        return rules.read_back(Path(folder), lambda path, x: read(nir.read(path), torch.from_numpy(x)))


if __name__ == "__main__":
    logging.disable()
    packages = ("sinabs", "nir", "nirtorch", "torch", "numpy")
    theirs = dict(tau=4, r=1, definition=exponential)
    sections = dict(neurons=neurons, write=write, time_constants=constants, imported=imported)
    rules.main(packages, **sections, read=lambda: cases.read(read, **theirs), own_files=own_files)
