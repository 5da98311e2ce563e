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
from export.parts.part import Found, Part, Timing
from export.proof.equality import fired, thresholds
from export.report import tools
from export.report.cells import measured
from export.subject import Subject

Prove = Callable[[Part, str], Found]


def summary(part: Part, found: Found, images: int | None) -> str:
    """A check's result in one line, with the accuracy on so many images; None: they are too few to tell one."""
    if found.problems:
        return "; ".join(found.problems)
    said = ["ok", *(one.line() for one in part.comparisons(found.proof) if one.said)]
    if "accuracy" in found.proof and images is not None:
        said.append(f"accuracy {measured(found.proof['accuracy'], images)} on {images:,} images")
    return ", ".join(said)


def of_bundle(subject: Subject, prove: Prove) -> Manifest:
    """All that the manifest claims of a bundle and that follows from the bundle's other files.

    Args:
        subject: the bundle.
        prove: runs the check of a part for the file so named; told so that it may report it.

    Returns:
        These entries of the manifest.
    """
    model, tensors = subject.config.model, subject.tensors
    reasons = {part.form: part.reason_against(model, tensors) for part in parts.every() if part.form}
    found = {name: prove(part, name) for part, name in checked(subject)}
    return {
        "weights": {"file": WEIGHTS, "sha256_of_tensors": digest(tensors)},
        "semantics": semantics.of_bundle(subject.step, subject.time_steps, subject.sequence),
        **{form.lower(): {"written": reason is None, "reason": reason} for form, reason in reasons.items()},
        "onnx": {name: one.graph for name, one in found.items() if one.graph},
        "proof": {name: one.proof for name, one in found.items()},
        "numbers": footprint.numbers(model, tensors, _activity(subject)),
        "targets": [row._asdict() for row in tools.running(found)],
    }


def _activity(subject: Subject) -> footprint.Activity:
    """Activity of the reference network on the images that spikes are compared on."""
    thetas = thresholds(subject.step)
    batches = (footprint.Activity.of(x.numpy(), fired(torch, thetas)) for _, x, torch in subject.compared)
    return reduce(add, batches)


def checked(subject: Subject) -> list[tuple[Part, str]]:
    """The parts that this bundle has, and the names that each is checked by, in order."""
    return [(part, name) for part in _possible(subject) for name in part.what]


def timed(subject: Subject) -> list[tuple[str, Timing]]:
    """The files that run: first those of which a call is one step, then those of whole windows."""
    found = [(name, part.timing) for part in _possible(subject) if part.timing for name in part.what]
    return sorted(found, key=lambda one: one[1].whole_window)


def latencies(subject: Subject, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, latency of one call, measured for so long) of every file that runs."""
    for name, timing in timed(subject):
        with subject.work.task(f"timing {name}"):
            yield name, timing.measure(subject, name, seconds)


def trained_accuracy(config: Config, tensors: Tensors, test: Split) -> float:
    """The accuracy of the trained network in csnn_jax, over the whole test set and the window of its training."""
    config = replace(config, train=replace(config.train, dtype="float32", engine="auto"))
    return Trained(config, tensors).evaluate(test).accuracy


def _possible(subject: Subject) -> list[Part]:
    return parts.possible(subject.config.model, subject.tensors)
