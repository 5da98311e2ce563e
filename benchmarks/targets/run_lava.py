"""Lava, in front of Loihi 2: our NIR file as Lava processes, in Lava's floating-point simulation. See common.py.

pip install lava-nc nir onnx    (Python 3.10)

Lava's LIF (du 1, dv 1 - beta) is beta v + I, spikes above its threshold and resets to zero: ours. Each of its
connections takes a step, so layer n runs n - 1 steps late; until its first input arrives it is held at 0. On the chip,
weights and neurons are fixed-point.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import common
import nir
import numpy as np
from common import Golden
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv import utils
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.io.sink import RingBuffer
from lava.proc.lif.process import LIF

IMAGES = 3  # every process of Lava's is one of the system's


def pooled_kernel(weight: np.ndarray) -> np.ndarray:
    """Convolution [out, in, k, k] and 2x2 mean as one kernel [out, k + 1, k + 1, in] of stride 2.

    Turned by half a turn: NIR correlates, Lava convolves.
    """
    out, inputs, size, _ = weight.shape
    kernel = np.zeros((out, size + 1, size + 1, inputs))
    for i in (0, 1):
        for j in (0, 1):
            kernel[:, i : i + size, j : j + size] += weight.transpose(0, 2, 3, 1) / 4
    return kernel[:, ::-1, ::-1].copy()


def neurons(node: nir.LIF, bias: np.ndarray) -> LIF:
    """A layer of neurons, [H, W, C] or [features]."""
    beta = 1 - 1 / float(node.r.flat[0])
    shape = node.tau.shape if node.tau.ndim == 1 else (*node.tau.shape[1:], node.tau.shape[0])
    threshold = float(node.v_threshold.flat[0])
    return LIF(shape=shape, du=1.0, dv=1 - beta, vth=threshold, bias_mant=np.broadcast_to(bias, shape).copy())


def build(graph: nir.NIRGraph, image: np.ndarray, steps: int) -> tuple[list[LIF], RingBuffer]:
    """The processes for one image [C, H, W], connected: (the neurons of every layer, what records the last one)."""
    layers: list[LIF] = []
    weighted: nir.NIRNode | None = None
    for name in _chain(graph):
        node = graph.nodes[name]
        if isinstance(node, (nir.Conv2d, nir.Affine)):
            weighted = node
        elif isinstance(node, nir.LIF) and not layers:
            layers.append(neurons(node, _first_current(weighted, image)))
        elif isinstance(node, nir.LIF):
            lif = neurons(node, weighted.bias)
            _connect(layers[-1], weighted, lif)
            layers.append(lif)
    sink = RingBuffer(shape=layers[-1].s_out.shape, buffer=steps + len(layers) - 1)
    layers[-1].s_out.connect(sink.a_in)
    return layers, sink


def _chain(graph: nir.NIRGraph) -> Iterator[str]:
    follows = dict(graph.edges)
    name = "input"
    while name != "output":
        name = follows[name]
        yield name


def _first_current(node: nir.NIRNode, image: np.ndarray) -> np.ndarray:
    """What the first layer is driven with at every step, computed by the host: a bias to Lava."""
    if isinstance(node, nir.Affine):
        return node.weight @ image.reshape(-1) + node.bias
    pad, ones = np.array(node.padding), np.array([1, 1])
    kernel = pooled_kernel(node.weight)
    size = np.array(kernel.shape[1:3])
    return utils.conv(image.transpose(1, 2, 0), kernel, size, 2 * ones, pad, ones, 1) + node.bias


def _connect(before: LIF, node: nir.NIRNode, after: LIF) -> None:
    shape = before.s_out.shape
    if isinstance(node, nir.Conv2d):
        pad = tuple(map(int, node.padding))
        synapses = Conv(weight=pooled_kernel(node.weight), input_shape=shape, padding=pad, stride=2)
        before.s_out.connect(synapses.s_in)
    else:
        weight = node.weight
        if len(shape) == 3:  # from C, H, W to H, W, C
            height, width, channels = shape
            weight = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(len(weight), -1)
        synapses = Dense(weights=weight)
        before.s_out.flatten().connect(synapses.s_in)
    synapses.a_out.connect(after.a_in)


def run(graph: nir.NIRGraph, image: np.ndarray, steps: int) -> np.ndarray:
    """Output spikes [T, classes] of one image."""
    layers, sink = build(graph, image, steps)
    configuration = Loihi2SimCfg(select_tag="floating_pt")
    for late in range(1, len(layers)):
        layers[0].run(condition=RunSteps(num_steps=1), run_cfg=configuration)
        for lif in layers[late:]:
            lif.v.set(np.zeros(lif.v.shape))
    layers[0].run(condition=RunSteps(num_steps=steps), run_cfg=configuration)
    spikes = sink.data.get()
    layers[0].stop()
    return spikes.T[len(layers) - 1 :]


def trials(bundle: Path, golden: Golden) -> Iterator[tuple[str, str, Callable]]:
    graph = nir.read(bundle / "network.nir")

    def simulated() -> dict:
        spikes = np.stack([run(graph, image, len(golden.spikes)) for image in golden.images[:IMAGES]], axis=1)
        different = spikes != golden.spikes[:, :IMAGES]
        return {"images": IMAGES, "different_spikes": f"{different.sum()} of {different.size}"}

    yield "network.nir", "built from Lava's Conv, Dense and LIF, floating-point simulation", simulated


if __name__ == "__main__":
    common.main(("lava-nc", "nir", "numpy"), trials)
