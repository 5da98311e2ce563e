"""How a bundle is made, and how much its proof looks at."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from csnn_jax.config import Config
from csnn_jax.data.images import Images
from csnn_jax.data.split import Split
from csnn_jax.errors import UserError

Effort = Literal["quick", "usual", "thorough"]


class Extent(NamedTuple):
    """What an effort means.

    Attributes:
        images: test images on which spikes are compared.
        accuracy_images: test images on which accuracy is measured; None: all.
        evaluator: images and steps of onnx's reference evaluator, the slowest of all programs.
        seconds: how long the latency of a file is measured.
        each: accuracy is measured by running every file, also one that is another's graph with a fixed batch.
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
"""A fault in a weight, a layer, a border or a step shows on few images."""


@dataclass(frozen=True)
class Settings:
    """The settings by which a bundle is made and proven.

    Attributes:
        opset: of the ONNX files.
        images: test images that spikes are compared on.
        effort: how much else the proof looks at.
        time_steps: steps of the window that the bundle runs; None: those of the training, or the data's own.
        drop_silent: channels that no training image made fire are left out.
        weight_bits: what weights are rounded to before all else; None: they stay as they were trained.
    """

    opset: int
    images: int
    effort: Effort = "usual"
    time_steps: int | None = None
    drop_silent: bool = False
    weight_bits: int | None = None

    @property
    def extent(self) -> Extent:
        """What the effort means."""
        return EXTENTS[self.effort]

    @classmethod
    def read(cls, values: dict[str, Any]) -> "Settings":
        """From a manifest whose `statements` are in order."""
        names = ("opset", "images", "effort", "time_steps", "drop_silent", "weight_bits")
        return cls(*(values[name] for name in names))

    def fitted(self, config: Config, test: Split) -> Config:
        """The run's configuration with the window that the bundle runs.

        Raises:
            UserError: more steps than the images' own were asked for.
        """
        config = for_data(config, test)
        if self.time_steps is None:
            return config
        if test.images.ndim == 5 and self.time_steps > (there := config.model.time_steps):
            frames = f"{config.data.dataset} has {there} frames per example"
            raise UserError(f"--time-steps {self.time_steps}: {frames}, expected at most that many")
        return replace(config, model=replace(config.model, time_steps=self.time_steps))

    def split(self, test: Split) -> Split:
        """The images that accuracy is measured on, among them those that spikes are compared on."""
        most = self.extent.accuracy_images
        count = len(test.labels) if most is None else max(most, self.images)
        return Split(self.window(test.images[:count]), test.labels[:count])

    def window(self, images: Images) -> Images:
        """Of images with a time axis the frames that the bundle runs."""
        if images.ndim == 4 or self.time_steps is None:
            return images
        return np.asarray(images)[:, : self.time_steps]


def for_data(config: Config, test: Split) -> Config:
    """The run's configuration, with the data's own T where the images have a time axis."""
    if test.images.ndim == 4:
        return config
    return replace(config, model=replace(config.model, time_steps=test.images.shape[1]))
