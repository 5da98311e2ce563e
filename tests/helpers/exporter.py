"""Importing this makes ONNX exports faster, which are most of the time of many tests.

torch parses its library of operators again for each export, and tests export the same networks again and again.
Commands in separate processes, such as those on pages, still export by themselves.
"""

import contextlib
import functools
import hashlib
import os
from pathlib import Path

import onnx
from commands import ENVIRONMENT

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.weights import digest
from export.graphs import step_graph

with contextlib.suppress(ImportError, AttributeError):  # other versions of torch only export more slowly
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    ONNXRegistry.from_torchlib = staticmethod(functools.cache(ONNXRegistry.from_torchlib))

FOLDER = Path(ENVIRONMENT["JAX_COMPILATION_CACHE_DIR"])
"""Shared by all workers, and removed after the tests."""


def remembered(step):
    """`step_graph.step`, remembering the graphs that it made of the same network."""

    @functools.wraps(step)
    def made(config: ModelConfig, tensors: Tensors, opset: int = 20) -> onnx.ModelProto:
        key = hashlib.sha256(repr((config, digest(tensors), opset)).encode()).hexdigest()
        path = FOLDER / f"{key}.onnx"
        if not path.exists():
            mine = path.with_suffix(f".{os.getpid()}")
            mine.write_bytes(step(config, tensors, opset).SerializeToString())
            mine.replace(path)
        return onnx.load(path)

    return made


step_graph.step = remembered(step_graph.step)
