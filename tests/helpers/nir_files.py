"""NIR files as anyone could write them, including shapes and types that nir's own classes refuse."""

from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

UNIT = 2.0**-10
"""The weights of the stored files are whole multiples of this."""
Nodes = dict[str, Any]
"""Nodes by name: (kind, parameters), or (nodes, edges) of a graph."""


def chained(shape: tuple[int, ...], *nodes: tuple[str, dict[str, Any]], out: int = 2) -> Nodes:
    """Nodes between an input and an output, called `0`, `1`, ... in order."""
    named = {str(number): node for number, node in enumerate(nodes)}
    return {"input": ("Input", {"shape": np.array(shape)})} | named | {"output": ("Output", {"shape": np.array([out])})}


def graph(shape: tuple[int, ...], *nodes: Any, edges: str = "", out: int = 2, **others: Any) -> tuple[Nodes, Any]:
    """Nodes as of `chained` plus others by name, whose edges are "a-b b-c" in addition to those of the chain."""
    named = chained(shape, *nodes, out=out)
    return named | others, [*pairwise(named), *(tuple(one.split("-")) for one in edges.split())]


def write(
    path: Path, nodes: Nodes, edges: Any = None, version: str = "1.0.8", metadata: dict[str, Any] | None = None
) -> str:
    """Writes a graph in the format of nir.write; without edges, its nodes form a chain."""
    with h5py.File(path, "w") as file:
        file["version"] = version
        _graph(file.create_group("node"), nodes, edges)
        for name, value in (metadata or {}).items():
            file[f"node/metadata/{name}"] = value
    return str(path)


def _graph(group: h5py.Group, nodes: Nodes, edges: Any) -> None:
    group["type"] = "NIRGraph"
    group["edges"] = np.array(list(pairwise(nodes)) if edges is None else edges, h5py.string_dtype())
    inner = group.create_group("nodes")
    for name, (kind, values) in nodes.items():
        node = inner.create_group(name)
        if isinstance(kind, dict):
            _graph(node, kind, values)
            continue
        node["type"] = kind
        for parameter, value in values.items():
            node[parameter] = value


def conv(weight: np.ndarray, **values: Any) -> tuple[str, dict[str, Any]]:
    """A Conv2d padded with half a kernel of zeros, unless the values say otherwise."""
    usual = {"stride": 1, "padding": weight.shape[-1] // 2, "dilation": 1, "groups": 1, "bias": np.zeros(len(weight))}
    return "Conv2d", {"weight": weight} | usual | values


def affine(weight: np.ndarray, bias: Any = None) -> tuple[str, dict[str, Any]]:
    return "Affine", {"weight": weight, "bias": np.zeros(len(weight)) if bias is None else bias}


def pool(size: int, kind: str = "SumPool2d", **values: Any) -> tuple[str, dict[str, Any]]:
    return kind, {"kernel_size": size, "stride": size, "padding": 0} | values


def flatten(start: int = 0, end: int = -1) -> tuple[str, dict[str, Any]]:
    return "Flatten", {"start_dim": start, "end_dim": end, "input_type": np.array([7, 7])}


def delay(steps: Any, *shape: int) -> tuple[str, dict[str, Any]]:
    """A Delay of steps of 1 s, of a shape or as they are."""
    return "Delay", {"delay": np.full(shape, steps, np.float64) if shape else steps}


def lif(**values: Any) -> tuple[str, dict[str, Any]]:
    """A LIF that keeps 3/4 of its membrane in a step of 1 s and doesn't scale its input."""
    return "LIF", {"tau": 4.0, "r": 4.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | values


def cuba(**values: Any) -> tuple[str, dict[str, Any]]:
    """A CubaLIF that keeps 3/4 of its membrane and half of its current in a step of 1 s."""
    usual = {"tau_mem": 4.0, "tau_syn": 2.0, "r": 4.0, "w_in": 2.0}
    return "CubaLIF", usual | {"v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | values


def sixteenths(seed: int, *shape: int, most: int = 16) -> np.ndarray:
    """Random multiples of 1/16, float32."""
    return np.random.default_rng(seed).integers(-most, most, shape, endpoint=True).astype(np.float32) / 16


def rebuilt(path: Path, values: dict[str, Any]) -> str:
    """Restores a program's own file from the text that benchmarks/nir/as_text.py made of its values."""
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            if not isinstance(value, list) or isinstance(value[0], list):
                file[name] = np.array(value, h5py.string_dtype())
                continue
            dtype, shape, numbers = value
            if isinstance(numbers, list):
                array = np.array(numbers) * (UNIT if dtype.startswith("<f") else 1)
                file[name] = array.reshape(shape).astype(dtype)
            else:
                file[name] = np.full(shape, numbers, dtype)
    return str(path)


def spikes_digest(spikes: np.ndarray) -> list[Any]:
    """The number of spikes, and the SHA-256 of them as bits, in the stored format."""
    return [int(spikes.sum()), sha256(np.packbits(spikes.astype(bool)).tobytes()).hexdigest()]
