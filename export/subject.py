"""A bundle with all that its files are made from and checked against."""

import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.data import Dataset, Images, Split
from csnn_jax.runs import weights
from csnn_jax.runs.config_json import job_to_json
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.metrics import BATCH
from export import reference
from export.proof.equality import PIECE, Window, pieces, windows
from export.settings import EXTENTS, Extent
from export.work import Work

T = TypeVar("T")

CALIBRATION_IMAGES = 64
KEPT = 2**30
"""Bytes of torch's windows that are kept in memory, so that they are run once for all files."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A bundle, and the network and images that its files are checked against.

    Attributes:
        folder: the bundle.
        config: the run's, see `settings.for_data`.
        tensors: the trained parameters.
        split: test images and labels, for accuracy.
        images: how many of them, from the first on, spikes are compared on.
        calibration: training images [N, H, W, C] or [N, T, H, W, C] from which the ranges of quantized values are
            taken.
        calibrated: they are those that the bundle was made with; else the data set isn't there, and others are used.
        extent: how much is looked at.
        window_frames: frames that a recording has, of which the images may be the first few; None: they have no frames.
        work: is told of every image that was looked at.
    """

    folder: Path
    config: Config
    tensors: Tensors
    split: Split
    images: int
    calibration: Images
    calibrated: bool = True
    extent: Extent = EXTENTS["usual"]
    window_frames: int | None = None
    work: Work = field(default_factory=lambda: Work("Checking"), repr=False)
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives when it is first asked for by that name; several files are made or checked by it."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @cached_property
    def workshop(self) -> Path:
        """An empty folder for what is built on the way, gone with the subject."""
        folder = Path(tempfile.mkdtemp(prefix="csnn"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

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
    def compared(self) -> Iterator[Window]:
        """The images that spikes are compared on, a few at a time, with what torch makes of them."""
        neurons = sum(math.prod(shape) for shape in reference.membrane_shapes(self.config.model))
        if 4 * neurons * self.time_steps * self.images <= KEPT:
            found: Iterable[Window] = self.once("compared", lambda: [*self._windows()])
        else:
            found = self._windows()
        for one in found:
            yield one
            self.work.saw(one.torch.spikes.shape[1])

    def _windows(self) -> Iterator[Window]:
        return windows(self.step, (x for x, _ in self.batches(self.images)))

    def few(self, count: int) -> torch.Tensor:
        """The inputs of the first `count` images."""
        return next(self.batches(count))[0]

    @property
    def looked_at(self) -> int:
        """About how many images the check of a file looks at, for `work`."""
        return self.images + len(self.split.labels)

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
        return accuracy(count, self._labelled())

    def _labelled(self) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """`batches`, a few images at a time, so that no call keeps the program from being interrupted for long."""
        for x, labels in self.batches():
            for first, piece in pieces([x], PIECE):
                here = labels[first : first + PIECE]
                yield piece, here
                self.work.saw(len(here))


@dataclass(frozen=True)
class ExportInputs:
    """What the files of a bundle are made from.

    Attributes:
        subject: the bundle; its folder is there.
        job: the training, for config.json; its window may be longer than the one that the bundle runs.
        opset: version of ONNX's operator set.
        dropped: what the manifest says of channels that were left out; empty: none were.
    """

    subject: Subject
    job: Config
    opset: int
    dropped: dict[str, Any] = field(default_factory=dict)

    @property
    def config_file(self) -> bytes:
        """What config.json holds."""
        return job_to_json(self.job).encode()

    @property
    def weights_file(self) -> bytes:
        """What weights.safetensors holds."""
        return weights.to_bytes(self.subject.tensors, self.job.model)


def calibration(dataset: Dataset) -> Images:
    """The images that ranges of quantized values are taken from: training images, where there are any."""
    split = dataset.train if len(dataset.train.labels) else dataset.test
    return split.images[:CALIBRATION_IMAGES]


def accuracy(count: reference.Counts, batches: Iterable[tuple[torch.Tensor, np.ndarray]]) -> float:
    """Share of images that a program classifies right: the most output spikes, the lowest class on ties.

    Args:
        count: runs the program.
        batches: (what the network is fed, see `reference.inputs`; true classes).
    """
    right = [count(x).argmax(1) == labels for x, labels in batches]
    return float(np.concatenate(right).mean())
