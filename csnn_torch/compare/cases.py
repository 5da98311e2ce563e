"""A network to compare, and the images to compare it on."""

from dataclasses import dataclass, replace
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import torch

from csnn_jax import data
from csnn_jax import engine as engines
from csnn_jax.config import Config, ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.network.model import CSNN, from_tensors
from csnn_jax.runs.layouts import Tensors
from csnn_torch import model as companion
from csnn_torch.network import Network

ALL = slice(None)


@dataclass(frozen=True)
class Case:
    """A network to compare, and the images to compare it on.

    Attributes:
        name: name of the variant, for the tables.
        config: its configuration.
        tensors: its weights, in torch's layout.
        images: uint8 or float32, [N, H, W, C] or [N, T, H, W, C].
        labels: their classes [N].
    """

    name: str
    config: ModelConfig
    tensors: Tensors
    images: data.Images
    labels: np.ndarray

    def pixels(self, dtype: str, rows: slice = ALL) -> np.ndarray:
        """The input of both sides for some rows: [batch, H, W, C]. A sequence is [time, batch, H, W, C]."""
        x = data.as_input(np.asarray(self.images[rows]), self.config, (0, rows.start or 0))
        return data.as_floats(x, self.config, dtype)

    def first(self, count: int) -> "Case":
        """This case on its first `count` images."""
        return self.on(slice(count))

    def on(self, rows: slice | list[int]) -> "Case":
        """This case on some of its images."""
        return replace(self, images=self.images[rows], labels=self.labels[rows])

    @property
    def frames(self) -> bool:
        """Whether the images have a time axis."""
        return self.images.ndim == 5

    def in_jax(self, engine: str, dtype: str) -> tuple[ModuleType, CSNN] | str:
        """An engine of csnn_jax and the network for it, or why the engine can't run it."""
        model = from_tensors(self.config, self.tensors, jnp.dtype(dtype))
        try:
            return engines.choose(engine, model, self.images)[0], model
        except UserError as error:
            return error.args[0].removeprefix(f"--engine {engine}: ")

    def in_snntorch(self, dtype: str) -> Network:
        """The network in snnTorch."""
        network = companion.sequential(self.config, getattr(torch, dtype))
        companion.load_tensors(network, self.tensors)
        return network


def of_run(config: Config, tensors: Tensors) -> Case:
    """The run's own network on all test images."""
    test = data.load_for(config).test
    return Case("run", config.model, tensors, test.images, test.labels)
