"""csnn_jax, training and evaluating like `python -m csnn_jax.train --engine VARIANT`."""

from dataclasses import replace
from itertools import count

import numpy as np

from csnn_jax.config import Config, decided
from csnn_jax.data import Split
from csnn_jax.training.feed import Batch
from csnn_jax.update.trainer import Trainer

PACKAGES = ("csnn-jax", "jax", "jaxlib", "flax", "optax", "numpy")
DIFFERS = "nothing"
ADVICE = "the event engine, which is the default"


def build(job):
    config = decided(Config())
    model = replace(config.model, time_steps=job.time_steps)
    train = replace(config.train, engine=job.variant, batch_size=job.images.shape[1])
    images = job.images.reshape(-1, 28, 28, 1)
    tensors = {
        f"{node.name}.{name}": values
        for node, pair in zip(model.graph.weighted, job.layers, strict=True)
        for name, values in zip(("weight", "bias"), pair, strict=True)
    }
    trainer = Trainer(replace(config, model=model, train=train), Split(images, job.labels.reshape(-1)), tensors)
    iterations = count()

    def step(images, labels):
        batch = Batch(next(iterations), images[..., None], labels.astype(np.int32))
        return trainer.step(batch, job.learning_rate).fetched().loss

    def infer(images):
        return trainer.evaluate(Split(images[..., None], np.zeros(len(images), np.int32))).predictions

    def spikes(images):
        *_, last = trainer.trace(images[..., None]).spikes.values()
        return last

    return step, infer, spikes
