"""Prepares a job: its data, its complete configuration and its trainer. Nothing is written."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from csnn_jax import data
from csnn_jax.config import Config, decided
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags
from csnn_jax.runs import rundir
from csnn_jax.training.plan import check_sizes, iterations, learning_rates
from csnn_jax.training.trainer import Job, Trainer

MakeTrainer = Callable[[Config, data.Split], Trainer]
"""A framework's contribution: makes its trainer from a job and training images, or raises UserError."""


def prepare(flags: TrainFlags, make: MakeTrainer, dataset: data.Dataset | None = None) -> Job:
    """Loads the data, completes the configuration and makes the trainer.

    Args:
        flags: the flags.
        make: makes the framework's trainer.
        dataset: the data; None: as the flags say.

    Raises:
        UserError: the job isn't possible.
        ValueError: the images or labels of `dataset` are invalid.
    """
    if flags.tensorboard:
        from csnn_jax.runs import tensorboard

        tensorboard.require()
    if flags.out is not None and not flags.resume:
        rundir.check_out(flags.out, flags.overwrite)
    check = partial(check_sizes, flags.config)
    if dataset is None:
        dataset = data.load_to_train(flags.config, flags.given, check)
    else:
        check(len(dataset.train.labels), len(dataset.test.labels))
    dataset = data.shortened(dataset, flags.config.train.eval_images)
    data.check_counts(dataset.train.images, flags.config.model)
    model = data.fit_model(flags.config.model, dataset, flags.given)
    asked = replace(flags.config, model=model, data=replace(flags.config.data, classes=data.named(dataset)))
    config = decided(asked)
    if "per_channel" in flags.given and config.train.init_from is None:
        for name in config.model.per_channel:
            if not getattr(config.model, f"learn_{name}"):
                wanted = f"--learn-{name}, too, or --init-from; otherwise all channels keep the same value"
                raise UserError(f"--per-channel {name}: expected {wanted}")
    data.check_split(dataset.train, config.model, "train")
    data.check_split(dataset.test, config.model, "test")
    dataset = data.learned(dataset, config.model)
    data.Augmentation.of(config, dataset.train.images)  # checks that the augmentations apply to these images
    rates = learning_rates(config.train, iterations(config.train, len(dataset.train.labels)))
    start = config
    if flags.resume and config.train.init_from is not None:
        # The weights come from the checkpoint; the run that it started from may be gone.
        start = replace(config, train=replace(config.train, init="torch", init_from=None))
    return Job(flags, asked, config, dataset, make(start, dataset.train), rates)
