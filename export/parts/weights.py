"""`weights.safetensors`: the trained parameters, the run's own file, proven equal in csnn_jax too."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import jax
import numpy as np
import onnx
import torch
from flax import nnx

from csnn_jax.engine import scan
from csnn_jax.files import write_atomic
from csnn_jax.network.model import from_tensors
from csnn_jax.runs.layouts import Tensors
from csnn_jax.trained import Trained
from export.bundle import WEIGHTS
from export.network import Bundle, Inputs
from export.parts.part import CheckResult, ComparedRow, Part
from export.proof import Figures
from export.proof.equality import PIECE, FreeRunning, fired, free_running_problems, pieces, thresholds
from export.proof.evidence import Evidence
from export.proof.runners import OnnxRunner, Recording, window
from export.reference import Step


def write(bundle: Bundle, inputs: Inputs) -> None:
    write_atomic(bundle.folder / WEIGHTS, inputs.weights_file(bundle.network.tensors))


def check(bundle: Bundle, evidence: Evidence) -> Iterator[CheckResult]:
    """In csnn_jax: equal to step.onnx, but for membranes within rounding of their threshold."""
    network = bundle.network
    compared = equality(network.step, network.tensors, bundle.step_graph, (one.x for one in evidence.compared))
    config = replace(network.config, train=replace(network.config.train, dtype="float32", engine="auto"))
    result = Trained(config, network.tensors).evaluate(evidence.test)
    figures = {"csnn_jax": compared, "accuracy": result.accuracy, "densities": result.densities}
    yield CheckResult(figures, free_running_problems("csnn_jax", compared))


def equality(network: Step, tensors: Tensors, plain: onnx.ModelProto, inputs: Iterable[torch.Tensor]) -> Figures:
    """Compares csnn_jax (scan engine) with `step.onnx`, both free-running.

    Returns:
        See `FreeRunning.figures`: every difference must begin at a membrane within rounding of its threshold.
    """
    config = network.config
    graph, parameters = nnx.split(from_tensors(config, tensors))
    trace = scan.jit(lambda parameters, x: scan.trace(nnx.merge(graph, parameters), x)[1])
    runner, free = OnnxRunner(plain), FreeRunning(thresholds(network))
    for first, x in pieces(inputs, PIECE):
        traced = jax.device_get(trace(parameters, x.movedim(-3, -1).numpy()))
        membranes = [np.moveaxis(layer, -1, 2) for layer in traced.membranes]
        free.add(first, Recording(traced.spikes[-1], membranes), fired(window(runner, config, x), free.thresholds))
    return free.figures()


def _comparisons(proof: Figures) -> Iterator[ComparedRow]:
    yield ComparedRow.of("csnn_jax", "step.onnx", proof["csnn_jax"], "spikes differ from step.onnx's")


PART = Part(
    what={WEIGHTS: "the parameters in torch's names and layouts; the model's configuration in its metadata"},
    write=write,
    check=check,
    copied=True,
    comparisons=_comparisons,
)
