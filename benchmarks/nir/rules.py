"""Measures how a program writes NIR files, runs networks and reads them: shared code of rules_<program>.py.

    .norse/bin/python benchmarks/nir/rules_norse.py > results/nir/rules-norse.json

runs in the program's own environment and prints one JSON object. Everything in it is measured: a rule is a NumPy
formula with the number of spikes and membranes in which the program differs from it, or an input and its output.
"""

import inspect
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

sys.path.append(str(Path(__file__).parents[2]))  # last, so the clone doesn't hide the program's packages
from csnn_jax import machine

DT = np.float32(1e-4)
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""A layer of neurons from its initial state: input [T, N] -> (spikes, membranes after each step), each [T, N]."""
Step = Callable[..., tuple[np.ndarray, ...]]
"""A formula: (x, membrane, *other states), each float32 [N] -> (spikes, membrane, *other states)."""


def main(packages: Iterable[str], **sections: Callable[[], Any]) -> None:
    """Prints where the rules were measured, and the result of each section."""
    stdout = os.dup(1)
    os.dup2(2, 1)  # the programs print on standard output
    result = {
        "command": f"python benchmarks/nir/{Path(sys.argv[0]).name}",
        "commit": machine.commit(),
        "processor": machine.processor(),
        "python": platform.python_version(),
        "versions": machine.versions(packages),
        **{name: section() for name, section in sections.items()},
    }
    os.write(stdout, (json.dumps(result, indent=2) + "\n").encode())


def answer(function: Callable[[], Any]) -> Any:
    """A function's result, or the error it raises, which also counts as an answer."""
    try:
        return function()
    except Exception as error:
        return f"refused: {type(error).__name__}: {' '.join(str(error).split())}"[:160]


def neurons(
    run: Run, formula: Step, states: int = 1, unit: float = 1, exact: bool = True, ours: Step | None = None
) -> dict[str, Any]:
    """Compares a layer of neurons with a formula, and shows its response to single inputs.

    Args:
        run: neurons with a threshold of 1.
        formula: the expected computation.
        states: number of states, initially zeros.
        unit: the input that brings a membrane from 0 to 1 in one step.
        exact: whether the membrane is then exactly 1, so a spike there is meaningful.
        ours: the same equation in the form `beta * v + x`, which rounds differently.
    """
    x = np.random.default_rng(0).normal(0.2, 0.6, (200, 1000)).astype(np.float32) * np.float32(unit)
    response = run(x)
    expected = _simulate(formula, states, x)
    different = [f"{(a != b).sum()} of {a.size}" for a, b in zip(response, expected, strict=True)]

    rounding = {}
    if ours:
        spikes, _ = _simulate(ours, states, x)
        rounding = {
            "ours": inspect.getsource(ours),
            "spikes_different_from_ours": f"{(response[0] != spikes).sum()} of {x.size}",
        }

    def shown(*inputs: float) -> dict[str, list[float]]:
        one = run(np.array(inputs, np.float32)[:, None] * np.float32(unit))
        return dict(zip(("spikes", "membranes"), (part[:, 0].tolist() for part in one), strict=True))

    return {
        "formula": inspect.getsource(formula),
        "input_to_the_threshold": unit,
        "spikes": int((response[0] > 0).sum()),
        "different_spikes": different[0],
        "different_membranes": different[1],
        **rounding,
        "most_spikes_per_step": float(run(np.full((1, 1), 3.5 * unit, np.float32))[0][0, 0]),
        "spikes_at_the_threshold": bool(shown(1)["spikes"][0]) if exact else None,
        "half_a_threshold_then_nothing": shown(0.5, 0, 0, 0),
        "one_and_a_half_thresholds_then_nothing": shown(1.5, 0, 0, 0),
        "one_and_a_half_thresholds_then_halves": shown(1.5, 0.5, 0.5, 0.5),
    }


def _simulate(formula: Step, states: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    state = [np.zeros(x.shape[1], np.float32) for _ in range(states)]
    spikes, membranes = np.empty_like(x), np.empty_like(x)
    for t, now in enumerate(x):
        spikes[t], *state = formula(now, *state)
        membranes[t] = state[0]
    assert all(part.dtype == np.float32 for part in state)
    return spikes, membranes


def written(write: Callable[[Path], None], read: Callable[[Path], Any]) -> Any:
    """The contents of an exporter's file, in the file's order, or why it can't be written.

    Args:
        write: writes a network to a path.
        read: reads it back with this program's version of nir.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.nir"
        problem = answer(lambda: write(path))
        return problem or describe(path) | {"read_back": answer(lambda: type(read(path)).__name__)}


def describe(path: Path) -> dict[str, Any]:
    """Version, nodes and edges of a NIR file: every field's type and shape, and its value if it's a single one."""
    with h5py.File(path) as file:
        node = file["node"]
        nodes = {name: {field: _value(data) for field, data in n.items()} for name, n in node["nodes"].items()}
        edges = sorted(f"{a.decode()} -> {b.decode()}" for a, b in node["edges"][()])
        metadata = sorted(node.get("metadata", ()))
        return {"version": file["version"][()].decode(), "metadata": metadata, "nodes": nodes, "edges": edges}


def _value(data: h5py.Dataset | h5py.Group) -> str:
    if isinstance(data, h5py.Group):
        return "group"
    value = data[()]
    if isinstance(value, bytes):
        return value.decode()
    kinds = np.unique(value)
    shown = kinds[0] if kinds.size == 1 else np.array2string(value, separator=" ") if value.size <= 4 else "..."
    return f"{data.dtype} {list(data.shape)} {shown}"


def time_constants(
    written_as: Callable[[float], Any], formula: Callable[[float], Any], values: Iterable[float]
) -> dict:
    """Compares time constants in a file with a formula for the program's parameter."""
    pairs = [(value, np.float64(written_as(value)), np.float64(formula(value))) for value in values]
    return {
        "formula": inspect.getsource(formula),
        "different": f"{sum(a != b for _, a, b in pairs)} of {len(pairs)}",
        "examples": {f"{value:g}": float(a) for value, a, _ in pairs[:3]},
    }


def read_back(folder: Path, read: Callable[[Path, np.ndarray], np.ndarray]) -> dict[str, Any]:
    """Reads the program's own files (see networks.py) with the program, and counts the output spikes that change.

    Args:
        folder: the folder with the files.
        read: (file, the images at every step [T, N, ...]) -> output spikes [T, N, classes].
    """
    differences = {}
    for path in sorted(folder.glob("*.npz")):
        arrays = dict(np.load(path))
        x, *layers = arrays.values()
        own = folder / f"{path.stem.removesuffix('-subtract')}.nir"

        def different(own: Path = own, x: np.ndarray = x, last: np.ndarray = layers[-1]) -> str:
            out = read(own, np.stack([x] * len(last)))
            return f"{(out != last).sum()} of {last.size} differ" if out.shape == last.shape else f"gives {out.shape}"

        differences[path.stem] = answer(different)
    return differences
