"""Test cases for readers: NIR graphs of one or a few nodes, with an input and the output by NIR's definition.

NIR's equations are continuous. The definition here is Euler's method with a step of 1e-4 s, a membrane that starts at
0, a spike if the membrane is above the threshold, and a reset within the step.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import nir
import numpy as np
import torch
from rules import answer
from torch.nn import functional


class Case(NamedTuple):
    """One feature that a reader may or may not support.

    Attributes:
        graph: makes the graph; nir 1.0.4 can't make all of them.
        x: input [T, 1, ...].
        expected: output [T, 1, ...] by definition.
        like: another case, whose output a reader returns if it ignores the feature.
    """

    graph: Callable[[], nir.NIRGraph]
    x: np.ndarray
    expected: np.ndarray
    like: str | None = None


def chain(nodes: dict[str, nir.NIRNode], before: tuple[int, ...], after: tuple[int, ...], metadata: Any = None):
    """Nodes in a row between an Input and an Output; unchecked, as some readers accept what nir's check rejects."""
    nodes = {"input": nir.Input(np.array(before)), **nodes, "output": nir.Output(np.array(after))}
    names = list(nodes)
    unchecked = {"type_check": False} if "type_check" in inspect.signature(nir.NIRGraph).parameters else {}
    return nir.NIRGraph(nodes, list(pairwise(names)), metadata=metadata or {}, **unchecked)


def neuron(kind: type, shape: tuple[int, ...] = (1,), dtype: type = np.float64, **values: Any) -> nir.NIRNode:
    """A node of neurons with parameters of the given shape."""
    return kind(**{name: np.array(np.broadcast_to(value, shape), dtype) for name, value in values.items()})


def _euler(x: np.ndarray, tau: Any = np.inf, r: Any = 1, v_leak: Any = 0, v_reset: Any = 0, v_threshold: Any = 1):
    """NIR's LIF; with tau=inf, its IF."""
    v, spikes = np.zeros(x.shape[1:]), np.zeros(x.shape, np.float32)
    for t, now in enumerate(x.astype(np.float64)):
        v = v + 1e-4 * (r * now if np.isinf(tau).all() else ((v_leak - v) + r * now) / tau)
        assert (abs(v - v_threshold) > 1e-9).all()
        spikes[t] = v > v_threshold
        v = np.where(spikes[t] > 0, v_reset, v)
    return spikes


def _cuba(x: np.ndarray, tau_syn: float, tau_mem: float, r: float, w_in: float) -> np.ndarray:
    """NIR's CubaLIF, which updates the current first."""
    i, v, spikes = np.zeros(x.shape[1:]), np.zeros(x.shape[1:]), np.zeros(x.shape, np.float32)
    for t, now in enumerate(x.astype(np.float64)):
        i = i + 1e-4 / tau_syn * (w_in * now - i)
        v = v + 1e-4 / tau_mem * (r * i - v)
        spikes[t] = v > 1
        v = np.where(spikes[t] > 0, 0, v)
    return spikes


def _neurons(tau: float, r: float, definition: Callable[..., np.ndarray]) -> Iterator[tuple[str, Case]]:
    def one(kind: type, x: np.ndarray, expected: np.ndarray, like: str | None = None, metadata: Any = None, **values):
        def graph() -> nir.NIRGraph:
            return chain({"n": neuron(kind, **{"shape": x.shape[2:]} | values)}, x.shape[2:], x.shape[2:], metadata)

        return Case(graph, x, expected, like)

    x = np.random.default_rng(0).integers(1, 64, (60, 1, 1)).astype(np.float32) / np.float32(97)
    yield "IF, r 1/dt", one(nir.IF, x, _euler(x, r=1e4), r=1e4, v_threshold=1)
    yield "IF, r 1", one(nir.IF, x, _euler(x), "IF, r 1/dt", r=1, v_threshold=1)
    yield (
        "IF, v_reset 0.25",
        one(nir.IF, x, _euler(x, r=1e4, v_reset=0.25), "IF, r 1/dt", r=1e4, v_threshold=1, v_reset=0.25),
    )
    lif = dict(tau=tau, r=r, v_leak=0, v_threshold=1)
    drive = x * np.float32(4 / r)

    def changed(x: np.ndarray = drive, like: str | None = "LIF", **changes: Any) -> Case:
        values = lif | changes
        expected = definition(
            x, **{name: v for name, v in values.items() if name not in ("shape", "dtype", "metadata")}
        )
        return one(nir.LIF, x, expected, like, **values)

    yield "LIF", changed()
    yield "LIF, r twice as much", changed(r=2 * r)
    yield "LIF, r 1", changed(r=1)
    yield "LIF, r tau/dt", changed(r=4)
    yield "LIF, v_leak 0.25", changed(v_leak=0.25)
    yield "LIF, v_reset 0.25", changed(v_reset=0.25)
    yield "LIF, v_leak and v_reset 0.25", changed(v_leak=0.25, v_reset=0.25)
    yield "LIF, parameters without axes", changed(shape=())
    yield "LIF, float32 parameters", changed(dtype=np.float32)
    wide, two = np.repeat(drive, 4, 2).reshape(60, 1, 2, 1, 2), np.repeat(drive, 2, 2)
    yield "LIF, parameters [2, 1, 2]", changed(wide, None)
    yield "LIF, parameters [1] for [2, 1, 2]", changed(wide, None, shape=(1,))
    yield "LIF, two time constants", changed(two, None, tau=np.array([1, 0.5]) * tau)
    yield "LIF, two thresholds", changed(two, None, v_threshold=np.array([1, 0.5]))
    slower = definition(drive, **lif | {"tau": tau / 2})
    yield "LIF, dt 2e-4 in the metadata", one(nir.LIF, drive, slower, "LIF", metadata={"dt": 2e-4}, **lif)
    cuba = dict(tau_syn=2e-4, tau_mem=4e-4, r=4, w_in=2)
    rest = dict(v_leak=0, v_threshold=1)
    yield "CubaLIF, r tau_mem/dt, w_in tau_syn/dt", one(nir.CubaLIF, x, _cuba(x, **cuba), **cuba, **rest)
    weak = cuba | {"w_in": 1}
    yield "CubaLIF, w_in 1, input times 2", one(nir.CubaLIF, 2 * x, _cuba(2 * x, **weak), **weak, **rest)
    weak = cuba | {"r": 1}
    yield "CubaLIF, r 1, input times 4", one(nir.CubaLIF, 4 * x, _cuba(4 * x, **weak), **weak, **rest)
    x = np.array([0.5, 0.25, 0, 1, 0, 0], np.float32)[:, None, None]
    li = x.copy()
    for t in range(1, len(x)):
        li[t] += np.float32(0.75) * li[t - 1]
    yield "LI", one(nir.LI, x, li, tau=4e-4, r=4, v_leak=0)


def _layers() -> Iterator[tuple[str, Case]]:
    image = np.arange(32, dtype=np.float32).reshape(1, 1, 2, 4, 4)

    def one(make: Callable[[], nir.NIRNode], expected: torch.Tensor, x: np.ndarray = image, like: str | None = None):
        out = expected.numpy()[None]
        return Case(lambda: chain({"n": make()}, x.shape[2:], out.shape[2:]), x, out, like)

    x = torch.from_numpy(image[0])
    weight = (np.arange(54, dtype=np.float32).reshape(3, 2, 3, 3) % 7) - 2
    w, zero = torch.from_numpy(weight), np.zeros(3, np.float32)

    def conv(padding: Any = (1, 1), groups: int = 1, ints: Callable = tuple, shape: Any = (4, 4)) -> nir.NIRNode:
        kernel, bias = (weight, zero) if groups == 1 else (weight[:2, :1], zero[:2])
        padding = padding if isinstance(padding, str) else ints(padding)
        return nir.Conv2d(shape, kernel, ints((1, 1)), padding, ints((1, 1)), groups, bias)

    same = functional.conv2d(x, w, padding=1)
    yield "Conv2d", one(conv, same)
    yield "Conv2d, sizes as arrays", one(lambda: conv(ints=np.array), same)
    yield 'Conv2d, padding "same"', one(lambda: conv("same", shape=None), same)
    yield "Conv2d, groups 2", one(lambda: conv(groups=2), functional.conv2d(x, w[:2, :1], padding=1, groups=2))
    two, none = np.array([2, 2]), np.array([0, 0])
    for kind, scale in ((nir.AvgPool2d, 1), (nir.SumPool2d, 4)):
        name, plain, padded = kind.__name__, functional.avg_pool2d(x, 2), functional.avg_pool2d(x, 2, padding=1)
        yield name, one(partial(kind, kernel_size=two, stride=two, padding=none), plain * scale)
        scalar = dict(kernel_size=np.array(2), stride=np.array(2), padding=np.array(0))
        yield f"{name}, sizes without axes", one(partial(kind, **scalar), plain * scale)
        padding = partial(kind, kernel_size=two, stride=two, padding=np.array([1, 1]))
        yield f"{name}, padding 1", one(padding, padded * scale, like=name)
    shape = {"input": np.array([2, 4, 4])}
    for start in (0, -3, 1):
        flat = x.flatten(start + 1 if start >= 0 else start)
        yield f"Flatten, start_dim {start}", one(partial(nir.Flatten, shape, start, -1), flat)
    vector = np.arange(3, dtype=np.float32)[None, None]
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    product = torch.from_numpy(vector[0] @ rows.T)
    yield "Linear", one(lambda: nir.Linear(rows), product, vector)
    yield "Affine", one(lambda: nir.Affine(rows, np.ones(2, np.float32)), product + 1, vector)
    yield "Scale", one(lambda: nir.Scale(np.full(3, 2, np.float32)), torch.from_numpy(2 * vector[0]), vector)


def _graphs() -> Iterator[tuple[str, Case]]:
    def affine(factor: float) -> nir.NIRNode:
        return nir.Affine(np.full((1, 1), factor, np.float32), np.zeros(1, np.float32))

    def nested() -> nir.NIRGraph:
        return chain({"s": chain({"a": affine(2), "b": affine(3)}, (1,), (1,)), "c": affine(5)}, (1,), (1,))

    def shuffled() -> nir.NIRGraph:
        nodes = {"c": nir.Output(np.array([1])), "b": affine(2), "a": affine(3), "d": nir.Input(np.array([1]))}
        return nir.NIRGraph(nodes, [("b", "c"), ("a", "b"), ("d", "a")])

    def integrate(r: float) -> nir.NIRGraph:
        return chain({"n": neuron(nir.IF, r=r, v_threshold=1), "a": affine(2)}, (1,), (1,))

    x = np.full((4, 1, 1), 2, np.float32)
    ones = np.ones_like(x)
    yield "a graph in a graph", Case(nested, x, 60 * ones)
    yield "nodes and edges out of order", Case(shuffled, x, 12 * ones)
    yield "IF, r 1/dt, then Affine", Case(partial(integrate, 1e4), x, 2 * ones)
    yield "IF, r 1, then Affine", Case(partial(integrate, 1), x, 0 * ones, "IF, r 1/dt, then Affine")

    def pooled(kind: type) -> nir.NIRGraph:
        one = np.ones((1, 1, 1, 1), np.float32)
        conv = nir.Conv2d(None, one, (1, 1), (0, 0), (1, 1), 1, np.zeros(1, np.float32))
        pool = kind(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
        return chain({"a": conv, "b": pool, "c": conv}, (1, 4, 4), (1, 2, 2))

    image = np.arange(16, dtype=np.float32).reshape(1, 1, 1, 4, 4)
    average = functional.avg_pool2d(torch.from_numpy(image[0]), 2).numpy()[None]
    yield "AvgPool2d between Conv2d", Case(partial(pooled, nir.AvgPool2d), image, average)
    yield "SumPool2d between Conv2d", Case(partial(pooled, nir.SumPool2d), image, 4 * average)


def read(
    reader: Callable[[nir.NIRGraph, torch.Tensor], np.ndarray],
    tau: float = 4e-4,
    r: float = 4,
    definition: Callable[..., np.ndarray] = _euler,
) -> dict[str, str]:
    """Runs a reader on all cases; returns for each whether its output is as expected.

    Args:
        reader: (graph, input [T, 1, ...]) -> output [T, 1, ...], float32.
        tau: tau of the LIF nodes, in the reader's unit.
        r: r of the LIF nodes, a value that the reader accepts.
        definition: computes their expected output, with the signature of `_euler`.
    """
    answers: dict[str, str] = {}
    outputs: dict[str, np.ndarray] = {}
    for name, case in (*_neurons(tau, r, definition), *_layers(), *_graphs()):

        def try_one(name: str = name, case: Case = case) -> str:
            out = outputs[name] = reader(case.graph(), torch.from_numpy(case.x))
            if out.shape != case.expected.shape:
                return f"different: output {list(out.shape[1:])}, expected {list(case.expected.shape[1:])}"
            different = out != case.expected
            if not different.any():
                return "as expected"
            ignored = case.like in outputs and np.array_equal(out, outputs[case.like])
            return f"different: {different.sum()} of {out.size}" + f"; the same as {case.like!r}" * ignored

        answers[name] = answer(try_one)
    return answers
