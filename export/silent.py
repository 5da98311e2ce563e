"""`--drop-silent`: drops the channels that never fire on the training images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from csnn_jax.config import Config
from csnn_jax.data import Dataset, Images
from csnn_jax.errors import UserError
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.metrics import BATCH
from csnn_jax.trained import Trained
from export import channels
from export.proof import Figures
from export.work import Work


@dataclass(frozen=True)
class Dropped:
    """What was dropped, and the effect.

    Attributes:
        layers: (name, channels kept, channels of the trained network) of every hidden layer.
        training_images: number of training images, on which the dropped channels stayed silent.
        test_images: number of test images.
        fired_on: number of test images on which a dropped channel would have fired.
        other_answers: number of test images with a different class after dropping.
        parameters: number of weights and biases, before and after.
    """

    layers: list[tuple[str, int, int]]
    training_images: int
    test_images: int
    fired_on: int
    other_answers: int
    parameters: tuple[int, int]

    def lines(self) -> list[str]:
        """A summary for the user."""
        sizes = ", ".join(f"{name} {stay:,} of {of:,}" for name, stay, of in self.layers)
        before, after = self.parameters
        return [
            f"--drop-silent keeps {sizes}: the others fired on none of the {self.training_images:,} training images",
            f"{before:,} -> {after:,} parameters, {4 * before:,} -> {4 * after:,} bytes in float32",
            f"on {self.fired_on:,} of {self.test_images:,} test images, one of the others would have fired; "
            f"{self.other_answers:,} answers change",
        ]

    def stated(self) -> Figures:
        """The maker's statement: what doesn't follow from the smaller network."""
        return {
            "channels": {name: before for name, _, before in self.layers},
            "parameters": self.parameters[0],
            "training_images": self.training_images,
            "fired_on": self.fired_on,
            "other_answers": self.other_answers,
        }


def drop(config: Config, tensors: Tensors, dataset: Dataset, work: Work) -> tuple[Config, Tensors, Dropped]:
    """Drops the channels that are silent on every training image within the job's window.

    Returns:
        (the job with the smaller network, its parameters, what was dropped).

    Raises:
        UserError: a layer would be empty.
    """
    trained, graph = Trained(config, tensors), config.model.graph
    alive = channels.together(graph, tensors, _alive(trained, dataset.train.images, work))
    names = [graph.label(node) for node in graph.neurons[:-1]]
    for name, ever in zip(names, alive, strict=True):
        if not ever.any():
            images = f"{name} fires on none of the {len(dataset.train.labels):,} training images"
            raise UserError(f"--drop-silent: {images} and would be empty; expected a network in which all layers fire")
    smaller, left = channels.without(config.model, tensors, alive)
    after = Trained(replace(config, model=smaller), left)
    before, now = (_answers(one, dataset.test.images) for one in (trained, after))
    dropped = Dropped(
        [(name, int(ever.sum()), len(ever)) for name, ever in zip(names, alive, strict=True)],
        len(dataset.train.labels),
        len(dataset.test.labels),
        _fired_on(trained, alive, dataset.test.images, work),
        int((before != now).sum()),
        (layouts.parameters(tensors), layouts.parameters(left)),
    )
    return replace(config, model=smaller), left, dropped


def _alive(trained: Trained, images: Images, work: Work) -> list[np.ndarray]:
    """For every hidden layer, which channels fire on some image, bool [channels]."""
    alive = [np.zeros(node.shape[-1], bool) for node in trained.config.model.graph.neurons[:-1]]
    for batch in map(trained.ever_fired, _pieces(trained, images)):
        for ever, layer in zip(alive, batch[:-1], strict=True):
            ever |= layer.any(0)
        work.saw(len(batch[0]))
    return alive


def _fired_on(trained: Trained, alive: Sequence[np.ndarray], images: Images, work: Work) -> int:
    """The number of images on which a channel that isn't `alive` fires."""
    count = 0
    for batch in map(trained.ever_fired, _pieces(trained, images)):
        dead = [layer[:, ~ever] for ever, layer in zip(alive, batch[:-1], strict=True)]
        count += int(np.concatenate(dead, axis=1).any(1).sum())
        work.saw(len(batch[0]))
    return count


def _answers(trained: Trained, images: Images) -> np.ndarray:
    """The class of every image."""
    return np.concatenate([trained.classify(some).classes for some in _pieces(trained, images)])


def _pieces(trained: Trained, images: Images) -> Iterator[np.ndarray]:
    """The images in batches, with only as many frames as the window has."""
    steps = trained.config.model.time_steps
    for first in range(0, len(images), BATCH):
        some = images[np.arange(first, min(first + BATCH, len(images)))]
        yield some[:, :steps] if some.ndim == 5 else some
