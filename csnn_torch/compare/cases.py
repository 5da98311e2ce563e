"""The networks that are compared: the run's, and variants of it, briefly trained so that they fire."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import torch

from csnn_jax import data
from csnn_jax import engine as engines
from csnn_jax.config import Config, ModelConfig, TrainConfig
from csnn_jax.errors import UserError
from csnn_jax.learning.learner import Learner
from csnn_jax.network.model import CSNN, from_tensors
from csnn_jax.runs.weights import Tensors, expected_shapes
from csnn_torch import model as companion
from csnn_torch.compare import bounds

PATIENCE = 4  # times the iterations asked for may pass until every layer fires
ALL = slice(None)


@dataclass(frozen=True)
class Case:
    """A network and the images that it is compared on.

    Attributes:
        name: of the variant, for the tables.
        config: its configuration.
        tensors: its weights, in torch's layout.
        images: uint8 [N, H, W, C] or [N, T, H, W, C],
        labels: their classes [N].
    """

    name: str
    config: ModelConfig
    tensors: Tensors
    images: np.ndarray
    labels: np.ndarray

    def pixels(self, dtype: str, rows: slice = ALL) -> np.ndarray:
        """What both sides get for some rows: [batch, H, W, C]. A sequence is [time, batch, H, W, C]."""
        images = self.images[rows]
        if self.config.encoding != "direct":
            seed = (0, rows.start or 0)
            settings = self.config
            spikes = data.encode(images, settings.time_steps, settings.encoding, seed, settings.pixel_scale)
            return spikes.astype(dtype)
        return ((images.swapaxes(0, 1) if self.frames else images) / self.config.input_scale).astype(dtype)

    def first(self, count: int) -> "Case":
        """The same on its first `count` images."""
        return self.on(slice(count))

    def on(self, rows: slice | list[int]) -> "Case":
        """The same on some of its images."""
        return replace(self, images=self.images[rows], labels=self.labels[rows])

    @property
    def frames(self) -> bool:
        """Whether the images have a time axis of their own."""
        return self.images.ndim == 5

    def in_jax(self, engine: str, dtype: str) -> tuple[ModuleType, CSNN] | str:
        """An engine of csnn_jax and the network for it, or why the engine can't run it."""
        model = from_tensors(self.config, self.tensors, jnp.dtype(dtype))
        try:
            return engines.choose(engine, model, self.frames)[0], model
        except UserError as error:
            return str(error).removeprefix(f"--engine {engine}: ")

    def in_snntorch(self, dtype: str) -> torch.nn.Sequential:
        """The network in snnTorch."""
        network = companion.sequential(self.config, getattr(torch, dtype))
        companion.load_tensors(network, self.tensors)
        return network


@dataclass(frozen=True)
class Variant:
    """What is changed of the run's model, and how the variant is trained until its layers fire."""

    name: str
    model: ModelConfig
    lr: float = 1e-2


def of_run(config: Config, tensors: Tensors) -> Case:
    """The run's own network on all test images."""
    test = data.load(config.data.dataset, config.model.input_shape).test
    return Case("run", config.model, tensors, test.images, test.labels)


def of_variants(config: Config, tensors: Tensors, iterations: int) -> Iterator[Case]:
    """Every variant of the run's network, trained from its weights, on all test images."""
    for variant in variants(config.model):
        dataset = data.load(config.data.dataset, variant.model.input_shape)
        print(f"Training the variant {variant.name}", flush=True)
        trained = briefly_trained(variant.model, dataset, iterations, variant.lr, tensors)
        yield Case(variant.name, variant.model, trained, dataset.test.images, dataset.test.labels)


def variants(model: ModelConfig) -> Iterator[Variant]:
    """Every reset with every pool, another beta, learnt betas, and three blocks on colour images."""
    for reset in ("subtract", "zero", "none"):
        for pool in ("max", "avg"):
            yield Variant(f"reset {reset}, pool {pool}", replace(model, reset=reset, pool=pool))
    yield Variant("beta 0.9", replace(model, beta=0.9), lr=3e-3)
    # At this rate no beta leaves (0, 1), beyond which its gradient is 0 and shows nothing.
    yield Variant("learnt beta", replace(model, beta=0.6, learn_beta=True), lr=2e-3)
    channels = (*model.conv_channels[:1], *model.conv_channels)[-3:]
    # At a threshold of 1 it is silent for long.
    colour = replace(model, input_shape=(32, 32, 3), conv_channels=channels, threshold=0.3)
    yield Variant("three blocks, colour", colour, lr=3e-3)


def briefly_trained(
    model: ModelConfig, dataset: data.Dataset, iterations: int, lr: float = 1e-2, start: Tensors | None = None
) -> Tensors:
    """Trains a network for a few iterations at a quarter of its time steps. That is enough to make it fire.

    Where a layer is silent all the same, or fires nearly always, it is trained for as many iterations again.

    Args:
        model: the network.
        dataset: images that fit it.
        iterations: batches of 128 images.
        lr: Adam's learning rate.
        start: trained weights of another network, taken to start from where they have this one's shapes (a network
            that fires already learns at once; from the seed's weights, one with average pooling is silent for long).
    """
    settings = TrainConfig(lr=lr, init="torch")
    short = replace(model, time_steps=max(1, model.time_steps // 4))
    learner = Learner(Config(short, train=settings), dataset.train, _fitting(model, start or {}))
    batches = data.epoch_batches(settings.seed, 0, len(dataset.train.labels), settings.batch_size)
    some = data.Split(dataset.test.images[:128], dataset.test.labels[:128])
    for iteration in range(PATIENCE * iterations):
        learner.step(iteration, batches[iteration % len(batches)], lr)
        if (iteration + 1) % iterations == 0 and (found := learner.evaluate(some)) and bounds.fires(found.densities):
            break
    return learner.tensors()


def _fitting(model: ModelConfig, tensors: Tensors) -> Tensors | None:
    """The weights for a model of the same shapes, with its own betas and thresholds. None for other shapes."""
    found = {}
    for name, shape in expected_shapes(model).items():
        layer, _, part = name.partition(".")
        if layer.startswith("lif"):
            values = model.betas if part == "beta" else model.thresholds
            found[name] = np.asarray(values[int(layer.removeprefix("lif")) - 1], np.float32)
        elif name in tensors and tensors[name].shape == shape:
            found[name] = tensors[name]
        else:
            return None
    return found
