"""What a manifest claims of a bundle, worked out from the bundle's other files: when it is made, and to verify it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.errors import UserError
from csnn_jax.runs import footprint
from csnn_jax.runs.weights import digest
from export import parts, reference, semantics
from export.bundle import CONFIG, REPORT, WEIGHTS, Manifest
from export.parts.part import Found, Part, Timing
from export.proof.equality import pieces
from export.report import tools
from export.subject import Subject, for_data

SECONDS, QUICK_SECONDS = 3.0, 0.2
"""How long the latency of a file is measured."""
RECORDED = ("schema_version", "made", "training", "data", "settings", "latency", "files")
"""Entries of the manifest that `of_bundle` does not work out."""

Prove = Callable[[Part, str], Found]


@dataclass(frozen=True)
class Settings:
    """The settings by which a bundle is made and proven.

    Attributes:
        opset: of the ONNX files.
        images: test images that spikes are compared on.
        quick: accuracy is measured on those images too, not on the whole test set.
        time_steps: steps of the window that the bundle runs; None: those of the training, or the data's own.
    """

    opset: int
    images: int
    quick: bool
    time_steps: int | None = None

    @property
    def whole(self) -> bool:
        """Whether the bundle's accuracy is the trained network's: of all test images, and of its whole window."""
        return not self.quick and self.time_steps is None

    @classmethod
    def read(cls, values: dict[str, Any]) -> "Settings":
        """From a manifest.

        Raises:
            UserError: they are not what `export` writes.
        """
        kinds = {"opset": int, "images": int, "quick": bool}
        for name, kind in kinds.items():
            if type(values.get(name)) is not kind:
                raise UserError(f"settings.{name} is {values.get(name)!r}, expected {kind.__name__}")
        if values["images"] < 1:
            raise UserError(f"settings.images is {values['images']}, expected at least 1")
        steps = values.get("time_steps")
        if steps is not None and (type(steps) is not int or steps < 1):
            raise UserError(f"settings.time_steps is {steps!r}, expected a whole number of at least 1 or null")
        return cls(**{name: values[name] for name in kinds}, time_steps=steps)

    def fitted(self, config: Config, test: Split) -> Config:
        """The run's configuration with the window that the bundle runs.

        Raises:
            UserError: other steps than the images' own were asked for.
        """
        config = for_data(config, test)
        if self.time_steps is None:
            return config
        if test.images.ndim == 5:
            frames = f"{config.data.dataset} has {test.images.shape[1]} frames an example"
            raise UserError(f"--time-steps {self.time_steps}: {frames}, of which a bundle runs all; expected no flag")
        return replace(config, model=replace(config.model, time_steps=self.time_steps))

    def split(self, test: Split) -> Split:
        """The images that accuracy is measured on."""
        count = self.images if self.quick else len(test.labels)
        return Split(test.images[:count], test.labels[:count])


def summary(part: Part, found: Found, images: int) -> str:
    """A check's result in one line."""
    if found.problems:
        return "; ".join(found.problems)
    said = ["ok", *(one.line() for one in part.comparisons(found.proof) if one.said)]
    if "accuracy" in found.proof:
        said.append(f"accuracy {found.proof['accuracy']:.2%} on {images:,} images")
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
    found = {name: prove(part, name) for part in _possible(subject) for name in part.what}
    return {
        "weights": {"file": WEIGHTS, "sha256_of_tensors": digest(tensors)},
        "semantics": semantics.of_bundle(subject.step, subject.time_steps, subject.sequence),
        **{form.lower(): {"written": reason is None, "reason": reason} for form, reason in reasons.items()},
        "onnx": {name: one.graph for name, one in found.items() if one.graph},
        "proof": {name: one.proof for name, one in found.items()},
        "numbers": footprint.numbers(model, tensors, _activity(subject)),
        "targets": [row._asdict() for row in tools.tools(model, tensors)],
    }


def _activity(subject: Subject) -> footprint.Activity:
    """Activity of the reference network on the images that spikes are compared on."""
    traces = ((x, reference.trace(subject.step, x, subject.time_steps)) for _, x in pieces(subject.compared, 32))
    batches = (footprint.Activity.of(x.numpy(), [layer.numpy() for layer in spikes]) for x, (_, spikes) in traces)
    return reduce(add, batches)


def files(subject: Subject) -> set[str]:
    """Every file that a bundle consists of but the manifest's own two and the page, by its name in the bundle.

    Raises:
        UserError: a part of the bundle that tells how many files it has can't be read.
    """
    of_parts = {name for part in _possible(subject) for name in (part.files(subject) if part.files else part.what)}
    return {CONFIG, REPORT, *of_parts}


def timed(subject: Subject) -> list[tuple[str, Timing]]:
    """The files that run: first those of which a call is one step, then those of whole windows."""
    found = [(name, part.timing) for part in _possible(subject) if part.timing for name in part.what]
    return sorted(found, key=lambda one: one[1].whole_window)


def latencies(subject: Subject, quick: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, latency of one call) of every file that runs."""
    for name, timing in timed(subject):
        yield name, timing.measure(subject, name, QUICK_SECONDS if quick else SECONDS)


def _possible(subject: Subject) -> list[Part]:
    return parts.possible(subject.config.model, subject.tensors)
