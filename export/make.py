"""The order in which a bundle is made: its files written, each proven, all of it told in manifest and report."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_jax.report import page
from csnn_jax.runs import footprint
from csnn_jax.runs.rundir import RunDir
from csnn_jax.runs.weights import Tensors, digest
from export import manifest, parts, semantics
from export.bundle import CONFIG, PAGE, REPORT, WEIGHTS
from export.manifest import Manifest
from export.parts.part import Found, Part, Timing
from export.proof import network
from export.proof.equality import pieces
from export.report import text, tools, webpage
from export.subject import CALIBRATION_IMAGES, Source, Subject, for_data

SECONDS, QUICK_SECONDS = 3.0, 0.2
"""How long the latency of a file is measured."""
RECORDED = ("schema_version", "made", "training", "data", "settings", "latency", "files")
"""Entries of the manifest that `claims` does not work out."""

Prove = Callable[[Part, str], Found]


@dataclass(frozen=True)
class Settings:
    """How a bundle is made and proven.

    Attributes:
        opset: of the ONNX files.
        images: test images that spikes are compared on.
        quick: accuracy is measured on those images too, not on the whole test set.
    """

    opset: int
    images: int
    quick: bool

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
        return cls(**{name: values[name] for name in kinds})

    def split(self, test: Split) -> Split:
        """The images that accuracy is measured on."""
        count = self.images if self.quick else len(test.labels)
        return Split(test.images[:count], test.labels[:count])


def make(folder: Path, run: RunDir, config: Config, tensors: Tensors, settings: Settings) -> None:
    """Fills an empty folder with the bundle of a run, and proves it.

    Raises:
        UserError: the data set can't be had, a file can't be written, or one is not equal to the trained network.
    """
    dataset = data.load(config.data.dataset, config.model.input_shape)
    if settings.images > (there := len(dataset.test.labels)):
        print(f"--images {settings.images}: the test set has {there:,}, all of which are compared", flush=True)
        settings = replace(settings, images=there)
    config = for_data(config, dataset.test)
    ranges = dataset.train.images[:CALIBRATION_IMAGES]
    subject = Subject(folder, config, tensors, settings.split(dataset.test), settings.images, ranges)
    _write(Source(subject, run, dataset, settings.opset))
    found = claims(subject, partial(_prove, subject))
    _warn_of_silence(found)
    print("Measuring latencies", flush=True)
    whole: Manifest = {
        "schema_version": manifest.SCHEMA_VERSION,
        "made": manifest.made(settings.opset),
        "training": _training(run, config, None if settings.quick else found["proof"][WEIGHTS]["accuracy"]),
        "data": manifest.data(config.data.dataset, dataset.test),
        "settings": asdict(settings) | {"accuracy_images": len(subject.split.labels)},
        **found,
        "latency": dict(latencies(subject, settings.quick)),
        "files": manifest.hash_files(folder),
    }
    _write_page(folder, whole)
    whole["files"] = manifest.hash_files(folder)
    write_atomic(folder / REPORT, text.render(whole).encode())
    whole["files"] = manifest.hash_files(folder)
    manifest.write(folder, whole)


def _write(source: Source) -> None:
    subject = source.subject
    write_atomic(subject.folder / CONFIG, (source.run.path / CONFIG).read_bytes())
    for part in parts.every():
        if reason := part.reason_against(subject.config.model, subject.tensors):
            print(f"no {part.form} file: {reason}", flush=True)
        else:
            part.write(source)


def _write_page(folder: Path, whole: Manifest) -> None:
    """Writes report.html, or says in one line why there is none."""
    try:
        page.require()
    except UserError as error:
        print(f"no {PAGE}: {error}", flush=True)
    else:
        write_atomic(folder / PAGE, webpage.render(whole).encode())


def _warn_of_silence(found: Manifest) -> None:
    if warning := manifest.silence(found):
        print(f"warning: {warning}", flush=True)


def _prove(subject: Subject, part: Part, name: str) -> Found:
    """Runs the check of a bundle being made: one that finds a problem ends it."""
    found = part.check(subject, name)
    if found.problems:
        raise UserError(f"{name}: {found.problems[0]}; no bundle is made of a file that is not proven")
    print(f"{name:<20} {summary(part, found, len(subject.split.labels))}", flush=True)
    return found


def summary(part: Part, found: Found, images: int) -> str:
    """What a check found, in one line."""
    if found.problems:
        return "; ".join(found.problems)
    said = ["ok", *(one.line() for one in part.comparisons(found.proof) if one.said)]
    if "accuracy" in found.proof:
        said.append(f"accuracy {found.proof['accuracy']:.2%} on {images:,} images")
    return ", ".join(said)


def claims(subject: Subject, prove: Prove) -> Manifest:
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
    """What torch's spikes were on the images that spikes are compared on."""
    traces = ((x, network.trace(subject.step, x, subject.time_steps)) for _, x in pieces(subject.compared, 32))
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


def _training(run: RunDir, config: Config, accuracy: float | None) -> dict[str, Any]:
    """What became of the run, at the checkpoint that is exported, where one is.

    `accuracy` is the bundle's on all test images, None where it was measured on few of them.
    """
    settings = {"seed": config.train.seed, "dtype": config.train.dtype}
    if (number := run.checkpoint) is not None:
        return {"accuracy": accuracy, "iterations": number, "seconds": None, **settings, "checkpoint": number}
    end = [record for record in run.records("end") if not record["interrupted"]][-1]
    found = end["accuracy"] if config.train.eval_images is None else accuracy
    return {"accuracy": found, "iterations": end["iter"], "seconds": end.get("seconds"), **settings}
