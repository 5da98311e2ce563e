"""The inputs that both sides get."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig
from csnn_jax.data.batches import as_input
from csnn_jax.data.images import as_floats
from csnn_jax.errors import UserError
from csnn_torch.first_difference.sides import Side

USUAL = 32
"""Number of images, unless the user chooses another."""
SEED = (0, 2, 0)
"""Seed of the rate encoding, the same as in comparisons of files with their run."""


class Inputs(NamedTuple):
    """The inputs of both sides.

    Attributes:
        what: the images, in words.
        each: each side's input [time, images, *input_shape], float32.
    """

    what: str
    each: Sequence[Tensor]


def inputs(
    sides: tuple[Side, Side], dataset: str | None, count: int | None, steps: int | None, scale: float | None
) -> Inputs:
    """Images for both sides: from a data set, or random ones if none is known.

    Args:
        sides: the sides. The first one with a job determines the data set, the steps, and how images enter a side
            without a job.
        dataset: another data set.
        count: number of test images, from the first one; None: `USUAL`, or all if there are fewer.
        steps: number of time steps; None: the job's, or the default.
        scale: divisor of the pixels for a side without a job; None: the job's.

    Raises:
        UserError: images don't fit a side, or the data set can't be loaded or has fewer images.
    """
    job = next((side.job for side in sides if side.job), None)
    images, what = _images(sides, job, dataset, count)
    length = steps or (job.model if job else ModelConfig()).time_steps
    if images.ndim == 5:
        if images.shape[1] < length:
            raise UserError(f"--time-steps {length}: expected at most {images.shape[1]}, the steps of the recordings")
        images = images[:, :length]
    return Inputs(what, [_enter(side, job, images, length, scale) for side in sides])


def _images(
    sides: Sequence[Side], job: Config | None, dataset: str | None, count: int | None
) -> tuple[np.ndarray, str]:
    """Images [N, H, W, C], or recordings [N, T, H, W, C], and their description."""
    name = dataset or (job.data.dataset if job else None)
    if name is None or (name == data.ARRAYS and dataset is None):
        shape = (count or USUAL, *(job.model.input_shape if job else _input_shape(sides)))
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8), f"{shape[0]} random images"
    loaded = data.load_for(job, name) if job else data.load(name, _input_shape(sides))
    if (count or 1) > (there := len(loaded.test.labels)):
        raise UserError(f"--images {count}: expected 1 to {there}, the test images of {loaded.name}")
    rows = np.arange(min(count or USUAL, there))
    return np.asarray(loaded.test.images[rows]), f"the first {len(rows)} test images of {loaded.name}"


def _input_shape(sides: Sequence[Side]) -> tuple[int, int, int]:
    """(H, W, C) of the images, from the first side that states it; a flat input is one row."""
    for side in sides:
        if side.input_shape:
            channels, height, width = (1, 1, *side.input_shape)[-3:]
            return height, width, channels
    raise UserError(f"{sides[0].name}: doesn't state the shape of its images, expected a run or a bundle on one side")


def _enter(side: Side, job: Config | None, images: np.ndarray, steps: int, scale: float | None) -> Tensor:
    """The images as a side's input [time, images, *input_shape]."""
    settings = side.job or job
    model = replace(settings.model if settings else ModelConfig(), time_steps=steps)
    try:
        learned = data.as_learned(images, model, f"{side.name}: images")
    except ValueError as error:
        raise UserError(str(error)) from None
    x = torch.from_numpy(as_floats(as_input(np.asarray(learned), model, SEED), model)).moveaxis(-1, -3).contiguous()
    if side.job is None and scale is not None:
        x = x * (model.entering.scale / scale)
    if x.ndim == 4:
        x = x.expand(steps, *x.shape)
    if side.input_shape is None:
        return x
    if side.input_shape[1:] == x.shape[2:] and side.input_shape[0] == 1:  # with a batch axis, as some programs write it
        return x
    if np.prod(side.input_shape) != np.prod(x.shape[2:]):
        shapes = ("x".join(map(str, shape)) for shape in (side.input_shape, x.shape[2:]))
        raise UserError("{}: takes {}, but the images are {} (channels, height, width)".format(side.name, *shapes))
    return x.reshape(*x.shape[:2], *side.input_shape)
