"""A bundle with all that its files are made from and checked against."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.data import Dataset, Split
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.metrics import BATCH
from csnn_jax.runs.rundir import RunDir
from export import reference

CALIBRATION_IMAGES = 64


@dataclass(frozen=True)
class Subject:
    """A bundle, and the network and images that its files are checked against.

    Attributes:
        folder: the bundle.
        config: the run's, see `for_data`.
        tensors: the trained parameters.
        split: test images and labels, for accuracy.
        images: how many of them, from the first on, spikes are compared on.
        calibration: training images [N, H, W, C] or [N, T, H, W, C] from which the ranges of quantised values are
            taken; None where the data set is not there.
    """

    folder: Path
    config: Config
    tensors: Tensors
    split: Split
    images: int
    calibration: np.ndarray | None = None

    @cached_property
    def step(self) -> reference.Step:
        """The reference."""
        return reference.Step(self.config.model, self.tensors)

    def batches(self, count: int | None = None) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """(what the network is fed, see `reference.inputs`; labels) of the first `count` images (None: all).

        In the batches in which csnn_jax evaluates, so that the rate encoding draws the same spikes.
        """
        total = len(self.split.labels)
        count = total if count is None else min(count, total)
        for number, rows in enumerate(data.eval_batches(total, min(BATCH, total))[0]):
            left = min(count - number * len(rows), len(rows))
            if left > 0:
                x = reference.inputs(self.config.model, self.split.images[rows], (self.config.train.seed, 1, number))
                yield x.narrow(x.ndim - 4, 0, left), self.split.labels[rows[:left]]

    @property
    def compared(self) -> Iterator[torch.Tensor]:
        """The inputs that spikes are compared on, in batches."""
        return (x for x, _ in self.batches(self.images))

    def few(self, count: int) -> torch.Tensor:
        """The inputs of the first `count` images."""
        return next(self.batches(count))[0]

    @property
    def frames(self) -> bool:
        """Whether the data have a time axis of their own."""
        return self.split.images.ndim == 5

    @property
    def sequence(self) -> bool:
        """Whether the network is fed one frame per step, not one image for all."""
        return self.frames or self.config.model.encoding != "direct"

    @property
    def time_steps(self) -> int:
        """T."""
        return self.config.model.time_steps

    def accuracy(self, count: reference.Counts) -> float:
        """Share of the test images that a program classifies right."""
        return accuracy(count, self.batches())


@dataclass(frozen=True)
class ExportInputs:
    """What the files of a new bundle are made from.

    Attributes:
        subject: the bundle; its folder is there.
        run: the trained run.
        dataset: its images, all of them.
        opset: version of ONNX's operator set.
    """

    subject: Subject
    run: RunDir
    dataset: Dataset
    opset: int


def for_data(config: Config, test: Split) -> Config:
    """The run's configuration, with the data's own T where the images have a time axis."""
    if test.images.ndim == 4:
        return config
    return replace(config, model=replace(config.model, time_steps=test.images.shape[1]))


def accuracy(count: reference.Counts, batches: Iterable[tuple[torch.Tensor, np.ndarray]]) -> float:
    """Share of images that a program classifies right: the most output spikes, the lowest class on ties.

    Args:
        count: runs the program.
        batches: (what the network is fed, see `reference.inputs`; true classes).
    """
    right = [count(x).argmax(1) == labels for x, labels in batches]
    return float(np.concatenate(right).mean())
