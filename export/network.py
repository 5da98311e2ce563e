"""The trained network, and the bundle made from it."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx

from csnn_jax.config import Config, ModelConfig
from csnn_jax.data import Split
from csnn_jax.data.events.folder import window_of
from csnn_jax.runs.layouts import Tensors, digest
from export import reference, semantics
from export.c.program import Built, build, write_sources
from export.c.text import PREFIX
from export.channels import Able, able
from export.graphs import onnx_file

STEP = "step.onnx"


@dataclass(frozen=True, eq=False)
class Network:
    """The network in a bundle.

    Attributes:
        config: the run's configuration, with the window of the bundle, see `Settings.fitted`.
        tensors: the trained parameters.
        recorded: number of frames in a recording, which may be more than the window uses; None: the data is images.
    """

    config: Config
    tensors: Tensors
    recorded: int | None = None

    @property
    def model(self) -> ModelConfig:
        """The model's configuration."""
        return self.config.model

    @cached_property
    def step(self) -> reference.Step:
        """One time step in torch: the reference for all files."""
        return reference.Step(self.model, self.tensors)

    @property
    def semantics(self) -> dict[str, Any]:
        """What it computes, in words."""
        return semantics.of_bundle(self.step, self.sequence, self.config.class_names, self.margin)

    @cached_property
    def margin(self) -> float | None:
        """The smallest difference of the two highest scores for an answer; None: every answer is known."""
        return self.config.unknown.margin_for(digest(self.tensors), self.time_steps)

    @property
    def time_steps(self) -> int:
        """The number of time steps, T."""
        return self.model.time_steps

    @property
    def frames(self) -> bool:
        """Whether the data has a time axis."""
        return self.recorded is not None

    @property
    def sequence(self) -> bool:
        """Whether the network gets one frame per step instead of one image for all steps."""
        return self.frames or self.model.encoding != "direct"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that is being made, with cached intermediate results that several of its files share.

    Attributes:
        folder: the bundle's folder.
        scratch: a separate folder for intermediate files.
        network: the network in its files.
        job: the training job, for config.json; its window may be longer than the bundle's.
        opset: version of ONNX's operator set.
        test: test images and labels; the first ones go into golden/.
        prefix: what the C program's names start with.
    """

    folder: Path
    scratch: Path
    network: Network
    job: Config
    opset: int
    test: Split
    prefix: str = PREFIX

    @cached_property
    def step_graph(self) -> onnx.ModelProto:
        """The graph of step.onnx, from which other files are made."""
        return onnx_file.load(self.folder / STEP)

    @cached_property
    def in_c(self) -> Able:
        """The network in the C program, which leaves out the channels that can't fire."""
        return able(self.network.model, self.network.tensors)

    @cached_property
    def sources(self) -> Path:
        """The folder with the sources of the C program."""
        network, folder = self.network, self.scratch / "sources"
        window = window_of(network.config) if network.frames else None
        if window is not None:
            window = replace(window, steps=network.recorded or window.steps)
        frames = network.time_steps if network.frames else None
        names, made = network.config.class_names, self.in_c
        write_sources(folder, made.config, made.tensors, frames, window, names, self.prefix, network.margin)
        return folder

    @cached_property
    def program(self) -> Built:
        """The built C program; raises the errors of `c.program.build`."""
        return build(self.sources, self.scratch / "built")
