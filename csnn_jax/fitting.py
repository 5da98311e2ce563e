"""Trains a network on arrays, from Python."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.config.checks import show
from csnn_jax.config.words import flag
from csnn_jax.data import Split
from csnn_jax.data.entry import entry_of, scale_note, to_learn_from
from csnn_jax.errors import UserError, in_python, naming_arguments
from csnn_jax.runs.metrics import Evaluation
from csnn_jax.runs.records import Records
from csnn_jax.trained import Trained
from csnn_jax.training.job import chosen, introduced
from csnn_jax.training.journal import RecordingJournal
from csnn_jax.training.loop import Loop
from csnn_jax.training.plan import iterations, learning_rates
from csnn_jax.update.trainer import Trainer

Arrays = Split | tuple[Any, Any]
"""A split, or images [N, H, W, C] or [N, T, H, W, C] and their labels [N], as `data.as_split` takes them."""

USED = ("dataset", "augment", "flip", "event_drop")
"""The fields of `DataConfig` that say something of arrays; `dataset` may be that of an earlier `fit`."""
UNUSED = ("checkpoint_every", "keep_checkpoints")
"""The fields of `TrainConfig` that are about run directories alone."""


@naming_arguments()
def fit(
    config: Config,
    train: Arrays,
    test: Arrays,
    *,
    classes: int | Sequence[str] | None = None,
    on_evaluation: Callable[[int, Evaluation], object] | None = None,
    log: Callable[[str], object] | None = print,
) -> Trained:
    """Trains a network on arrays.

    It writes no files; `csnn_jax.save(trained, folder)` does. Where the config has the default input shape, classes,
    scale and (for sequences) time steps, those of the training images are used.

    Args:
        config: the job. A field that has no effect here, such as `data.validation`, must have its default.
        train: what to learn from, (images, labels) or a `Split`. Images are arrays, torch tensors or lists, of
            booleans, whole numbers from 0 to 255, or floats from 0 to 1.
        test: what to evaluate on, every `eval_every` iterations and at the end; of the same kind as `train`.
        classes: the number of classes, or their names; None: as many as the training labels have, from 0 on.
        on_evaluation: called with the iterations done and the result after each evaluation.
        log: called with each line that `python -m csnn_jax.train` would print: notes on the data, what `auto` chose,
            evaluations, the network's health. None: no lines.

    Returns:
        The trained network, as `load` returns that of a run.

    Raises:
        ValueError: images or labels that can't be used, or that don't belong together.
        UserError: the job isn't possible, or the loss is no longer finite.

    Examples:
        In some images the left half is bright, in others the right half:

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
    _check_used(config)
    dataset = _dataset(config, train, test, classes)
    asked = _asked(config, dataset)
    job = decided(asked)
    data.check_split(dataset.train, job.model, "train")
    data.check_split(dataset.test, job.model, "test")
    dataset = data.learned(dataset, job.model)
    data.Augmentation.of(job, dataset.train.images)  # checks that there is what is to be changed
    rates = learning_rates(job.train, _iterations(job.train, len(dataset.train.labels)))
    trainer = Trainer(job, dataset.train)

    def say(line: str) -> None:
        if log is not None:
            log(in_python(line))

    taken = _filled_in(config.model, job.model)
    for line in (*introduced(dataset, job, trainer), taken, *chosen(asked, job, trainer)):
        say(line)
    loop, records = Loop(job, dataset, trainer, rates, lambda: True), Records()
    loop.run(0, _Fitting(job, dataset, records, len(rates), loop, say, on_evaluation))
    return Trained(job, trainer.tensors(), job.train.engine, records.all)


def _check_used(config: Config) -> None:
    """Raises UserError where the config asks for what `fit` doesn't do."""
    for part, kind in (("data", DataConfig), ("train", TrainConfig)):
        for one in fields(kind):
            unused = one.name not in USED if part == "data" else one.name in UNUSED
            value = getattr(getattr(config, part), one.name)
            if unused and value != one.default:
                raise UserError(f"{part}.{one.name} {show(value)}: has no effect in fit, expected {show(one.default)}")
    if config.data.dataset not in (DataConfig.dataset, data.ARRAYS):
        raise UserError(f"data.dataset {config.data.dataset}: has no effect in fit, whose data are train and test")


def _dataset(config: Config, train: Arrays, test: Arrays, classes: int | Sequence[str] | None) -> data.Dataset:
    """The arrays as a data set; raises ValueError where they are none."""
    wanted = config.model.input_shape
    own = None if wanted == ModelConfig.input_shape else wanted
    learnt = data.as_split(train, "train", own, ", as model.input_shape says")
    height, width, channels = learnt.images.shape[-3:]
    tested = data.as_split(test, "test", (height, width, channels), ", as the train images are")
    data.check_alike(learnt, tested, config.model.scale)
    names = data.class_names(learnt.labels, classes)
    for split, name in ((learnt, "train labels"), (tested, "test labels")):
        data.check_labels(split, len(names), name)
    learnt, tested = (replace(split, images=to_learn_from(split.images)) for split in (learnt, tested))
    entry = entry_of(learnt.images)
    notes = tuple(scale_note(learnt.images, entry.scale, data.ARRAYS))
    dataset = data.Dataset(data.ARRAYS, learnt, None, tested, names, entry, notes)
    return data.shortened(dataset, config.train.eval_images)


def _asked(config: Config, dataset: data.Dataset) -> Config:
    """The job on these arrays, before what is left to `auto` is decided."""
    data.check_counts(dataset.train.images, config.model)
    model = data.fit_model(config.model, dataset)
    return replace(config, model=model, data=replace(config.data, dataset=dataset.name))


def _iterations(settings: TrainConfig, images: int) -> int:
    """The iterations of the job; raises UserError where there is none, or fewer than asked for."""
    data.epoch_batches(settings.seed, 0, images, settings.batch_size)  # checks that there is a batch
    total = iterations(settings, images)
    if settings.max_iters is not None and settings.max_iters > total:
        epochs = f"{settings.epochs} epoch{'s' * (settings.epochs > 1)} of {images} images in batches"
        raise UserError(
            f"--max-iters {settings.max_iters}: {epochs} of {settings.batch_size} are {total} iterations; expected at "
            "most as many, or more --epochs"
        )
    return total


def _filled_in(asked: ModelConfig, made: ModelConfig) -> str:
    """A line on what the arrays decided of the network."""
    names = ("input_shape", "time_steps", "num_classes", "scale")
    taken = [name for name in names if getattr(asked, name) != getattr(made, name)]
    values = [" ".join(flag(name, getattr(made, name))) for name in taken]
    return f"Taken from the arrays: {', '.join(values) or 'nothing'}"


class _Fitting(RecordingJournal):
    """Says, records and passes on what happens; the last record tells which arrays it was."""

    def __init__(
        self,
        job: Config,
        dataset: data.Dataset,
        records: Records,
        total: int,
        loop: Loop,
        say: Callable[[str], None],
        on_evaluation: Callable[[int, Evaluation], object] | None,
    ):
        super().__init__(job, records, total, loop.look, say)
        self._dataset, self._on_evaluation, self._latest = dataset, on_evaluation, 0

    def evaluated(self, done: int, kind: str, result: Evaluation) -> None:
        super().evaluated(done, kind, result)
        self._tell(done, result)

    def finished(self, done: int, result: Evaluation, **more: Any) -> None:
        arrays = {"train": data.digest(self._dataset.train), "test": data.digest(self._dataset.test)}
        super().finished(done, result, arrays=arrays, **more)
        if done != self._latest:  # else it has just been told
            self._tell(done, result)

    def _tell(self, done: int, result: Evaluation) -> None:
        self._latest = done
        if self._on_evaluation is not None:
            self._on_evaluation(done, result)
