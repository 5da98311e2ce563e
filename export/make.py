"""Makes a bundle: writes its files, proves each of them, and describes them in the manifest and report."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from csnn_jax import data, unknown
from csnn_jax.config import Config
from csnn_jax.data import Dataset
from csnn_jax.document.numbers import counted, percent
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.rundir import RunDir
from csnn_jax.trained import Trained
from export import manifest, parts, silent
from export.bundle import PAGE, REPORT, Manifest
from export.network import Bundle, Network
from export.parts.part import CheckResult, Part
from export.plan import Plan, summary, trained_accuracy
from export.proof import Figures
from export.proof.equality import CheckImages
from export.report import text
from export.settings import Settings
from export.work import Work


@dataclass(eq=False)
class Making(Plan):
    """Makes a bundle; a problem with a file ends it.

    Attributes:
        statements: the maker's statements that don't depend on the bundle's files.
    """

    statements: Figures

    def written(self) -> None:
        """Prints which formats the network can't be exported to."""
        network = self.bundle.network
        for form, reason in parts.refused(network.model, network.tensors).items():
            print(f"no {form} file: {reason}", flush=True)

    def checked(self, part: Part, name: str, result: CheckResult) -> None:
        """Prints a line about the file.

        Raises:
            UserError: it has problems.
        """
        if result.problems:
            raise UserError(f"{name}: {result.problems[0]}; no bundle is created, because this file isn't proven")
        print(f"{name:<24} {summary(part, result, len(self.images.test.labels))}", flush=True)

    def report(self) -> None:
        """Warns of silent layers, and writes the reports and the manifest."""
        if warning := manifest.silence(self.results):
            print(f"warning: {warning}", flush=True)
        folder = self.bundle.folder
        whole: Manifest = {
            "schema_version": manifest.SCHEMA_VERSION,
            "statements": {"made": manifest.made(), **self.statements, "latency": self.latency},
            "hashes": manifest.hash_files(folder),
            "results": self.results,
        }
        write_reports(folder, whole)
        manifest.write(folder, whole)


def make(
    folder: Path, scratch: Path, run: RunDir, config: Config, tensors: Tensors, settings: Settings, work: Work
) -> None:
    """Fills an empty folder with the bundle of a run and proves it; `scratch` is another empty folder.

    Raises:
        UserError: the data set isn't available, a file can't be written, or a file isn't equal to the trained network.
    """
    rounded: Figures = {}
    if settings.weight_bits is not None:
        config, tensors, rounded = _with_bits(config, tensors, settings.weight_bits)
    dataset = data.load_for(config)
    check_images(dataset)
    if settings.drop_silent:
        data.require_training(dataset, "; --drop-silent uses them")
    if settings.images > (there := len(dataset.test.labels)):
        print(f"the test set has only {there:,} images; comparing spikes on all of them", flush=True)
        settings = replace(settings, images=there)
    training, accuracy = _training(run, config)
    network, job, dropped = _network(config, tensors, settings, dataset, work)
    network, job = _with_margin(network, job)
    if dropped:
        before = trained_accuracy(config, tensors, dataset.test) if accuracy is None else accuracy
        accuracy, dropped = None, {"dropped": dropped | {"accuracy": before}}
    bundle = Bundle(folder, scratch, network, job, settings.opset, settings.split(dataset.test), settings.prefix)
    images = CheckImages(network, bundle.test, settings.images, settings.extent, work)
    known = {"training": training, "data": manifest.data(dataset.test, dataset.final), "settings": settings.stated}
    statements = known | rounded | dropped
    Making(bundle, images, dataset.test, statements, accuracy=accuracy).execute()


def check_images(dataset: Dataset) -> None:
    """Raises UserError if bundles can't hold these images."""
    kind = dataset.test.images.dtype
    if kind != np.uint8:
        raise UserError(f"--dataset {dataset.name}: {kind} images, expected bytes, which exports need")


def _with_bits(config: Config, tensors: Tensors, bits: int) -> tuple[Config, Tensors, Figures]:
    """The network with weights rounded to `bits` bits, and the maker's statement about it; prints the effect.

    Raises:
        UserError: the network has fewer bits, or all weights of a layer would become 0.
    """
    if bits > (has := config.model.weight_bits or bits):
        raise UserError(f"--weight-bits {bits}: the run's weights have {has}, expected at most that many")
    model, rounded = layouts.with_bits(config.model, tensors, bits)
    job, test = replace(config, model=model), data.load_for(config).test
    before, after = (trained_accuracy(*network, test) for network in ((config, tensors), (job, rounded)))
    images = f"{len(test.labels):,} test images, {counted(config.model.time_steps, 'step')}"
    print(f"--weight-bits {bits}: accuracy {before:.2%} before, {after:.2%} after ({images})")
    return job, rounded, {"rounded": {"accuracy": before}}


def _network(
    config: Config, tensors: Tensors, settings: Settings, dataset: Dataset, work: Work
) -> tuple[Network, Config, Figures]:
    """(the network, without silent channels if requested; the job for config.json; what's stated about the others)."""
    fitted = settings.fitted(config, dataset.test)
    recorded = dataset.test.images.shape[1] if dataset.test.images.ndim == 5 else None
    if not settings.drop_silent:
        return Network(fitted, tensors, recorded), config, {}
    with work.task("looking for silent channels", len(dataset.train.labels) + len(dataset.test.labels)):
        fitted, tensors, dropped = silent.drop(fitted, tensors, dataset, work)
    print("\n".join(dropped.lines()), flush=True)
    job = replace(config, model=replace(fitted.model, time_steps=config.model.time_steps))
    return Network(fitted, tensors, recorded), job, dropped.stated()


def _with_margin(network: Network, job: Config) -> tuple[Network, Config]:
    """Measures the margin of an answer again if the run's belongs to other weights or another window; prints it.

    Raises:
        UserError: there are no training images, of which the run held out some.
    """
    share = job.unknown.share
    if share is None or network.margin is not None:
        return network, job
    dataset = data.require_training(data.load_for(job, held_out=True), "; the margin of an answer needs them")
    assert dataset.validation is not None  # otherwise the configuration has no share
    held_out = dataset.validation
    if held_out.images.ndim == 5:
        held_out = replace(held_out, images=np.asarray(held_out.images)[:, : network.time_steps])
    measured, answers = unknown.choose(Trained(network.config, network.tensors), held_out, share)
    few = f"at most {100 * share:.4g}% of answers to held-out images are wrong, by the upper end of the 95% interval"
    if answers is None:
        print(f"unknown: at no margin, {few}, so this network answers every image", flush=True)
    else:
        unanswered = percent(1 - answers.given / len(held_out.labels))
        print(f"unknown: at a margin of {answers.margin:.9g}, {few}; {unanswered} have no answer", flush=True)
    return replace(network, config=replace(network.config, unknown=measured)), replace(job, unknown=measured)


def write_reports(folder: Path, whole: Manifest) -> None:
    """Writes report.html, or prints why it can't, and report.md; adds their hashes to the manifest."""
    for name, render in ((PAGE, text.page), (REPORT, text.render)):
        try:
            content = render(whole).encode()
        except UserError as error:
            print(f"no {name}: {error}", flush=True)
        else:
            write_atomic(folder / name, content)
            whole["hashes"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _training(run: RunDir, config: Config) -> tuple[Figures, float | None]:
    """(the end of the run, or the exported checkpoint; the accuracy of `config` on the whole test set, if recorded)."""
    if (number := run.checkpoint) is not None:
        return {"iterations": number, "seconds": None, "checkpoint": number}, None
    last, trained = run.end, run.config()
    assert last is not None
    # In float64, membranes round differently than in the files.
    whole = config.train.eval_images is None and config.train.dtype == "float32"
    same = whole and config.model == trained.model and config.data == trained.data
    return {"iterations": last["iter"], "seconds": last.get("seconds")}, last["accuracy"] if same else None
