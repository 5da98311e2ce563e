"""How to make a bundle, and how thoroughly to check it."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from csnn_jax.config import Config
from csnn_jax.data.split import Split
from csnn_jax.errors import UserError
from export.c.text import PREFIX

Effort = Literal["quick", "usual", "thorough"]
OPSETS = range(18, 22)
"""The operator sets that ONNX files can be written for."""


class Extent(NamedTuple):
    """How much is checked.

    Attributes:
        images: number of test images for comparing spikes.
        accuracy_images: number of test images for measuring accuracy; None: all.
        evaluator: number of images and steps for onnx's reference evaluator, the slowest of all programs.
        seconds: how long to measure the latency of a file.
        each: whether to measure accuracy by running every file, even one with another file's graph and a fixed batch.
    """

    images: int
    accuracy_images: int | None
    evaluator: tuple[int, int]
    seconds: float
    each: bool = False


EXTENTS: dict[Effort, Extent] = {
    "quick": Extent(8, 100, (1, 3), 0.2),
    "usual": Extent(32, 1000, (1, 10), 1.0),
    "thorough": Extent(1000, None, (2, 10**6), 3.0, each=True),
}
"""A few images are enough to reveal an error in a weight, a layer, a border or a step."""
MOST_STEPS = 10_000
"""Maximum steps of a window; more would fill most machines' memory with the compared states."""


@dataclass(frozen=True)
class Settings:
    """The settings for making and checking a bundle.

    Attributes:
        opset: operator set of the ONNX files.
        images: number of test images for comparing spikes.
        effort: how much else is checked.
        time_steps: number of steps in the bundle's window; None: as in training, or the data's own.
        drop_silent: whether to drop channels that never fire on the training images.
        weight_bits: number of bits to round the weights to first; None: the weights are kept as trained.
        prefix: what the C program's external names, types and macros start with.
    """

    opset: int
    images: int
    effort: Effort = "usual"
    time_steps: int | None = None
    drop_silent: bool = False
    weight_bits: int | None = None
    prefix: str = PREFIX

    @property
    def extent(self) -> Extent:
        """How much is checked."""
        return EXTENTS[self.effort]

    @property
    def stated(self) -> dict[str, Any]:
        """The settings that verification needs, for the manifest; it passes them to this class."""
        return {name: getattr(self, name) for name in ("opset", "images", "effort", "time_steps", "prefix")}

    def fitted(self, config: Config, test: Split) -> Config:
        """The run's configuration with the bundle's window.

        Raises:
            UserError: `time_steps` is more than the images have frames, or the window is longer than `MOST_STEPS`.
        """
        config = for_data(config, test)
        if (steps := self.time_steps or config.model.time_steps) > MOST_STEPS:
            raise UserError(f"--time-steps {steps}: expected at most {MOST_STEPS:,} steps of a window")
        if self.time_steps is None:
            return config
        if test.images.ndim == 5 and self.time_steps > (there := config.model.time_steps):
            frames = f"{config.data.dataset} has {there} frames per example"
            raise UserError(f"--time-steps {self.time_steps}: {frames}, expected at most that many")
        return replace(config, model=replace(config.model, time_steps=self.time_steps))

    def split(self, test: Split) -> Split:
        """The images for measuring accuracy, which include those for comparing spikes, with the bundle's frames."""
        most = self.extent.accuracy_images
        count = len(test.labels) if most is None else max(most, self.images)
        images = test.images[:count]
        if images.ndim == 5 and self.time_steps is not None:
            images = np.asarray(images)[:, : self.time_steps]
        return Split(images, test.labels[:count])


def for_data(config: Config, test: Split) -> Config:
    """The run's configuration, with the data's own T if the images have a time axis."""
    if test.images.ndim == 4:
        return config
    return replace(config, model=replace(config.model, time_steps=test.images.shape[1]))
