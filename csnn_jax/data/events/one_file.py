"""Reads a single recording for a trained network, as `predict` does."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from csnn_jax.config.job import Config
from csnn_jax.data.datasets import reader_of
from csnn_jax.data.events.folder import SUFFIXES, open_recording
from csnn_jax.data.events.frames import Window
from csnn_jax.errors import UserError


def is_recording(path: str) -> bool:
    """Whether a file is a recording, judged by its extension."""
    return Path(path).suffix.lower() in SUFFIXES


def window_of(config: Config) -> Window | None:
    """The window that makes the frames of a trained network; None unless its input has two channels.

    The sensor is the data set's, or has the size of the frames if the data set allows any sensor.
    """
    height, width, channels = config.model.input_shape
    if channels != 2:
        return None
    sensor = _known(config) or (height, width)
    return Window(config.model.time_steps, sensor, (height, width), config.data.frames)


def _known(config: Config) -> tuple[int, int] | None:
    reader = reader_of(config.data.dataset)
    return reader.sensor if reader else None


def frames_of(path: str, config: Config) -> np.ndarray:
    """The frames of `frames_and_notes`, without the notes."""
    return frames_and_notes(path, config)[0]


def frames_and_notes(path: str, config: Config) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads a recording and makes a trained network's frames, with the settings of its training.

    Args:
        path: in N-MNIST's format (.bin), a NumPy archive (.npz), or a format that faery reads.
        config: the network's training job.

    Returns:
        Frames, uint8 [T, H, W, 2], and notes for the user on how they were made.

    Raises:
        UserError: the recording can't be read or used, or comes from another sensor; the message names it.
    """
    events, told = open_recording(Path(path))
    window = window_of(config)
    if window is None:
        raise UserError(f"{path}: is a recording, but the network's input doesn't have 2 channels")
    sensor, (height, width) = told or window.sensor, window.shape
    known = sensor if _known(config) is None else window.sensor
    if sensor != known or sensor[0] % height or sensor[1] % width:
        expected = f"a multiple of the network's {height} by {width}"
        if sensor != known:
            expected = f"{known[0]} by {known[1]}, as in {config.data.dataset}"
        raise UserError(f"{path}: from a sensor of {sensor[0]} by {sensor[1]} pixels, expected {expected}")
    try:
        frames = replace(window, sensor=sensor).frames(events)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if sensor == (height, width):
        return frames, ()
    return frames, (f"events of {sensor[0]} by {sensor[1]} pixels were summed to {height} by {width}",)
