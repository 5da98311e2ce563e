"""The network in the Neuromorphic Intermediate Representation.

NIR's neuron is (nir 1.0.8, `nir.LIF`; Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9)

    tau dv/dt = (v_leak - v) + r I,      z = 1 where v > v_threshold,      v = v_reset where z = 1

which a reader makes discrete with a time step dt of its own choice. With v_leak = v_reset = 0, r = tau / dt and
tau = dt / (1 - beta), Euler's v + dt / tau (r I - v) is beta v + I: ours, for reset `zero`. NIR resets within the step
that spikes and we (snnTorch's reset delay) at the start of the next one: the same spikes, for nothing reads the
membrane in between, but a membrane read after the step is 0 there where ours is still above its threshold.

What NIR has no form for: max-pooling, and a reset that subtracts or does nothing. (nir 1.0.4, which has no v_reset,
gives a subtracting reset in its text; yet snnTorch, its reader, resets to zero.)
"""

from itertools import pairwise
from typing import NamedTuple

import nir
import numpy as np

from csnn_jax.config import Layer, ModelConfig
from csnn_jax.runs.layouts import Tensors, bias_of
from export import reference

DT = 1e-4
"""Time step (seconds) that readers assume: snnTorch, the first of them, fixes it in its code."""


class _TimeConstant(NamedTuple):
    """tau (seconds) and r of a layer; float32, or float64 where no float32 gives the layer's beta."""

    tau: np.floating
    r: np.floating


def reason_against(config: ModelConfig, tensors: Tensors) -> str | None:
    """Why this network can't be a NIR file with the same spikes, in one line, and what gives one; None where it can."""
    wanted = []
    if any(layer.pool and layer.pool.kind == "max" for layer in config.layers):
        wanted.append(("has no max-pooling", "--pool avg"))
    if reason := config.kind.lacks("nir"):
        wanted.append((reason.removeprefix("NIR "), "--neuron leaky"))
    if others := set(config.each("reset")) - {"zero"}:
        wanted.append((f"resets a neuron to a value, not as --reset {' or '.join(sorted(others))}", "--reset zero"))
    if config.readout == "membrane":
        flag = "--output spiking" if config.output == "integrator" else "--readout spikes"
        wanted.append(("is written here for networks that are read from spikes", flag))
    if wanted:
        reasons, flags = zip(*wanted, strict=True)
        joined = " and ".join(reasons) if len(reasons) < 3 else f"{', '.join(reasons[:-1])}, and {reasons[-1]}"
        return f"NIR {joined}; train with {' '.join(flags)} for a network.nir"
    if config.per_channel:
        return (
            "NIR's first reader, snnTorch, takes one value for all neurons of a layer; train without --per-channel for "
            "a network.nir"
        )
    for number, neurons in enumerate(reference.Step(config, tensors).neurons, 1):
        if neurons.threshold < 0:
            return (
                f"NIR's readers start at 0, above lif{number}'s learnt threshold of {neurons.threshold:.6g}, and reset "
                "there first; train without --learn-threshold for a network.nir"
            )
        beta = neurons.values["beta"].item()
        if _time_constant(np.float32(beta)) is None:
            return (
                f"NIR holds 1 - beta, from which lif{number}'s beta of {beta:.6g} can't be had back; train "
                "with --beta 0, or 1e-6 or more, for a network.nir"
            )
    return None


def graph(config: ModelConfig, tensors: Tensors) -> nir.NIRGraph:
    """The network as a chain of NIR nodes: input, layer1_conv, layer1_pool, layer1_spikes, ..., output.

    Shapes have no batch: the input is [channels, height, width]. Parameters are arrays of the layer's full shape and
    sizes have two elements, for some readers take no scalars. The names sort in the order of the chain, as HDF5 forgets
    any other order and nirtorch 2.0 needs it. Flattening counts its axes from the end, which means the same with a
    batch axis in front (as snnTorch's importer runs it) and without.
    """
    height, width, channels = config.input_shape
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array([channels, height, width])})}
    step = reference.Step(config, tensors)
    digits = len(str(len(config.layers)))
    for number, (layer, neurons) in enumerate(zip(config.layers, step.neurons, strict=True), 1):
        weight, bias = (np.asarray(x, np.float32) for x in (tensors[f"{layer.name}.weight"], bias_of(layer, tensors)))
        prefix = f"layer{number:0{digits}}_"
        if layer.kind == "conv":
            nodes[prefix + "conv"] = _conv(layer, weight, bias)
            if layer.pool is not None:
                size, stride = np.full(2, layer.pool.size), np.full(2, layer.pool.stride)
                nodes[prefix + "pool"] = nir.AvgPool2d(kernel_size=size, stride=stride, padding=np.array([0, 0]))
        else:
            if len(layer.in_shape) == 3:
                shape = np.array([layer.in_shape[-1], *layer.in_shape[:-1]])
                nodes[prefix + "flatten"] = nir.Flatten({"input": shape}, start_dim=-3, end_dim=-1)
            nodes[prefix + "linear"] = nir.Affine(weight, bias)
        nodes[prefix + "spikes"] = _lif(reference.state_shapes(config)[f"mem{number}"], neurons)
    nodes["output"] = nir.Output({"output": np.array([config.num_classes])})
    metadata = {"dt": DT, "time_steps": config.time_steps, "encoding": config.encoding}
    metadata |= {"scale": config.pixel_scale, "input_bits": config.pixel_bits}
    return nir.NIRGraph(nodes, list(pairwise(nodes)), metadata)


def _conv(layer: Layer, weight: np.ndarray, bias: np.ndarray) -> nir.Conv2d:
    return nir.Conv2d(
        input_shape=layer.in_shape[:2],
        weight=weight,
        stride=(layer.stride, layer.stride),
        padding=(layer.padding, layer.padding),
        dilation=(1, 1),
        groups=1,
        bias=bias,
    )


def _lif(shape: tuple[int, ...], neurons: reference.Neurons) -> nir.LIF:
    found = _time_constant(np.float32(neurons.values["beta"]))
    assert found is not None
    zero, threshold = np.zeros(shape, np.float32), np.full(shape, neurons.threshold, np.float32)
    tau, r = np.full(shape, found.tau), np.full(shape, found.r)
    return nir.LIF(tau=tau, r=r, v_leak=zero, v_threshold=threshold, v_reset=zero)


def _time_constant(beta: np.float32) -> _TimeConstant | None:
    """The tau and r that give a reader exactly this float32 beta; None where there are none.

    A reader computes 1 - dt / tau, in the type of tau. That rounds twice, so a float32 tau does for the usual betas but
    not for each one below 0.7 (not for 0.4): those take a float64 tau. Among the neighbours of dt / (1 - beta) the
    first is taken whose r also gives beta to a reader that computes 1 - (tau / r) / tau (snn-mlir), if there is one.
    """
    leak = max(1 - float(beta), 2.0**-26)  # beta 1: not infinite, but 1 - dt / tau rounds to 1 in float32
    near = np.array(sorted(range(-8, 9), key=abs), np.float32)
    tau = np.float32(DT / leak) + np.repeat(near, 3) * np.spacing(np.float32(DT / leak))
    r = tau / np.float32(DT)
    r += np.tile(np.array([0, -1, 1], np.float32), len(near)) * np.spacing(r)
    exact = np.float32(1 - DT / tau) == beta
    if exact.any():
        best = np.argmax(exact * (1 + (np.float32(1 - (tau / r) / tau) == beta)))
        return _TimeConstant(tau[best], r[best])
    double = np.float64(DT / leak)
    return _TimeConstant(double, double / DT) if np.float32(1 - DT / double) == beta else None
