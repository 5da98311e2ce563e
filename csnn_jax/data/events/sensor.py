"""What of a sensor's pixels become one pixel of a frame."""

from csnn_jax.data.source import Wanted
from csnn_jax.errors import UserError


def fitted(wanted: Wanted, sensor: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the frames for a network: those of its input, or the sensor's where nobody asked for any.

    Raises:
        UserError: a shape with other channels than the two polarities, or that is no whole fraction of the sensor's.
    """
    if wanted.own:
        return sensor
    height, width, channels = wanted.shape
    flag = f"--input-shape {height} {width} {channels}"
    if channels != 2:
        raise UserError(f"{flag}: expected 2 channels, darker and brighter, for recordings of events")
    if height > sensor[0] or width > sensor[1] or sensor[0] % height or sensor[1] % width:
        raise UserError(f"{flag}: expected a whole fraction of the sensor's {sensor[0]} by {sensor[1]} pixels")
    return height, width
