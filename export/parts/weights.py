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
from export.parts import step
from export.parts.part import ComparedRow, Found, Part
from export.proof import Figures
from export.proof.equality import PIECE, FreeRunning, fired, free_running_problems, pieces, thresholds
from export.proof.runners import OnnxRunner, Recording, window
from export.reference import Step
from export.subject import ExportInputs, Subject


def write(source: ExportInputs) -> None:
    write_atomic(source.subject.folder / WEIGHTS, source.weights_file)


def check(subject: Subject, name: str) -> Found:
    """In csnn_jax: equal to step.onnx, but for membranes within rounding of their threshold."""
    found = equality(subject.step, subject.tensors, step.load(subject.folder), (one.x for one in subject.compared))
    config = replace(subject.config, train=replace(subject.config.train, dtype="float32", engine="auto"))
    result = Trained(config, subject.tensors).evaluate(subject.split)
    figures = {"csnn_jax": found, "accuracy": result.accuracy, "densities": result.densities}
    return Found(figures, free_running_problems("csnn_jax", found))


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
        found = jax.device_get(trace(parameters, x.movedim(-3, -1).numpy()))
        membranes = [np.moveaxis(layer, -1, 2) for layer in found.membranes]
        free.add(first, Recording(found.spikes[-1], membranes), fired(window(runner, config, x), free.thresholds))
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
