"""Runs, ONNX steps and NIR files of one network, for tests that compare them."""

import shutil
from dataclasses import replace
from pathlib import Path

import onnx
from bundles import make_run

from csnn_jax.config import ModelConfig
from csnn_jax.runs import rundir, weights
from csnn_jax.runs.layouts import Tensors
from export.graphs import nir_graph, step_graph

COARSE = ModelConfig(
    conv_channels=(4,), hidden=(16,), time_steps=6, pool="avg", reset="zero", weight_bits=2, bias=False, threshold=0.5
)
"""Its few weights are powers of two, so membranes equal the threshold exactly."""


def with_tensors(run: Path, out: Path, tensors: Tensors) -> Path:
    """A copy of a run with other weights."""
    copy = Path(shutil.copytree(run, out))
    weights.save(copy / "weights.safetensors", tensors, rundir.open_run(str(run))[1].model)
    return copy


def step_of(run: Path, out: Path, at_least: bool = False, static: bool = False) -> Path:
    """The step.onnx of a run, next to config.json and weights as in a bundle.

    Args:
        run: the run.
        out: folder to create.
        at_least: replace every `Greater` with `GreaterOrEqual`.
        static: fix the batch size at 1.
    """
    _, config, tensors = rundir.open_run(str(run))
    graph = step_graph.step(config.model, tensors)
    for node in graph.graph.node:
        if at_least and node.op_type == "Greater":
            node.op_type = "GreaterOrEqual"
    out.mkdir(parents=True)
    for name in ("config.json", "weights.safetensors"):
        shutil.copy(run / name, out / name)
    onnx.save(step_graph.static(graph) if static else graph, out / "step.onnx")
    return out / "step.onnx"


def coarse_run(folder: Path, **fields: object) -> Path:
    """A run of `COARSE`, with some fields changed."""
    return make_run(folder, replace(COARSE, **fields))


def nir_of(run: Path, out: Path) -> Path:
    """The network.nir of a run."""
    _, config, tensors = rundir.open_run(str(run))
    nir_graph.write(out, config.model, tensors)
    return out
