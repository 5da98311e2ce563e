"""What goes into a bundle, and the order in which it is made."""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_jax.runs.rundir import RunDir
from csnn_jax.runs.weights import Tensors
from export import claims, manifest
from export.c import program as c_program
from export.claims import Check
from export.graphs import every as graphs
from export.manifest import Manifest
from export.parts import golden
from export.parts import nir as nir_file
from export.proof import latency, network
from export.report import text as report
from export.subject import Found, Subject, for_data

CALIBRATION_IMAGES = 64
SECONDS, QUICK_SECONDS = 3.0, 0.2
"""How long the latency of a file is measured."""
RECORDED = ("schema_version", "made", "training", "data", "settings", "latency", "files")
"""Parts of the manifest that `claims.collect` does not work out."""
COPIED = ("config.json", "weights.safetensors")


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


def names(subject: Subject) -> set[str]:
    """Every file that a bundle consists of but the manifest's own two, by its name in the bundle.

    Raises:
        UserError: the bundle's golden images, which tell how many golden tensors there are, can't be read.
    """
    model = subject.config.model
    no_nir = nir_file.reason_against(model, subject.tensors)
    golden_images = len(golden.images(subject.folder).labels)
    return {
        *COPIED,
        report.NAME,
        *claims.STEPS,
        "sequence.onnx",
        "step_int8.onnx",
        *(claims.NIR if no_nir is None else ()),
        *(f"c/{name}" for name in c_program.FILES),
        *golden.names(model, golden_images, subject.time_steps),
    }


def make(folder: Path, run: RunDir, config: Config, tensors: Tensors, settings: Settings) -> None:
    """Fills an empty folder with the bundle of a run, and proves it.

    Raises:
        UserError: the data set can't be had, a file can't be written, or one is not equal to the trained network.
    """
    dataset = data.load(config.data.dataset, config.model.input_shape)
    settings = replace(settings, images=min(settings.images, len(dataset.test.labels)))
    config = for_data(config, dataset.test)
    subject = Subject(folder, config, tensors, settings.split(dataset.test), settings.images)
    _write_files(subject, run, dataset, settings.opset)
    found = claims.collect(subject, _Proof(subject).run)
    print("Measuring latencies", flush=True)
    whole: Manifest = {
        "schema_version": manifest.SCHEMA_VERSION,
        "made": manifest.made(settings.opset),
        "training": _training(run, config),
        "data": manifest.data(config.data.dataset, dataset.test),
        "settings": asdict(settings) | {"accuracy_images": len(subject.split.labels)},
        **found,
        "latency": dict(latencies(subject, QUICK_SECONDS if settings.quick else SECONDS)),
        "files": manifest.hash_files(folder),
    }
    write_atomic(folder / report.NAME, report.render(whole).encode())
    whole["files"] = manifest.hash_files(folder)
    manifest.write(folder, whole)


def _write_files(subject: Subject, run: RunDir, dataset: data.Dataset, opset: int) -> None:
    folder, model, tensors = subject.folder, subject.config.model, subject.tensors
    for name in COPIED:
        write_atomic(folder / name, (run.path / name).read_bytes())
    calibration = dataset.train.images[:CALIBRATION_IMAGES]
    for name, graph in graphs.all_graphs(model, tensors, opset, calibration, subject.frames).items():
        write_atomic(folder / name, graph.SerializeToString())
    if reason := nir_file.reason_against(model, tensors):
        print(f"no NIR file: {reason}", flush=True)
    else:
        for name in claims.NIR:
            nir_file.write(folder / name, model, tensors, legacy="104" in name)
    c_program.write(folder / "c", model, tensors, subject.time_steps if subject.frames else None)
    golden.write(folder, network.Step(model, tensors), dataset.test, subject.time_steps)


@dataclass(frozen=True)
class _Proof:
    """Runs the checks of a bundle being made: one that finds a problem ends it."""

    subject: Subject

    def run(self, name: str, check: Check) -> Found:
        found = check()
        if found.problems:
            raise UserError(f"{name}: {found.problems[0]}; no bundle is made of a file that is not proven")
        print(f"{name:<20} {claims.summary(found, len(self.subject.split.labels))}", flush=True)
        return found


def _training(run: RunDir, config: Config) -> dict[str, Any]:
    end = [record for record in run.records("end") if not record["interrupted"]][-1]
    return {
        "accuracy": end.get("accuracy"),
        "iterations": end["iter"],
        "seconds": end.get("seconds"),
        "seed": config.train.seed,
        "dtype": config.train.dtype,
    }


def latencies(subject: Subject, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, latency of one call) of every ONNX file and of the C program's `csnn_classify`, on golden inputs."""
    folder, model = subject.folder, subject.config.model
    _, first = next(golden.read(folder, "step"))
    _, whole = next(golden.read(folder, "sequence"))
    for name in (*claims.STEPS, "step_int8.onnx", "sequence.onnx"):
        inputs = whole.inputs if name == "sequence.onnx" else first.inputs
        yield name, latency.of_onnx(folder / name, inputs, seconds)
    with tempfile.TemporaryDirectory() as scratch:
        c_program.build(folder / "c", Path(scratch))
        library = c_program.Library(Path(scratch) / "libcsnn.so", model)
        (sample,) = c_program.samples(model, subject.few(1).numpy())
        yield "c/", latency.of(lambda: library.classify(sample), seconds)
