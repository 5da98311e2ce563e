"""`weights.safetensors`: the trained parameters, also proven equal in csnn_jax."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import jax
import numpy as np
from flax import nnx

from csnn_jax.config.network import ModelConfig
from csnn_jax.engine import scan
from csnn_jax.files import write_atomic
from csnn_jax.network.model import from_tensors
from csnn_jax.runs import weights
from csnn_jax.runs.equality import Comparison
from csnn_jax.runs.layouts import Tensors
from csnn_jax.trained import Trained
from csnn_jax.window import Trace
from export.bundle import WEIGHTS
from export.network import Bundle
from export.parts.part import CheckResult, Part
from export.proof.equality import CheckImages, TorchWindow, compared, problems


def write(bundle: Bundle) -> None:
    write_atomic(bundle.folder / WEIGHTS, weights.to_bytes(bundle.network.tensors, bundle.job.model))


def check(bundle: Bundle, images: CheckImages) -> Iterator[CheckResult]:
    """Compares csnn_jax with torch."""
    network = bundle.network
    comparison = equality(network.model, network.tensors, images.compared)
    config = replace(network.config, train=replace(network.config.train, dtype="float32", engine="auto"))
    result = Trained(config, network.tensors).evaluate(images.test)
    proof = {"csnn_jax": comparison.figures(), "accuracy": result.accuracy}
    yield CheckResult(proof, problems("csnn_jax", comparison))


def equality(config: ModelConfig, tensors: Tensors, expected: Iterable[TorchWindow]) -> Comparison:
    """Compares csnn_jax (scan engine) with windows of torch's."""
    graph, parameters = nnx.split(from_tensors(config, tensors))
    trace = scan.jit(lambda parameters, x: scan.trace(nnx.merge(graph, parameters), x)[1])

    def run(one: TorchWindow) -> Trace:
        traced = jax.device_get(trace(parameters, one.x.movedim(-3, -1).numpy()))
        return traced.map(lambda layer: np.moveaxis(layer, -1, 2))

    return compared(config, expected, run)


PART = Part(
    what={WEIGHTS: "the parameters, with torch's names and layouts; the model's configuration is in the metadata"},
    write=write,
    check=check,
    run_by={"csnn_jax": "csnn_jax"},
)
