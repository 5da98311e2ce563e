"""Tensor files: one `onnx.TensorProto` each, numbered as in ONNX's backend tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from csnn_jax import reading
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic


def save(path: Path, kind: str, arrays: list[np.ndarray], values: Sequence[onnx.ValueInfoProto]) -> None:
    """Writes `{kind}_0.pb`, `{kind}_1.pb`, ... into the folder, named after a graph's inputs or outputs."""
    for number, array in enumerate(arrays):
        tensor = numpy_helper.from_array(array, values[number].name)
        write_atomic(path / f"{kind}_{number}.pb", tensor.SerializeToString())


def load(path: Path, kind: str) -> list[np.ndarray]:
    """Reads `{kind}_0.pb`, `{kind}_1.pb`, ... up to the first missing number.

    Raises:
        UserError: a file isn't a tensor.
    """
    found: list[np.ndarray] = []
    while (file := path / f"{kind}_{len(found)}.pb").is_file():
        tensor = read(file)
        try:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise ValueError("its values are in another file")
            found.append(numpy_helper.to_array(tensor).copy())
        except (ValueError, TypeError) as error:
            raise UserError(f"{file}: expected an ONNX tensor: {error}") from None
    return found


def read(file: Path) -> onnx.TensorProto:
    """Reads one tensor, but no other files that it refers to.

    Raises:
        UserError: it isn't a tensor.
    """
    try:
        return onnx.TensorProto.FromString(reading.read(file, "an ONNX tensor", reading.PROTOBUF))
    except DecodeError as error:
        raise UserError(f"{file}: expected an ONNX tensor: {error}") from None
