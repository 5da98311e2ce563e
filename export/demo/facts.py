"""A demonstration's folder: the page, its data (`demo.json`, samples, random draws), and ONNX Runtime Web.

The page shows a bundle's strings as text, never as HTML. It converts pixels to the network's input with a table of 256
values computed here, so both are the same floats.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax import machine, reading
from csnn_jax.config import ModelConfig
from csnn_jax.data import Split
from csnn_jax.data.batches import draws, levels
from csnn_jax.errors import UserError
from csnn_jax.files import write_atomic
from csnn_jax.neurons.neuron import plain_threshold
from csnn_jax.runs.rundir import RunDir
from export import bundle, manifest
from export.bundle import CONFIG, IMAGES, MANIFEST, Kind, Manifest, golden_images
from export.demo.ort_web import Runtime
from export.hashes import SUMS
from export.proof.statements import is_number, short
from export.settings import MOST_STEPS

STEP = "step.onnx"
FACTS, SAMPLES, DRAWS = "demo.json", "samples.bin", "draws.bin"
MOST = 10
"""Maximum number of samples on the page."""
SEED = (0, 4, 0)
"""Seed of the rate encoding's draws: the first golden image's, used for every drawing."""
KIND = Kind("demonstration", FACTS, "files")
RUNTIME = "ort"
"""Folder of ONNX Runtime Web."""


@dataclass(frozen=True)
class DemoInputs:
    """A bundle that a page can be made from; see `read`."""

    folder: Path
    manifest: Manifest
    config: ModelConfig
    samples: Split
    names: tuple[str, ...]
    dataset: str


def read(folder: Path, names: Sequence[str] | None) -> DemoInputs:
    """Reads what the page needs from a bundle.

    Args:
        folder: the bundle.
        names: the class names; None: the bundle's.

    Raises:
        UserError: it isn't a bundle, a file is missing or was changed, or there isn't one name for each class.
    """
    bundle.check_is(folder)
    recorded = manifest.read(folder)
    problems = manifest.file_problems(folder, recorded)
    for name in (SUMS, STEP, CONFIG, IMAGES):
        if name in problems:
            raise UserError(f"{folder / name}: {problems[name]}")
        if name != SUMS and name not in recorded["hashes"]:
            raise UserError(f"{folder}: has no {name}, expected a bundle from `python -m export`")
    job = RunDir(folder).config()
    made = DemoInputs(folder, recorded, job.model, golden_images(folder), job.class_names, job.data.dataset)
    for kind in made.config.kinds:
        if kind.threshold is not plain_threshold:  # the page compares membranes with a constant threshold
            raise UserError(f"{folder}: {kind} neurons have an adaptive threshold, which the page can't show")
    classes = _checked(made)
    if names is not None and len(names) != classes:
        raise UserError(f"--class-names: {len(names)} names, expected {classes}, one for each class")
    return replace(made, names=tuple(names or made.names))


def write(folder: Path, source: DemoInputs, runtime: Runtime) -> int:
    """Fills an empty folder; returns its size in bytes.

    Raises:
        UserError: a file can't be written.
    """
    contents = _page() | files(source, runtime.version)
    contents |= {f"{RUNTIME}/{name}": data for name, data in runtime.files.items()}
    (folder / RUNTIME).mkdir()
    for name, data in contents.items():
        write_atomic(folder / name, data)
    return sum(map(len, contents.values()))


def _page() -> dict[str, bytes]:
    """The page's files that are the same for every bundle."""
    shared = resources.files("csnn_jax.document") / "spikes.js"  # also in reports of runs
    paths = [*(resources.files("export.demo") / "static").iterdir(), shared]
    return {path.name: path.read_bytes() for path in paths}


def files(source: DemoInputs, runtime: str) -> dict[str, bytes]:
    """demo.json and the binary files; `runtime` is the version of ONNX Runtime Web."""
    samples = np.moveaxis(source.samples.images[:MOST], -1, -3)
    contents = {
        FACTS: json.dumps(_facts(source, runtime)).encode(),
        SAMPLES: samples.tobytes(),
        STEP: reading.read(source.folder / STEP, "an ONNX file", reading.PROTOBUF, source.folder),
    }
    if source.config.encoding == "rate":
        contents[DRAWS] = _draws(source).tobytes()
    return contents


def _facts(source: DemoInputs, runtime: str) -> dict[str, Any]:
    results, stated = source.manifest["results"], source.manifest["statements"]
    semantics, graph = results["semantics"], source.config.graph
    return {
        "data": _data_name(source.dataset),
        "classes": source.names,
        "steps": semantics["time_steps"],
        "shape": semantics["input"]["shape"],
        "frames": source.samples.images.ndim == 5,
        "encoding": source.config.encoding,
        "meaning": semantics["input"]["meaning"],
        "levels": table(source.config).tolist(),
        "scale": min(source.config.pixels.brightest, 255),
        "layers": [
            {name: layer[name] for name in ("layer", "shape", "threshold")} | {"states": node.operation.kind.states}
            for layer, node in zip(semantics["layers"], graph.neurons, strict=True)
        ],
        "past": [graph[name].channels_first for name, steps in graph.delays.items() for _ in range(steps)],
        "readout": source.config.readout,
        "margin": semantics["margin"],
        "labels": source.samples.labels[:MOST].tolist(),
        "accuracy": results["accuracy"],
        "split": stated["data"].get("split", "test"),
        "versions": {**machine.versions(["csnn-jax"]), "onnxruntime-web": runtime},
        "files": sorted({*_page(), STEP, SAMPLES, DRAWS, RUNTIME}),  # for --overwrite
    }


def table(config: ModelConfig) -> np.ndarray:
    """Maps each of a pixel's 256 values to the network's input, float32 (direct), or to a brightness, 0 to 255."""
    if config.encoding == "direct":
        return np.arange(256, dtype=np.float32) / np.float32(config.entering.scale)
    return levels(np.arange(256, dtype=np.uint8), config.pixels.brightest)


def _draws(source: DemoInputs) -> np.ndarray:
    """uint8 [T, C, H, W]: a pixel spikes if it's brighter than its draw."""
    channels, height, width = source.manifest["results"]["semantics"]["input"]["shape"]
    shape = source.manifest["results"]["semantics"]["time_steps"], height, width, channels
    return np.moveaxis(draws(SEED, int(np.prod(shape))).reshape(shape), -1, 1)


def _data_name(dataset: str) -> str:
    """A data set's name, without its folder."""
    kind, _, where = dataset.partition(":")
    return f"tfds:{where.partition('@')[0]}" if kind == "tfds" else kind


def _checked(source: DemoInputs) -> int:
    """Checks that the manifest's semantics match the configuration and images; returns the number of classes.

    Raises:
        UserError: they don't.
    """
    config, path = source.config, source.folder / MANIFEST
    try:
        stated = _shapes(source.manifest["results"]["semantics"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: isn't in the format of `python -m export`: {error!r}") from None
    layers = [list(node.channels_first) for node in config.graph.neurons]
    if stated[1:] != ([config.input_shape[2], *config.input_shape[:2]], layers, config.num_classes):
        raise UserError(f"{path}: its semantics don't match {CONFIG}")
    if not is_number(accuracy := source.manifest["results"].get("accuracy")):
        raise UserError(f"{path}: results.accuracy is {short(accuracy)}, expected a number")
    *steps, height, width, channels = source.samples.images.shape[1:]
    if (height, width, channels) != config.input_shape or steps not in ([], [stated[0]]):
        raise UserError(f"{source.folder / IMAGES}: the shape of the images doesn't match {CONFIG} and {MANIFEST}")
    return config.num_classes


def _shapes(semantics: Any) -> tuple[int, list[int], list[list[int]], int]:
    """(T, shape of the input, shape of every layer, classes); fails if anything the page needs is missing."""
    for layer in semantics["layers"]:
        layer["layer"], np.array(layer["threshold"], float)
    entering = semantics["input"]
    entering["meaning"]
    if type(semantics["time_steps"]) is not int or not 0 < semantics["time_steps"] <= MOST_STEPS:
        raise ValueError(f"time_steps {short(semantics['time_steps'])}")
    if not (semantics["margin"] is None or is_number(semantics["margin"])):
        raise ValueError(f"margin {short(semantics['margin'])}")
    layers = [layer["shape"] for layer in semantics["layers"]]
    return semantics["time_steps"], entering["shape"], layers, semantics["classes"]
