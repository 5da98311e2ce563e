"""Makes a bundle: writes its files, proves each of them, and describes them in the manifest and report."""

import hashlib
from collections.abc import Iterator
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
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.rundir import RunDir
from export import claims, manifest, parts, silent
from export.bundle import PAGE, REPORT, Manifest
from export.network import Bundle, Inputs, Network
from export.parts.part import CheckResult, Part
from export.proof import derived
from export.proof.evidence import Evidence
from export.report import text, webpage
from export.settings import Settings
from export.work import Work


def make(
    folder: Path, scratch: Path, run: RunDir, config: Config, tensors: Tensors, settings: Settings, work: Work
) -> None:
    """Fills an empty folder with the bundle of a run and proves it.

    Args:
        folder: the folder of the bundle.
        scratch: another empty folder, for intermediate files.
        run: the run directory.
        config: the job.
        tensors: the trained parameters.
        settings: settings of the export.
        work: shows the progress.

    Raises:
        UserError: the data set isn't available, a file can't be written, or a file isn't equal to the trained network.
    """
    rounded: dict[str, Any] = {}
    if settings.weight_bits is not None:
        config, tensors, rounded = _with_bits(config, tensors, settings.weight_bits)
    dataset = data.load_for(config)
    check_images(dataset)
    if settings.drop_silent:
        data.require_training(dataset, "; --drop-silent uses them")
    if settings.images > (there := len(dataset.test.labels)):
        print(f"the test set has only {there:,} images; comparing spikes on all of them", flush=True)
        settings = replace(settings, images=there)
    network, job, dropped = _network(config, tensors, settings, dataset, work)
    inputs = Inputs(job, settings.opset, settings.split(dataset.test))
    bundle = Bundle(folder, network, scratch)
    evidence = Evidence(network, inputs.test, settings.images, settings.extent, work)
    tasks = (
        len(parts.possible(network.model, network.tensors)) + len(claims.checked(network)) + len(claims.timed(network))
    )
    work.plan(tasks + settings.drop_silent + len(("accuracy", "report")))
    derived.make(bundle, inputs, work)
    for form, reason in parts.refused(network.model, network.tensors).items():
        print(f"no {form} file: {reason}", flush=True)
    claimed = claims.of_bundle(bundle, evidence, partial(_prove, evidence))
    _warn_of_silence(claimed)
    latency = dict(claims.latencies(bundle, evidence, settings.extent.seconds))
    with work.task("the trained network's accuracy"):
        training = _training(run, config, tensors, dataset.test)
    whole: Manifest = {
        "schema_version": manifest.SCHEMA_VERSION,
        "made": manifest.made(settings.opset),
        "training": training,
        "data": manifest.data(config.data.dataset, dataset.test, dataset.final),
        "settings": asdict(settings) | {"accuracy_images": len(inputs.test.labels)},
        **claimed,
        "latency": latency,
        **rounded,
        **dropped,
        "files": manifest.hash_files(folder),
    }
    with work.task("the report"):
        _write_reports(folder, whole)
        manifest.write(folder, whole)


def check_images(dataset: Dataset) -> None:
    """Raises UserError if bundles can't hold these images."""
    kind = dataset.test.images.dtype
    if kind != np.uint8:
        raise UserError(f"--dataset {dataset.name}: {kind} images, expected bytes, which exports need")


def _with_bits(config: Config, tensors: Tensors, bits: int) -> tuple[Config, Tensors, dict[str, Any]]:
    """The network with weights rounded to `bits` bits, and the manifest's entries about it; prints the effect.

    Raises:
        UserError: the network has fewer bits, or all weights of a layer would become 0.
    """
    if bits > (has := config.model.weight_bits or bits):
        raise UserError(f"--weight-bits {bits}: the run's weights have {has}, expected at most that many")
    model, rounded = layouts.with_bits(config.model, tensors, bits)
    job, test = replace(config, model=model), data.load_for(config).test
    before, after = (claims.trained_accuracy(*network, test) for network in ((config, tensors), (job, rounded)))
    print(f"--weight-bits {bits}: accuracy {before:.2%} before, {after:.2%} after ({len(test.labels):,} test images)")
    for line in model.narrower:
        print(line, flush=True)
    return job, rounded, {"rounded": {"accuracy": before}}


def _network(
    config: Config, tensors: Tensors, settings: Settings, dataset: Dataset, work: Work
) -> tuple[Network, Config, dict[str, Any]]:
    """(the run's network, without silent channels if requested; the job for config.json; the manifest's entries about
    dropped channels, if any)."""
    fitted = settings.fitted(config, dataset.test)
    recorded = dataset.test.images.shape[1] if dataset.test.images.ndim == 5 else None
    if not settings.drop_silent:
        return Network(fitted, tensors, recorded), config, {}
    with work.task("looking for silent channels", len(dataset.train.labels) + len(dataset.test.labels)):
        fitted, tensors, dropped = silent.drop(fitted, tensors, dataset, work)
    print("\n".join(dropped.lines()), flush=True)
    job = replace(config, model=replace(fitted.model, time_steps=config.model.time_steps))
    return Network(fitted, tensors, recorded), job, {"dropped": dropped.figures()}


def _write_reports(folder: Path, whole: Manifest) -> None:
    """Writes report.html, or prints why it can't, and report.md; adds them to the manifest's files."""
    try:
        page.require()
    except UserError as error:
        print(f"no {PAGE}: {error}", flush=True)
    else:
        _write_listed(folder, whole, PAGE, webpage.render(whole))
    _write_listed(folder, whole, REPORT, text.render(whole))


def _write_listed(folder: Path, whole: Manifest, name: str, content: str) -> None:
    written = content.encode()
    write_atomic(folder / name, written)
    entry = {"sha256": hashlib.sha256(written).hexdigest(), "bytes": len(written)}
    whole["files"] = dict(sorted((whole["files"] | {name: entry}).items()))


def _warn_of_silence(claimed: Manifest) -> None:
    if warning := manifest.silence(claimed):
        print(f"warning: {warning}", flush=True)


def _prove(evidence: Evidence, part: Part, name: str, checks: Iterator[CheckResult]) -> CheckResult:
    """Runs the check of a file while making a bundle; a problem aborts the export."""
    with evidence.work.task(f"checking {name}", evidence.looked_at):
        result = next(checks)
    if result.problems:
        raise UserError(f"{name}: {result.problems[0]}; no bundle is created, because this file isn't proven")
    print(f"{name:<24} {claims.summary(part, result, len(evidence.test.labels))}", flush=True)
    return result


def _training(run: RunDir, config: Config, tensors: Tensors, test: Split) -> dict[str, Any]:
    """The result of the run, or of the exported checkpoint, with the accuracy on the whole test set."""
    if (number := run.checkpoint) is not None:
        accuracy, end = None, {"iterations": number, "seconds": None, "checkpoint": number}
    else:
        last = [record for record in run.records("end") if not record["interrupted"]][-1]
        # In float64, membranes round differently than in the files.
        exact = config.train.dtype == "float32" and config.model == run.config().model
        whole = config.train.eval_images is None and config.data == run.config().data and exact
        accuracy = last["accuracy"] if whole else None
        end = {"iterations": last["iter"], "seconds": last.get("seconds")}
    if accuracy is None:
        accuracy = claims.trained_accuracy(config, tensors, test)
    settings: dict[str, Any] = {
        "seed": config.train.seed,
        "dtype": config.train.dtype,
        "time_steps": config.model.time_steps,
    }
    settings["weight_bits"] = config.model.weight_bits
    return {"accuracy": accuracy, **end, **settings}
