"""The trained network, and the bundle that is made of it."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import onnx

from csnn_jax.config import Config, ModelConfig
from csnn_jax.data import Split
from csnn_jax.data.events.one_file import window_of
from csnn_jax.runs import weights
from csnn_jax.runs.config_json import job_to_json
from csnn_jax.runs.layouts import Tensors
from export import reference
from export.c.program import Built, build, write_sources
from export.graphs import onnx_file

STEP = "step.onnx"


@dataclass(frozen=True, eq=False)
class Network:
    """The network that a bundle holds.

    Attributes:
        config: the run's, with the window that the bundle runs, see `Settings.fitted`.
        tensors: the trained parameters.
        recorded: frames that a recording has, of which the window may take the first few; None: the data are images.
    """

    config: Config
    tensors: Tensors
    recorded: int | None = None

    @property
    def model(self) -> ModelConfig:
        """The stack."""
        return self.config.model

    @cached_property
    def step(self) -> reference.Step:
        """One time step in torch: the reference for all files."""
        return reference.Step(self.model, self.tensors)

    @property
    def time_steps(self) -> int:
        """T."""
        return self.model.time_steps

    @property
    def frames(self) -> bool:
        """Whether the data have a time axis of their own."""
        return self.recorded is not None

    @property
    def sequence(self) -> bool:
        """Whether the network is fed one frame per step, not one image for all."""
        return self.frames or self.model.encoding != "direct"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that is made here, with what more than one of its files is made or checked with; each is made once.

    Attributes:
        folder: its files.
        network: the network that they hold.
        scratch: a folder outside it, for what is built on the way.
    """

    folder: Path
    network: Network
    scratch: Path

    @cached_property
    def step_graph(self) -> onnx.ModelProto:
        """step.onnx, from which other files are made."""
        return onnx_file.load(self.folder / STEP)

    @cached_property
    def sources(self) -> Path:
        """The folder with the sources of the C program, with weights in float and in 8 bits."""
        network, folder = self.network, self.scratch / "sources"
        window = window_of(network.config) if network.frames else None
        if window is not None:
            window = replace(window, steps=network.recorded or window.steps)
        frames = network.time_steps if network.frames else None
        write_sources(folder, network.model, network.tensors, frames, window, network.config.class_names)
        return folder

    @cached_property
    def program(self) -> Built:
        """The C program, built; raises UserError as `c.program.build` does."""
        return build(self.sources, self.scratch / "built")


@dataclass(frozen=True)
class Inputs:
    """What the files of a bundle are made from, apart from its network.

    Attributes:
        job: the training, for config.json; its window may be longer than the one that the bundle runs.
        opset: version of ONNX's operator set.
        test: test images and labels, of which the first go into golden/.
    """

    job: Config
    opset: int
    test: Split

    @property
    def config_file(self) -> bytes:
        """What config.json holds."""
        return job_to_json(self.job).encode()

    def weights_file(self, tensors: Tensors) -> bytes:
        """What weights.safetensors holds."""
        return weights.to_bytes(tensors, self.job.model)
