"""Changes one constant of a file, as somebody would whose change no image shows."""

import re
from pathlib import Path

import h5py
import numpy as np
import onnx
from onnx import numpy_helper

from export.graphs import onnx_facts


def mutate(path: Path, random: np.random.Generator) -> str:
    """Changes one number of an ONNX file, a NIR file or a C header; returns which."""
    if path.suffix == ".onnx":
        return _onnx(path, random)
    return _header(path, random) if path.suffix == ".h" else _nir(path, random)


def _onnx(path: Path, random: np.random.Generator) -> str:
    model = onnx.load(path)
    places = [tensor for graph in onnx_facts.graphs(model.graph) for tensor in graph.initializer]
    attributes = [a for node in model.graph.node if node.domain == "csnn" for a in node.attribute if a.name != "reset"]
    number = int(random.integers(len(places) + len(attributes)))
    if number >= len(places):
        attribute = attributes[number - len(places)]
        attribute.f += 0.1
        what = attribute.name
    else:
        tensor = places[number]
        values = numpy_helper.to_array(tensor).copy()
        at = int(random.integers(values.size))
        values.flat[at] = _other(values.flat[at])
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        what = f"{tensor.name}[{at}]"
    path.write_bytes(model.SerializeToString())
    return what


def _other(value: np.generic) -> np.generic:
    """Another value of the same type: a float by a quarter and a little, a byte by 16, an integer by one."""
    if np.issubdtype(value.dtype, np.floating):
        return value.dtype.type(1.25 * value + 0.01)
    return value.dtype.type(int(value) + 16 if value.dtype == np.uint8 and value < 200 else int(value) - 1)


def _nir(path: Path, random: np.random.Generator) -> str:
    with h5py.File(path, "r+") as file:
        found: list[h5py.Dataset] = []

        def keep(_: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.size:
                found.append(item)

        file.visititems(keep)
        chosen = found[int(random.integers(len(found)))]
        values = np.array(chosen[()])
        at = int(random.integers(values.size))
        values.flat[at] = _other(values.flat[at])
        chosen[...] = values
        return f"{chosen.name}[{at}]"


def _header(path: Path, random: np.random.Generator) -> str:
    text = path.read_text()
    numbers = [*re.finditer(r"-?0x[0-9a-f.]+p[+-]\d+f|(?<= )-?\d+(?=,)", text)]
    chosen = numbers[int(random.integers(len(numbers)))]
    other = "0x1.8p-3f" if chosen.group().endswith("f") else str((int(chosen.group()) + 1) % 128)
    path.write_text(text[: chosen.start()] + other + text[chosen.end() :])
    return f"number {numbers.index(chosen)}"
