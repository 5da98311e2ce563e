"""A manifest's claims, computed from the bundle's other files, both to make a bundle and to verify it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.runs import footprint
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.weights import digest
from csnn_jax.trained import Trained
from export import parts, semantics
from export.bundle import WEIGHTS, Manifest
from export.graphs import few_bits
from export.network import Bundle, Network
from export.parts.part import CheckResult, Part, Timing
from export.proof.evidence import Evidence
from export.report import tools
from export.report.cells import measured

Prove = Callable[[Part, str, Iterator[CheckResult]], CheckResult]


def summary(part: Part, result: CheckResult, images: int | None) -> str:
    """A check's result in one line, with the accuracy on `images` images; None: too few to state one."""
    if result.problems:
        return "; ".join(result.problems)
    said = ["ok", *(one.line() for one in part.comparisons(result.proof) if one.printed)]
    if "accuracy" in result.proof and images is not None:
        said.append(f"accuracy {measured(result.proof['accuracy'], images)} on {images:,} images")
    return ", ".join(said)


def of_bundle(bundle: Bundle, evidence: Evidence, prove: Prove) -> Manifest:
    """All claims of the manifest that follow from the bundle's other files.

    Args:
        bundle: the bundle; its files must exist.
        evidence: the images and reference results to check the files on.
        prove: takes the next result from a part's checks, the one for the named file, and reports it.

    Returns:
        These entries of the manifest.
    """
    network = bundle.network
    results: dict[str, CheckResult] = {}
    for part in _possible(network):
        checks = part.check(bundle, evidence)
        results |= {name: prove(part, name, checks) for name in part.what}
    reasons = {part.form: part.reason_against(network.model, network.tensors) for part in parts.every() if part.form}
    return {
        "weights": {"file": WEIGHTS, "sha256_of_tensors": digest(network.tensors)},
        "semantics": semantics.of_bundle(
            network.step, network.time_steps, network.sequence, network.config.class_names
        ),
        **{form.lower(): {"written": reason is None, "reason": reason} for form, reason in reasons.items()},
        "onnx": {name: one.graph for name, one in results.items() if one.graph},
        "proof": {name: one.proof for name, one in results.items()},
        "numbers": footprint.numbers(network.model, network.tensors, _activity(evidence)),
        "targets": [row._asdict() for row in tools.running(results, few_bits.width(bundle.step_graph))],
    }


def _activity(evidence: Evidence) -> footprint.Activity:
    """Activity of the reference network on the images used to compare spikes."""
    model = evidence.network.model
    batches = ((one.x.numpy(), list(one.trace.spikes.values())) for one in evidence.compared)
    return reduce(add, (footprint.Activity.of(model, *batch) for batch in batches))


def checked(network: Network) -> list[str]:
    """The names of the checked files in this network's bundle, in order."""
    return [name for part in _possible(network) for name in part.what]


def timed(network: Network) -> list[tuple[str, Timing]]:
    """The files that run: first those that take one step per call, then those that take a whole window."""
    timings = [(name, part.timing) for part in _possible(network) if part.timing for name in part.what]
    return sorted(timings, key=lambda one: one[1].whole_window)


def latencies(bundle: Bundle, evidence: Evidence, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, latency of one call) of every file that runs, measured for `seconds` on the first test image."""
    first = evidence.few(1)
    for name, timing in timed(bundle.network):
        with evidence.work.task(f"timing {name}"):
            yield name, timing.measure(bundle, first, name, seconds)


def trained_accuracy(config: Config, tensors: Tensors, test: Split) -> float:
    """The trained network's accuracy in csnn_jax, on the whole test set and with the time steps used in training."""
    config = replace(config, train=replace(config.train, dtype="float32", engine="auto"))
    return Trained(config, tensors).evaluate(test).accuracy


def _possible(network: Network) -> list[Part]:
    return parts.possible(network.model, network.tensors)
