"""Tensors survive their files."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from csnn_jax.errors import UserError
from export.graphs import tensors


def test_arrays_come_back_with_their_names_in_the_files(tmp_path):
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("image", "steps")]
    tensors.save(tmp_path, "input", arrays, values)
    for found, expected in zip(tensors.load(tmp_path, "input"), arrays, strict=True):
        assert found.dtype == expected.dtype and np.array_equal(found, expected)
    assert TensorProto.FromString((tmp_path / "input_1.pb").read_bytes()).name == "steps"
    assert tensors.load(tmp_path, "output") == []


def test_what_is_no_tensor_is_refused(tmp_path):
    (tmp_path / "input_0.pb").write_bytes(b"no tensor")
    with pytest.raises(UserError, match=r"input_0\.pb: expected an ONNX tensor: "):
        tensors.load(tmp_path, "input")
