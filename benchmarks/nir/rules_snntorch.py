"""snnTorch's rules. See rules.py.

pip install snntorch nir nirtorch torch
"""

import contextlib
import tempfile
from pathlib import Path

import cases
import nir
import numpy as np
import rules
import snntorch as snn
import torch
import write_snntorch
from snntorch.export_nir import export_to_nir
from snntorch.import_nir import import_from_nir
from torch import nn

BETA, ALPHA = np.float32(0.9), np.float32(0.75)
IMAGE = torch.ones(1, 1, 8, 8)


def leaky_subtract(x, v):
    reset = v > 1
    v = (BETA * v + x) - reset
    return v > 1, v


def leaky_zero(x, v):
    v = BETA * np.where(v > 1, np.float32(0), v) + x
    return v > 1, v


def leaky_zero_at_once(x, v):
    v = BETA * v + x
    return v > 1, np.where(v > 1, np.float32(0), v)


def integrate_imported(x, v):
    before = v > 1
    v = (np.float32(0.9) * v + x) - before
    return v > 1, v - ((v > 1).astype(np.float32) - before)


def synaptic_zero(x, v, i):
    reset, i = v > 1, ALPHA * i + x
    v = np.where(reset, np.float32(0), BETA * v + i)
    return v > 1, v, i


def synaptic_zero_at_once(x, v, i):
    i = ALPHA * i + x
    v = BETA * v + i
    return v > 1, np.where(v > 1, np.float32(0), v), i


@torch.no_grad()
def run(layer: nn.Module, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs a layer of neurons from zero states: spikes and membranes [T, N]."""
    layer.reset_mem()
    steps = [(layer(now)[0], layer.mem) for now in torch.from_numpy(x)]  # [0]: spikes, or the only image's
    return tuple(torch.stack(part).numpy() for part in zip(*steps, strict=True))


def own(kind: type, *values: float, **keywords):
    layer = kind(*map(float, values), init_hidden=True, output=True, **keywords)
    return lambda x: run(layer, x)


def neurons() -> dict:
    zero, at_once = dict(reset_mechanism="zero"), dict(reset_mechanism="zero", reset_delay=False)
    return {
        "Leaky": rules.neurons(own(snn.Leaky, BETA), leaky_subtract),
        "Leaky, reset zero": rules.neurons(own(snn.Leaky, BETA, **zero), leaky_zero),
        "Leaky, reset zero, reset_delay=False": rules.neurons(own(snn.Leaky, BETA, **at_once), leaky_zero_at_once),
        "Synaptic, reset zero": rules.neurons(own(snn.Synaptic, ALPHA, BETA, **zero), synaptic_zero, 2),
        "Synaptic, reset zero, reset_delay=False": rules.neurons(
            own(snn.Synaptic, ALPHA, BETA, **at_once), synaptic_zero_at_once, 2
        ),
    }


def imported() -> dict:
    """Neurons made by the importer."""

    def one(node: nir.NIRNode):
        layer = reader(cases.chain({"n": node}, (1,), (1,))).n
        layer.output = True
        return lambda x: run(layer, x)

    tau, syn = rules.DT / (1 - BETA), rules.DT / (1 - ALPHA)
    lif = cases.neuron(nir.LIF, dtype=np.float32, tau=tau, r=tau / rules.DT, v_leak=0, v_threshold=1)
    constants = dict(tau_syn=syn, tau_mem=tau, r=tau / rules.DT, w_in=syn / rules.DT)
    cuba = cases.neuron(nir.CubaLIF, dtype=np.float32, **constants, v_leak=0, v_threshold=1)
    integrate = cases.neuron(nir.IF, r=1, v_threshold=1)
    return {
        "LIF": rules.neurons(one(lif), leaky_zero_at_once),
        "CubaLIF": rules.neurons(one(cuba), synaptic_zero_at_once, 2),
        "IF": rules.neurons(one(integrate), integrate_imported),
    }


def reader(graph: nir.NIRGraph) -> nn.Module:
    with contextlib.redirect_stdout(None):
        return import_from_nir(graph)


@torch.no_grad()
def read(graph: nir.NIRGraph, x: torch.Tensor) -> np.ndarray:
    """Runs a graph step by step; its neurons keep their membranes."""
    network = reader(graph)
    return np.stack([network(now)[0].numpy() for now in x])


def write() -> dict:
    def one(*modules: nn.Module, x: torch.Tensor = IMAGE, **keywords):
        network = nn.Sequential(*modules)
        return rules.written(lambda path: nir.write(path, export_to_nir(network, x, **keywords)), nir.read)

    def layers(padding: int | str, pool: nn.Module, neuron=write_snntorch.leaky) -> tuple[nn.Module, ...]:
        conv = nn.Conv2d(1, 2, 3, padding=padding, bias=False)
        return conv, neuron((2, 8, 8)), pool, nn.Flatten(), nn.Linear(32, 3), neuron((3,))

    torch.manual_seed(0)
    plain = lambda shape: snn.Leaky(0.9, init_hidden=True)  # noqa: E731
    images = dict(ignore_dims=[0])
    return {
        "parameters of the full shape, ignore_dims=[0]": one(*layers(1, nn.AvgPool2d((2, 2))), **images),
        "the same, without ignore_dims": one(*layers(1, nn.AvgPool2d((2, 2)))),
        "beta=0.9": one(*layers(1, nn.AvgPool2d((2, 2)), plain), **images),
        'AvgPool2d(2), padding "same"': one(*layers("same", nn.AvgPool2d(2)), **images),
        "AvgPool2d with padding": one(nn.AvgPool2d(2, padding=1), write_snntorch.leaky((1, 5, 5)), **images),
        "Synaptic": one(*layers(1, nn.AvgPool2d((2, 2)), write_snntorch.synaptic), **images),
        "MaxPool2d": one(*layers(1, nn.MaxPool2d(2)), **images),
        "LPPool2d (sums)": one(*layers(1, nn.LPPool2d(1, 2)), **images),
        "Linear without bias": one(
            nn.Linear(2, 2, bias=False), write_snntorch.leaky((2,)), x=torch.ones(1, 2), **images
        ),
        "Lapicque": one(nn.Linear(2, 2), snn.Lapicque(0.9, init_hidden=True), x=torch.ones(1, 2), **images),
    }


def tau_of(beta):
    return np.float32(1e-4) / (np.float32(1) - np.float32(beta))


def constants() -> dict:
    """tau for every beta with three digits, and the number of betas that a reader doesn't recover."""
    betas = [n / 1000 for n in range(1, 1000)]
    written = [export(beta) for beta in betas]
    wanted = np.array(betas, np.float32)
    taus = np.array(written)
    recovered = {
        "float32": np.float32(1) - rules.DT / taus,
        "float64": (1 - 1e-4 / taus.astype(np.float64)).astype(np.float32),
        "float64, dt rounded to float32": (1 - np.float64(rules.DT) / taus.astype(np.float64)).astype(np.float32),
    }
    lost = {
        f"betas that 1 - dt / tau misses, in {name}": f"{(back != wanted).sum()} of {len(betas)}, "
        f"{((back != wanted) & (wanted >= 0.5)).sum()} of the 500 from 0.5"
        for name, back in recovered.items()
    }
    return rules.time_constants(export, tau_of, betas) | lost


def export(beta: float) -> np.float32:
    network = nn.Sequential(
        nn.Linear(1, 1), snn.Leaky(torch.full((1,), beta), threshold=torch.ones(1), init_hidden=True)
    )
    return export_to_nir(network, torch.ones(1, 1), ignore_dims=[0]).nodes["1"].tau[0]


def own_files() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        write_snntorch.write_all(Path(folder))
        return rules.read_back(Path(folder), lambda path, x: read(nir.read(path), torch.from_numpy(x)))


if __name__ == "__main__":
    packages = ("snntorch", "nir", "nirtorch", "torch", "numpy")
    sections = dict(neurons=neurons, write=write, time_constants=constants, imported=imported)
    rules.main(packages, **sections, read=lambda: cases.read(read), own_files=own_files)
