"""Trains a network on arrays, from Python."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.data import Split
from csnn_jax.data.images import image_notes, pixels_of
from csnn_jax.errors import UserError, in_python
from csnn_jax.flags import TrainFlags
from csnn_jax.options import show, words_of
from csnn_jax.runs import weights
from csnn_jax.runs.metrics import Evaluation, Records
from csnn_jax.trained import Trained
from csnn_jax.training.job import chosen, introduced
from csnn_jax.training.journal import Journal
from csnn_jax.training.loop import Evaluated, Finished, Loop
from csnn_jax.training.prepare import prepare
from csnn_jax.update.trainer import Trainer

Arrays = Split | tuple[Any, Any]
"""A split, or images [N, H, W, C] or [N, T, H, W, C] and their labels [N], as in `data.as_split`."""

USED = ("dataset", "augment", "flip", "event_drop", "classes")
"""The fields of `DataConfig` that apply to arrays; `dataset` and `classes` may be left over from an earlier `fit`."""
UNUSED = ("checkpoint_every", "keep_checkpoints")
"""The fields of `TrainConfig` that only apply to run directories."""


def fit(
    config: Config,
    train: Arrays,
    test: Arrays,
    *,
    classes: int | Sequence[str] | None = None,
    on_evaluation: Callable[[int, Evaluation], object] | None = None,
    log: Callable[[str], object] | None = print,
) -> Trained:
    """Trains a network on your own arrays and returns it, as `load` does for a run.

    Nothing is written; `csnn_jax.save(trained, folder)` writes a run directory. Input shape, number of classes and
    scale are inferred from the training data unless the config sets them, and so is the number of steps if images have
    a time axis.

    Args:
        config: the job. Fields without an effect here, such as `data.validation`, must have their defaults.
        train: training data: (images, labels) or a `Split`. Images are booleans, integers from 0 to 255, or floats from
            0 to 1, as arrays, torch tensors, or lists.
        test: test data of the same kind as `train`, evaluated as often as `eval_every` says and at the end.
        classes: number or names of the classes; None: inferred from the training labels, which must include all
            classes.
        on_evaluation: called with the number of iterations and the result after each evaluation.
        log: called with each line that `python -m csnn_jax.train` would print: notes on the data, choices of `auto`,
            evaluations, the network's health. None: no output.

    Raises:
        ValueError: images or labels are invalid or don't match, or an argument isn't a function.
        UserError: the job is invalid, the loss becomes infinite or NaN, or weights become too large to be exact.

    Examples:
        Images whose left half is bright, and images whose right half is:

        >>> import numpy as np
        >>> import csnn_jax
        >>> from csnn_jax import Config, ModelConfig, TrainConfig
        >>> labels = np.arange(200) % 2
        >>> images = np.zeros((200, 8, 8, 1), np.uint8)
        >>> images[labels == 0, :, :4] = 255
        >>> images[labels == 1, :, 4:] = 255
        >>> config = Config(
        ...     ModelConfig(conv_channels=(4,), hidden=(), time_steps=5),
        ...     train=TrainConfig(batch_size=20, epochs=4),
        ... )
        >>> model = csnn_jax.fit(config, (images, labels), (images, labels), log=None)
        >>> model.evaluate((images, labels)).accuracy
        1.0
    """
    if not isinstance(config, Config):
        raise ValueError(
            f"config is of type {type(config).__name__}, expected a Config, as in Config(ModelConfig(...))"
        )
    for name, function in (("on_evaluation", on_evaluation), ("log", log)):
        if function is not None and not callable(function):
            raise ValueError(f"{name} is {show(function)}, expected a function, or None")
    _check_used(config)
    dataset = _dataset(config, train, test, classes)
    config = replace(config, data=replace(config.data, dataset=dataset.name))
    job = prepare(TrainFlags(config), Trainer, dataset)

    def say(line: str) -> None:
        if log is not None:
            log(in_python(line))

    for line in (*introduced(job), _filled_in(config.model, job.config.model), *chosen(job)):
        say(line)
    loop, records = Loop(job), Records()
    arrays = {"train": data.digest(job.dataset.train), "test": data.digest(job.dataset.test)}
    record = Journal(job, records, loop.summarize_neurons, say, at_end={"arrays": arrays})
    for event in loop.events(0):
        record(event)
        if isinstance(event, Evaluated | Finished) and on_evaluation is not None:
            on_evaluation(event.done, event.result)
    tensors = job.trainer.tensors()
    weights.check(tensors, job.config.model, "after training")
    return Trained(job.config, tensors, job.config.train.engine, records.all)


def _check_used(config: Config) -> None:
    """Raises UserError if the config sets anything that `fit` doesn't use."""
    for part, kind in (("data", DataConfig), ("train", TrainConfig)):
        for entry in fields(kind):
            unused = entry.name not in USED if part == "data" else entry.name in UNUSED
            value = getattr(getattr(config, part), entry.name)
            if unused and value != entry.default:
                raise UserError(
                    f"{part}.{entry.name} {show(value)}: has no effect in fit, expected {show(entry.default)}"
                )
    if config.data.dataset not in (DataConfig.dataset, data.ARRAYS):
        raise UserError(f"data.dataset {config.data.dataset}: has no effect in fit, which uses train and test")


def _dataset(config: Config, train: Arrays, test: Arrays, classes: int | Sequence[str] | None) -> data.Dataset:
    """The arrays as a data set; raises ValueError if they are invalid."""
    shape = config.model.input_shape
    required = None if shape == ModelConfig.input_shape else shape
    learned, tested, names = data.as_parts({"train": train, "test": test}, classes, required, config.model.scale)
    pixels = pixels_of(learned.images)
    notes = tuple(image_notes(learned.images, pixels.scale, data.ARRAYS))
    return data.Dataset(data.ARRAYS, learned, None, tested, names, pixels, notes)


def _filled_in(asked: ModelConfig, made: ModelConfig) -> str:
    """A line that says which of the network's settings were inferred from the arrays."""
    names = ("input_shape", "time_steps", "num_classes", "scale")
    taken = [name for name in names if getattr(asked, name) != getattr(made, name)]
    values = [" ".join(words_of(name, getattr(made, name))) for name in taken]
    return f"Inferred from the arrays: {', '.join(values) or 'nothing'}"
