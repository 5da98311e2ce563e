"""What a manifest claims of a bundle, worked out from the bundle's other files: when it is made, and to verify it."""

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
    """A check's result in one line, with the accuracy on so many images; None: they are too few to tell one."""
    if result.problems:
        return "; ".join(result.problems)
    said = ["ok", *(one.line() for one in part.comparisons(result.proof) if one.printed)]
    if "accuracy" in result.proof and images is not None:
        said.append(f"accuracy {measured(result.proof['accuracy'], images)} on {images:,} images")
    return ", ".join(said)


def of_bundle(bundle: Bundle, evidence: Evidence, prove: Prove) -> Manifest:
    """All that the manifest claims of a bundle and that follows from the bundle's other files.

    Args:
        bundle: its files are there.
        evidence: what they are checked on.
        prove: takes the next result from the checks of a part, that of the file so named, and reports it.

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
    """Activity of the reference network on the images that spikes are compared on."""
    model = evidence.network.model
    return reduce(add, (footprint.Activity.of(model, one.x.numpy(), one.spikes) for one in evidence.compared))


def checked(network: Network) -> list[str]:
    """The names under which the files of this network's bundle are checked, in order."""
    return [name for part in _possible(network) for name in part.what]


def timed(network: Network) -> list[tuple[str, Timing]]:
    """The files that run: first those of which a call is one step, then those of whole windows."""
    timings = [(name, part.timing) for part in _possible(network) if part.timing for name in part.what]
    return sorted(timings, key=lambda one: one[1].whole_window)


def latencies(bundle: Bundle, evidence: Evidence, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, latency of one call, measured for so long) of every file that runs, on the first test image."""
    first = evidence.few(1)
    for name, timing in timed(bundle.network):
        with evidence.work.task(f"timing {name}"):
            yield name, timing.measure(bundle, first, name, seconds)


def trained_accuracy(config: Config, tensors: Tensors, test: Split) -> float:
    """The accuracy of the trained network in csnn_jax, over the whole test set and the window of its training."""
    config = replace(config, train=replace(config.train, dtype="float32", engine="auto"))
    return Trained(config, tensors).evaluate(test).accuracy


def _possible(network: Network) -> list[Part]:
    return parts.possible(network.model, network.tensors)
