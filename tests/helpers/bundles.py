"""Makes small runs and their bundles for tests."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from commands import call

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.config.nodes import NodeConfig
from csnn_jax.runs import checkpoints, layouts, weights
from csnn_jax.runs.rundir import RunDir, write_config
from export import manifest
from export.settings import EXTENTS

SMALL = ModelConfig(conv_channels=(4,), hidden=(16,), time_steps=6, pool="avg", reset="zero")
"""A stack that supports every file of a bundle."""
SPIKES = ModelConfig(
    input_shape=(20, 20, 1),
    conv_channels=(),
    hidden=(12,),
    time_steps=7,
    encoding="rate",
    reset="none",
    learn_beta=True,
    weight_bits=3,
)
"""As different from the default as possible: no convolution, no reset, spike trains as input, weights of few bits."""

INTEGRATOR = replace(
    SMALL,
    neuron="synaptic",
    alpha=(0.9, 0.6, 0.5),
    learn_alpha=True,
    per_channel=("threshold",),
    reset=("subtract", "zero", "zero"),
    output="integrator",
)
"""Neurons with two states, a mix of resets, and an output that never spikes and is read from its membranes."""

GRAPH = ModelConfig(
    network=[
        NodeConfig("image1", "convolution", "image", channels=3, kernel=4, stride=3),
        NodeConfig("feedback", "convolution", "mem@1", channels=3, kernel=1, bias=False),
        NodeConfig("first", "leaky", ["image1", "feedback"], reset="mute", separate=True, learn=["beta"]),
        NodeConfig("long", "convolution", "first", channels=4, kernel=3, padding=1),
        NodeConfig("short", "convolution", ["first", "first@2"], channels=4, kernel=1),
        NodeConfig("mem", "synaptic", ["long", "short"], per_channel=["threshold"]),
        NodeConfig("flat", "flatten", "mem"),
        NodeConfig("counts", "linear", ["flat", "flat@1"], channels=10),
        NodeConfig("lateral", "one_to_one", "last@1", channels=10),
        NodeConfig("last", "leaky", ["counts", "lateral"], beta=0.9),
    ],
    time_steps=5,
)
"""Branches, feedback from a later layer, sums with delays, and both kinds of neurons and of sums of currents."""

BRIEF = EXTENTS["quick"]._replace(seconds=0.02)
"""`--quick`, measuring latencies for a tenth of its time."""


TRAIN = {"loss": 1.0, "images_per_s": 9.0, "density": {}, "gradient": {}}
"""The fields of a record of an iteration, without layers."""


def make_run(path: Path, model: ModelConfig, dataset: str = "mnist", **data: Any) -> Path:
    """A finished run with random weights, large enough for every layer to fire."""
    path.mkdir(parents=True)
    run = RunDir(path)
    write_config(run, Config(model, DataConfig(dataset, **data), TrainConfig(seed=3)))
    weights.save(run.weights, drawn(model, 0), model)
    run.record("end", iter=60, interrupted=False, accuracy=None, seconds=1.0)
    return path


def drawn(model: ModelConfig, seed: int = 0) -> layouts.Tensors:
    """Random weights on their grids, large enough for every layer to fire."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in layouts.expected_shapes(model).items():
        if name in model.graph.initial:
            tensors[name] = np.asarray(rng.uniform(0.3, 0.9, shape), np.float32)
        elif not name.endswith(".exponents"):  # on_grid chooses those
            bound = 6 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1
            tensors[name] = rng.uniform(-bound, bound, shape).astype(np.float32)
    return layouts.on_grid(model, tensors)


def make_checkpoint(path: Path, number: int) -> Path:
    """Writes a checkpoint of a run, with different weights; returns its folder."""
    run = RunDir(path)
    model = run.config().model
    checkpoints.write(run.checkpoints, number, {}, weights.to_bytes(drawn(model, number), model))
    return run.checkpoints / str(number)


def make_bundle(folder: Path, model: ModelConfig, dataset: str = "mnist") -> Path:
    """Makes such a run and its bundle in `folder`; returns the bundle."""
    return export(make_run(folder / "run", model, dataset), folder, "--opset", 19)


def export(run: Path, folder: Path, *flags: object) -> Path:
    """Exports a run to `folder`; returns the bundle. The file `printed` next to it has the output."""
    with patch.dict(EXTENTS, quick=BRIEF):
        done = call("export", run, "--out", folder / "bundle", "--quick", *flags)
    assert (done.returncode, done.stderr) == (0, ""), done
    (folder / "printed").write_text(done.stdout)
    return folder / "bundle"


def rehash(folder: Path, recorded: dict[str, Any] | None = None) -> None:
    """Writes a manifest, by default the same one, with matching hashes, as someone hiding a change would."""
    recorded = recorded or json.loads((folder / "manifest.json").read_text())
    manifest.write(folder, recorded | {"hashes": manifest.hash_files(folder)})
