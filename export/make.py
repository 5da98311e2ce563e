"""The order in which a bundle is made: its files written, each proven, all of it told in manifest and report."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_jax.report import page
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.rundir import RunDir
from export import claims, manifest, parts
from export.bundle import CONFIG, PAGE, REPORT, WEIGHTS
from export.claims import Settings
from export.manifest import Manifest
from export.parts.part import Found, Part
from export.report import text, webpage
from export.subject import CALIBRATION_IMAGES, ExportInputs, Subject


def make(folder: Path, run: RunDir, config: Config, tensors: Tensors, settings: Settings) -> None:
    """Fills an empty folder with the bundle of a run, and proves it.

    Raises:
        UserError: the data set can't be had, a file can't be written, or one is not equal to the trained network.
    """
    dataset = data.load_for(config)
    if settings.images > (there := len(dataset.test.labels)):
        print(f"--images {settings.images}: the test set has {there:,}, all of which are compared", flush=True)
        settings = replace(settings, images=there)
    trained, config = config.model.time_steps, settings.fitted(config, dataset.test)
    ranges = dataset.train.images[:CALIBRATION_IMAGES]
    subject = Subject(folder, config, tensors, settings.split(dataset.test), settings.images, ranges)
    _write(ExportInputs(subject, run, dataset, settings.opset))
    found = claims.of_bundle(subject, partial(_prove, subject))
    _warn_of_silence(found)
    print("Measuring latencies", flush=True)
    whole: Manifest = {
        "schema_version": manifest.SCHEMA_VERSION,
        "made": manifest.made(settings.opset),
        "training": _training(run, config, found["proof"][WEIGHTS]["accuracy"] if settings.whole else None)
        | {"time_steps": trained},
        "data": manifest.data(config.data.dataset, dataset.test),
        "settings": asdict(settings) | {"accuracy_images": len(subject.split.labels)},
        **found,
        "latency": dict(claims.latencies(subject, settings.quick)),
        "files": manifest.hash_files(folder),
    }
    _write_page(folder, whole)
    whole["files"] = manifest.hash_files(folder)
    write_atomic(folder / REPORT, text.render(whole).encode())
    whole["files"] = manifest.hash_files(folder)
    manifest.write(folder, whole)


def _write(source: ExportInputs) -> None:
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
    print(f"{name:<20} {claims.summary(part, found, len(subject.split.labels))}", flush=True)
    return found


def _training(run: RunDir, config: Config, accuracy: float | None) -> dict[str, Any]:
    """The run's own result, or that of the checkpoint that is exported.

    `accuracy` is the bundle's on all test images, None where it was measured on few of them.
    """
    settings = {"seed": config.train.seed, "dtype": config.train.dtype}
    if (number := run.checkpoint) is not None:
        return {"accuracy": accuracy, "iterations": number, "seconds": None, **settings, "checkpoint": number}
    end = [record for record in run.records("end") if not record["interrupted"]][-1]
    found = end["accuracy"] if config.train.eval_images is None else None
    found = accuracy if found is None else found
    return {"accuracy": found, "iterations": end["iter"], "seconds": end.get("seconds"), **settings}
