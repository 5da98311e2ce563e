"""NIR graphs for tools that read NIR in another way than snnTorch does."""

from collections.abc import Callable
from dataclasses import replace

import nir
import numpy as np
import torch


def with_sum_pooling(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The same network for tools without average pooling: 2x2 sums of a convolution with a quarter of the weights.

    Exact, for a quarter is a power of two.
    """
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Conv2d):
            nodes[name] = replace(node, weight=node.weight / np.float32(4), bias=node.bias / np.float32(4))
        elif isinstance(node, nir.AvgPool2d):
            nodes[name] = nir.SumPool2d(kernel_size=node.kernel_size, stride=node.stride, padding=node.padding)
    return nir.NIRGraph(nodes, graph.edges)


def with_unit_resistance(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The same network for tools that take r to be 1: every layer's weights times the r of its neurons.

    Exact where r is a power of two, as it is for a beta of 0, 0.5, 0.75, ...
    """
    nodes = dict(graph.nodes)
    follows = dict(graph.edges)
    for name, node in graph.nodes.items():
        if isinstance(node, (nir.Conv2d, nir.Affine)):
            after = follows[name]
            while not isinstance(graph.nodes[after], nir.LIF):
                after = follows[after]
            r = graph.nodes[after].r.flat[0]
            nodes[name] = replace(node, weight=node.weight * r, bias=node.bias * r)
        elif isinstance(node, nir.LIF):
            nodes[name] = replace(node, r=np.ones_like(node.r))
    return nir.NIRGraph(nodes, graph.edges)


def with_one_value(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The same network for tools that take no arrays of a layer's full shape: one element per parameter of a LIF."""
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        if isinstance(node, nir.LIF):
            one = {field: getattr(node, field).flat[:1] for field in ("tau", "r", "v_leak", "v_threshold")}
            nodes[name] = nir.LIF(**one)
    return nir.NIRGraph(nodes, graph.edges)


@torch.no_grad()
def run_stateful(module: Callable, images: np.ndarray, time_steps: int) -> np.ndarray:
    """Runs a (x, state) -> (spikes, state) module over the window of a batch: spikes [T, N, classes]."""
    x, state, spikes = torch.from_numpy(images), None, []
    for _ in range(time_steps):
        out, state = module(x, state)
        spikes.append(out.numpy())
    return np.stack(spikes)
