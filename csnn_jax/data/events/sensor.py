"""What of a sensor's pixels become one pixel of a frame."""

from csnn_jax.data.events.recording import Size
from csnn_jax.data.source import Wanted
from csnn_jax.errors import UserError

MOST_CELLS = 2**28
"""Of the frames of one recording, which take 2 GB while they are counted: 100 frames of 1280 by 960 pixels."""


def fitted(wanted: Wanted, sensor: Size) -> Size:
    """Height and width of the frames for a network: those of its input, or the sensor's where nobody asked for any.

    Raises:
        UserError: a shape with other channels than the two polarities, that is no whole fraction of the sensor's, or
            whose frames are too large.
    """
    height, width = sensor if wanted.own else _asked(wanted, sensor)
    if wanted.time_steps * height * width * 2 > MOST_CELLS:
        size = f"{wanted.time_steps} frames of {height} by {width} pixels"
        raise UserError(f"--input-shape: {size} are too large, expected a smaller fraction of the sensor")
    return height, width


def _asked(wanted: Wanted, sensor: Size) -> Size:
    height, width, channels = wanted.shape
    flag = f"--input-shape {height} {width} {channels}"
    if channels != 2:
        raise UserError(f"{flag}: expected 2 channels, darker and brighter, for recordings of events")
    if height > sensor[0] or width > sensor[1] or sensor[0] % height or sensor[1] % width:
        raise UserError(f"{flag}: expected a whole fraction of the sensor's {sensor[0]} by {sensor[1]} pixels")
    return height, width
