"""`weights.safetensors`: the trained parameters, also proven equal in csnn_jax."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import jax
import numpy as np
from flax import nnx

from csnn_jax.config import ModelConfig
from csnn_jax.engine import scan
from csnn_jax.files import write_atomic
from csnn_jax.network.model import from_tensors
from csnn_jax.runs.layouts import Tensors
from csnn_jax.trained import Trained
from export.bundle import WEIGHTS
from export.network import Bundle, Inputs
from export.parts.part import CheckResult, ComparedRow, Part
from export.proof import Figures
from export.proof.equality import Comparison, TorchWindow, problems
from export.proof.evidence import Evidence


def write(bundle: Bundle, inputs: Inputs) -> None:
    write_atomic(bundle.folder / WEIGHTS, inputs.weights_file(bundle.network.tensors))


def check(bundle: Bundle, evidence: Evidence) -> Iterator[CheckResult]:
    """Compares csnn_jax with torch."""
    network = bundle.network
    compared = equality(network.model, network.tensors, evidence.compared)
    config = replace(network.config, train=replace(network.config.train, dtype="float32", engine="auto"))
    result = Trained(config, network.tensors).evaluate(evidence.test)
    yield CheckResult({"csnn_jax": compared, "accuracy": result.accuracy}, problems("csnn_jax", compared))


def equality(config: ModelConfig, tensors: Tensors, expected: Iterable[TorchWindow]) -> Figures:
    """Compares csnn_jax (scan engine) with windows of torch's: the figures of a `Comparison`."""
    graph, parameters = nnx.split(from_tensors(config, tensors))
    trace = scan.jit(lambda parameters, x: scan.trace(nnx.merge(graph, parameters), x)[1])
    found = Comparison()
    for one in expected:
        traced = jax.device_get(trace(parameters, one.x.movedim(-3, -1).numpy()))
        states = [state[name] for state in traced.states for name in config.kind.states]
        spikes, states = ([np.moveaxis(layer, -1, 2) for layer in kind] for kind in (traced.spikes, states))
        output = spikes[-1] if one.counts else np.asarray(traced.membranes[-1])
        found.add(one, output, spikes, states)
    return found.figures()


def _comparisons(proof: Figures) -> Iterator[ComparedRow]:
    yield ComparedRow("csnn_jax", proof["csnn_jax"])


PART = Part(
    what={WEIGHTS: "the parameters, with torch's names and layouts; the model's configuration is in the metadata"},
    write=write,
    check=check,
    copied=True,
    comparisons=_comparisons,
)
