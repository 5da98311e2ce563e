"""The order in which a bundle is made: its files written, each proven, all of it told in manifest and report."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.data import Dataset, Split
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_jax.report import page
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.rundir import RunDir
from export import claims, derived, manifest, parts, silent
from export.bundle import PAGE, REPORT
from export.manifest import Manifest
from export.parts.part import Found, Part
from export.report import text, webpage
from export.settings import Settings
from export.subject import ExportInputs, Subject, calibration
from export.work import Work


def make(folder: Path, run: RunDir, config: Config, tensors: Tensors, settings: Settings, work: Work) -> None:
    """Fills an empty folder with the bundle of a run, and proves it; `work` shows how far it is.

    Raises:
        UserError: the data set can't be had, a file can't be written, or one is not equal to the trained network.
    """
    dataset = data.load_for(config)
    if dataset.test.images.dtype != np.uint8:
        raise UserError(
            f"--dataset {dataset.name}: {dataset.test.images.dtype} images, expected bytes, as exports hold"
        )
    if settings.drop_silent:
        data.require_training(dataset, "; --drop-silent looks at these")
    if settings.images > (there := len(dataset.test.labels)):
        print(f"the test set has {there:,} images, and spikes are compared on all of them", flush=True)
        settings = replace(settings, images=there)
    source = _source(folder, config, tensors, settings, dataset, work)
    subject = source.subject
    derived.make(source)
    for part in parts.every():
        if reason := part.reason_against(subject.config.model, subject.tensors):
            print(f"no {part.form} file: {reason}", flush=True)
    found = claims.of_bundle(subject, partial(_prove, subject))
    _warn_of_silence(found)
    latency = dict(claims.latencies(subject, settings.extent.seconds))
    with work.task("the trained network's accuracy"):
        training = _training(run, config, tensors, dataset.test)
    whole: Manifest = {
        "schema_version": manifest.SCHEMA_VERSION,
        "made": manifest.made(settings.opset),
        "training": training,
        "data": manifest.data(config.data.dataset, dataset.test),
        "settings": asdict(settings) | {"accuracy_images": len(subject.split.labels)},
        **found,
        "latency": latency,
        **source.dropped,
        "files": manifest.hash_files(folder),
    }
    with work.task("the report"):
        _write_page(folder, whole)
        whole["files"] = manifest.hash_files(folder)
        write_atomic(folder / REPORT, text.render(whole).encode())
        whole["files"] = manifest.hash_files(folder)
        manifest.write(folder, whole)


def _source(
    folder: Path, config: Config, tensors: Tensors, settings: Settings, dataset: Dataset, work: Work
) -> ExportInputs:
    """What the files are made from: the run's network, or what is left of it; tells `work` how much there is to do."""
    fitted = settings.fitted(config, dataset.test)
    job, dropped = config, {}
    if settings.drop_silent:
        with work.task("looking for silent channels", len(dataset.train.labels) + len(dataset.test.labels)):
            fitted, tensors, found = silent.drop(fitted, tensors, dataset, work)
        print("\n".join(found.lines()), flush=True)
        job = replace(config, model=replace(fitted.model, time_steps=config.model.time_steps))
        dropped = {"dropped": found.figures()}
    ranges = settings.window(calibration(dataset))
    frames = dataset.test.images.shape[1] if dataset.test.images.ndim == 5 else None
    split = settings.split(dataset.test)
    subject = Subject(
        folder, fitted, tensors, split, settings.images, ranges, extent=settings.extent, window_frames=frames, work=work
    )
    tasks = len(parts.possible(fitted.model, tensors)) + len(claims.checked(subject)) + len(claims.timed(subject))
    work.plan(tasks + settings.drop_silent + len(("accuracy", "report")))
    return ExportInputs(subject, job, settings.opset, dropped)


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
    with subject.work.task(f"checking {name}", subject.looked_at):
        found = part.check(subject, name)
    if found.problems:
        raise UserError(f"{name}: {found.problems[0]}; no bundle is made of a file that is not proven")
    print(f"{name:<20} {claims.summary(part, found, len(subject.split.labels))}", flush=True)
    return found


def _training(run: RunDir, config: Config, tensors: Tensors, test: Split) -> dict[str, Any]:
    """The run's own result, or that of the checkpoint that is exported; its accuracy is of the whole test set."""
    if (number := run.checkpoint) is not None:
        accuracy, end = None, {"iterations": number, "seconds": None, "checkpoint": number}
    else:
        last = [record for record in run.records("end") if not record["interrupted"]][-1]
        whole = config.train.eval_images is None and config.data == run.config().data
        accuracy = last["accuracy"] if whole else None
        end = {"iterations": last["iter"], "seconds": last.get("seconds")}
    if accuracy is None:
        accuracy = claims.trained_accuracy(config, tensors, test)
    settings = {"seed": config.train.seed, "dtype": config.train.dtype, "time_steps": config.model.time_steps}
    return {"accuracy": accuracy, **end, **settings}
