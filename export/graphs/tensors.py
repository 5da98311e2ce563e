"""Tensors in files: one `onnx.TensorProto` each, numbered as ONNX's backend tests have them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic


def save(path: Path, kind: str, arrays: list[np.ndarray], values: Sequence[onnx.ValueInfoProto]) -> None:
    """Writes `{kind}_0.pb`, `{kind}_1.pb`, ... into the folder, named after a graph's inputs or outputs."""
    for number, array in enumerate(arrays):
        tensor = numpy_helper.from_array(array, values[number].name)
        write_atomic(path / f"{kind}_{number}.pb", tensor.SerializeToString())


def load(path: Path, kind: str) -> list[np.ndarray]:
    """Reads `{kind}_0.pb`, `{kind}_1.pb`, ... as far as there are any.

    Raises:
        UserError: a file that is no tensor.
    """
    found: list[np.ndarray] = []
    while (file := path / f"{kind}_{len(found)}.pb").is_file():
        try:
            tensor = onnx.TensorProto.FromString(file.read_bytes())
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise ValueError("its values are in another file")
            found.append(numpy_helper.to_array(tensor).copy())
        except (DecodeError, ValueError, TypeError) as error:
            raise UserError(f"{file}: expected an ONNX tensor: {error}") from None
    return found


def problem(expected: Path, found: Path) -> str:
    """What is wrong with a tensor's file apart from its values: "" if it is written as the expected one is."""
    mine, other = (onnx.TensorProto.FromString(expected.read_bytes()), onnx.TensorProto())
    try:
        other.ParseFromString(found.read_bytes())
    except DecodeError as error:
        return f"is no ONNX tensor: {error}"
    form = mine.name, mine.data_type, list(mine.dims), len(mine.raw_data)
    if form != (other.name, other.data_type, list(other.dims), len(other.raw_data)):
        return f"is not a tensor {mine.name} of {list(mine.dims)}"
    mine.raw_data = other.raw_data
    return "" if mine.SerializeToString() == found.read_bytes() else "holds more than the values of a tensor"
