"""Networks to compare and their images: the run's, and variants of it, trained briefly."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import torch

from csnn_jax import data
from csnn_jax import engine as engines
from csnn_jax.config import GEOMETRY, Config, ModelConfig, Pool, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.network.model import CSNN, from_tensors
from csnn_jax.runs.layouts import Tensors, expected_shapes
from csnn_jax.training.feed import Feed
from csnn_jax.update.trainer import Trainer
from csnn_torch import model as companion
from csnn_torch.compare.results import fires, of_spiking
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


PATIENCE = 4  # trains up to this many times the requested iterations until every layer fires


@dataclass(frozen=True)
class Variant:
    """A changed model, and how it's trained until its layers fire."""

    name: str
    model: ModelConfig
    lr: float = 1e-2


def of_variants(config: Config, tensors: Tensors, iterations: int) -> Iterator[Case]:
    """Every variant of the run's network, trained from its weights, on all test images; none of a network of nodes."""
    if config.model.network is not None:
        print("Skipping the variants: they have other flags, which a network from --network doesn't have", flush=True)
        return
    for variant in variants(config.model):
        if variant.model.input_shape != config.model.input_shape and data.takes_as_is(config.data.dataset):
            print(f"Skipping the variant {variant.name}: arrays aren't resized", flush=True)
            continue
        dataset = data.load_for(replace(config, model=variant.model))
        print(f"Training the variant {variant.name}", flush=True)
        trained = briefly_trained(variant.model, dataset, iterations, variant.lr, tensors)
        yield Case(variant.name, variant.model, trained, dataset.test.images, dataset.test.labels)


def variants(model: ModelConfig) -> Iterator[Variant]:
    """Every reset with every pool, other neurons and another output, and three blocks on color images."""
    pooled = bool(model.graph.pools)
    kinds: tuple[Pool, ...] = ("max", "avg") if pooled else ("none",)
    for reset in ("subtract", "zero", "none"):
        for pool in kinds:
            yield Variant(f"reset {reset}, pool {pool}", replace(model, reset=reset, pool=_pools(model, pool)))
    if pooled:
        place, other = ("before", False) if model.pool_after else ("after", True)
        yield Variant(f"sum pools {place} the neurons", replace(model, pool=_pools(model, "sum"), pool_after=other))
    yield Variant("beta 0.9", replace(model, beta=0.9), lr=3e-3)
    # At this rate, every beta stays in (0, 1); outside, its gradient is 0 and shows nothing.
    yield Variant("learned beta", replace(model, beta=0.6, learn_beta=True), lr=2e-3)
    synaptic = replace(model, neuron="synaptic", alpha=0.5, beta=0.5, learn_alpha=True, learn_beta=True)
    yield Variant("synaptic, learned alpha and beta", synaptic, lr=2e-3)
    if model.output == "spiking":
        yield Variant("integrator output", replace(model, output="integrator"))
    else:
        yield Variant("spiking output", replace(model, output="spiking", readout="spikes"))
    channels = (*model.conv_channels[:1], *model.conv_channels)[-3:]
    # With a threshold of 1, it stays silent for long.
    plain = {name: getattr(ModelConfig, name) for name in GEOMETRY}
    color = replace(model, input_shape=(32, 32, 3), conv_channels=channels, threshold=0.3, **plain)
    yield Variant("three blocks, color", color, lr=3e-3)


def _pools(model: ModelConfig, kind: Pool) -> Pool | tuple[Pool, ...]:
    """The network's pools, changed to another kind."""
    return tuple("none" if pool == "none" else kind for pool in model.each_convolution("pool")) or model.pool


def briefly_trained(
    model: ModelConfig, dataset: data.Dataset, iterations: int, lr: float = 1e-2, start: Tensors | None = None
) -> Tensors:
    """Trains a network for a few iterations with a quarter of its time steps. That's enough to make it fire.

    If a layer is still silent, or fires nearly always, it's trained for the same number of iterations again.

    Args:
        model: the network.
        dataset: images that fit it.
        iterations: batches of 128 images.
        lr: Adam's learning rate.
        start: trained weights of another network to start from, if their shapes match (a network that already fires
            learns at once; from the seed's weights, one with average pooling stays silent for long).
    """
    settings = TrainConfig(lr=lr, init="torch")
    short = replace(model, time_steps=max(1, model.time_steps // 4))
    config = decided(Config(short, train=settings))
    trainer, feed = Trainer(config, dataset.train, _fitting(model, start or {})), Feed(config, dataset.train)
    batches = data.epoch_batches(settings.seed, 0, len(dataset.train.labels), settings.batch_size)
    some = data.Split(dataset.test.images[:128], dataset.test.labels[:128])
    for iteration in range(PATIENCE * iterations):
        trainer.step(feed.batch(iteration, batches[iteration % len(batches)]), lr)
        if (iteration + 1) % iterations == 0 and _fires(trainer, some):
            break
    return trainer.tensors()


def _fires(trainer: Trainer, split: data.Split) -> bool:
    """Whether the densities of all spiking layers are within bounds."""
    evaluation = trainer.evaluate(split)
    assert evaluation is not None
    return fires(of_spiking(trainer.config.model, [*evaluation.densities.values()]))


def _fitting(model: ModelConfig, tensors: Tensors) -> Tensors | None:
    """The weights for a model of the same shapes, with that model's betas and thresholds; None for other shapes."""
    neurons = {name: np.asarray(value, np.float32) for name, value in model.graph.initial.items()}
    fitting = tensors | neurons
    shapes = expected_shapes(model)
    if any(name not in fitting or fitting[name].shape != shape for name, shape in shapes.items()):
        return None
    return {name: fitting[name] for name in shapes}
