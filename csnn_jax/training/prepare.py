"""Checks a job and makes everything that its training needs; nothing is written."""

from collections.abc import Callable, Container
from typing import NamedTuple

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config, decided
from csnn_jax.training.plan import iterations, learning_rates
from csnn_jax.training.trainer import Trainer

MakeTrainer = Callable[[Config, data.Split], Trainer]
"""A framework's contribution: makes its trainer from a job and training images, or raises UserError."""


class Prepared(NamedTuple):
    """A job that is ready to begin.

    Attributes:
        asked: the configuration for this data set.
        config: the same with every `auto` resolved.
        dataset: its images, in the network's units.
        trainer: the network to train.
        rates: the learning rate of every iteration.
    """

    asked: Config
    config: Config
    dataset: data.Dataset
    trainer: Trainer
    rates: np.ndarray


def prepare(config: Config, dataset: data.Dataset, make: MakeTrainer, given: Container[str] = ()) -> Prepared:
    """Fits a job to its data set, and makes the trainer.

    Args:
        config: the job.
        dataset: its data set.
        make: makes the framework's trainer.
        given: names of options that are set even if they have their default value.

    Raises:
        UserError: the job isn't possible with this data set.
        ValueError: the images or labels of a caller's data set are invalid.
    """
    data.check_counts(dataset.train.images, config.model)
    asked = data.fit_config(config, dataset, given)
    job = decided(asked)
    data.check_split(dataset.train, job.model, "train")
    data.check_split(dataset.test, job.model, "test")
    dataset = data.learned(dataset, job.model)
    size = len(dataset.train.labels)
    data.epoch_batches(job.train.seed, 0, size, job.train.batch_size)  # checks that there is a batch
    data.Augmentation.of(job, dataset.train.images)  # checks that the augmentations apply to these images
    rates = learning_rates(job.train, iterations(job.train, size))  # checks the warm-up
    return Prepared(asked, job, dataset, make(job, dataset.train), rates)
