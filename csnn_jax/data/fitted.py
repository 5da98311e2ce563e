"""Fits jobs to data sets, and data sets to trained networks."""

import math
from collections.abc import Container
from dataclasses import replace

import numpy as np

from csnn_jax.config.grid import FEW
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.pixels import Pixels
from csnn_jax.data.caller import as_learned
from csnn_jax.data.images import FLOAT_BITS
from csnn_jax.data.split import Dataset, Split
from csnn_jax.errors import UserError
from csnn_jax.options import show


def named(dataset: Dataset) -> tuple[str, ...] | None:
    """The names of a data set's classes; None if they're just numbers."""
    return None if dataset.names == tuple(map(str, range(len(dataset.names)))) else dataset.names


def check_names(dataset: str, names: tuple[str, ...] | None, learned: tuple[str, ...] | None) -> None:
    """Raises UserError unless a data set's classes are those that a network learned, in the same order.

    Args:
        dataset: name of the data set, for errors.
        names: names of its classes; None: they're numbers, or the data hasn't been read yet.
        learned: names of the network's classes; None: they're numbers, or unknown.
    """
    for number, (found, expected) in enumerate(zip(names or (), learned or (), strict=False)):
        if found != expected:
            raise UserError(
                f"--dataset {dataset}: its class {number} is {show(found)}, expected {show(expected)}, as in the "
                "network's training"
            )


def fit_model(model: ModelConfig, dataset: Dataset, given: Container[str] = ()) -> ModelConfig:
    """Fills in what the data set determines: shape, classes, how pixels enter, and the steps of its time axis.

    Flags that gave more classes, or a scale, take precedence.

    Args:
        model: the network.
        dataset: the data set.
        given: names of options that are set even if they have their default value.

    Raises:
        UserError: the flags gave fewer classes, an encoding for floats or images with a time axis, or a number of steps
            that differs from that axis.
    """
    if dataset.frames not in (None, model.time_steps) and is_set(model, "time_steps", given):
        steps = f"{dataset.name} has {dataset.frames} frames per example"
        raise UserError(f"--time-steps {model.time_steps}: {steps}, expected the same number, or no --time-steps")
    if dataset.frames and model.encoding != "direct":
        raise UserError(f"--encoding {model.encoding}: {dataset.name} already has a time axis, expected direct")
    if model.encoding != "direct" and dataset.train.images.dtype != np.uint8:
        raise UserError(f"--encoding {model.encoding}: {dataset.name} contains floats, expected direct, or bytes")
    model = _fit_classes(model, dataset, given)
    height, width, channels = dataset.train.images.shape[-3:]
    model = replace(model, input_shape=(height, width, channels), time_steps=dataset.frames or model.time_steps)
    scale, bits = _pixels(model, dataset)
    return replace(model, scale=scale, input_bits=bits)


def _pixels(model: ModelConfig, dataset: Dataset) -> Pixels:
    """How a data set's images enter a model, with the flag's scale or else their own.

    Floats get fewer bits if the first layer's weights would otherwise have fewer than 8.
    """
    scale, bits = dataset.pixels
    if dataset.train.images.dtype == np.uint8:
        return Pixels(model.scale or scale, bits)
    if model.scale is None:
        if bits == FLOAT_BITS:
            spare = replace(model.graph.weighted[0].grid, input_bits=0).room - FEW
            bits = min(bits, max(8, spare))
        return Pixels(scale * 2.0 ** (bits - dataset.pixels.bits), bits)
    needed = max(0, bits + math.frexp(model.scale / scale)[1] - 1)
    if needed > FLOAT_BITS:
        most = scale * 2.0 ** (FLOAT_BITS - bits)
        raise UserError(f"--scale {model.scale:g}: expected at most {most:g} for the floats of {dataset.name}")
    return Pixels(model.scale, needed)


def learned(dataset: Dataset, model: ModelConfig) -> Dataset:
    """Converts a data set's images to the form that the network takes, see `as_learned`.

    Raises:
        UserError: values larger than the network's training data allows.
    """

    def part(split: Split, name: str) -> Split:
        try:
            images = as_learned(split.images, model, f"{name} images") if len(split.labels) else split.images
        except ValueError as error:
            raise UserError(f"--dataset {dataset.name}: {error}") from None
        return replace(split, images=images)

    held_out = None if dataset.validation is None else part(dataset.validation, "held-out")
    return replace(dataset, train=part(dataset.train, "train"), validation=held_out, test=part(dataset.test, "test"))


def is_set(model: ModelConfig, name: str, given: Container[str]) -> bool:
    """Whether an option of a network was given, or isn't the default."""
    return name in given or getattr(model, name) != getattr(ModelConfig, name)


def _fit_classes(model: ModelConfig, dataset: Dataset, given: Container[str]) -> ModelConfig:
    if not is_set(model, "num_classes", given):
        return replace(model, num_classes=max(2, dataset.num_classes))
    if model.num_classes < dataset.num_classes:
        raise UserError(
            f"--num-classes {model.num_classes}: {dataset.name} has labels up to {dataset.num_classes - 1}, "
            f"expected at least {dataset.num_classes}"
        )
    return model
