"""Trains a network on arrays, from Python."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config, decided
from csnn_jax.data.images import Images, scale_of, to_uint8
from csnn_jax.runs.metrics import Evaluation
from csnn_jax.trained import Trained
from csnn_jax.training.loop import Journal, Loop
from csnn_jax.training.plan import iterations, learning_rates
from csnn_jax.update.trainer import Trainer

Arrays = tuple[Images, np.ndarray]
"""Images [N, H, W, C], or [N, T, H, W, C] where they have a time axis, and their labels [N], whole numbers from 0."""


def fit(
    config: Config, train: Arrays, test: Arrays, told: Callable[[int, Evaluation], object] | None = None
) -> Trained:
    """Trains a network on arrays of one's own, and gives it back as `load` gives that of a run.

    Nothing is written; `csnn_jax.save(model.model, model.config.model, folder)` makes a run of it. Shape, classes and
    scale, and the steps where images have a time axis, follow from the arrays, as they do for a data set.

    Args:
        config: the job. What it says of where data come from makes no difference.
        train: what to learn from: bytes, whole numbers up to 255, or floats from 0 to 1.
        test: what to evaluate on, as often as `eval_every` says and at the end.
        told: is called with the iterations done and the result, after each evaluation.

    Raises:
        ValueError: arrays of another shape, or labels that do not belong to them.
        UserError: a job that can't be, or a loss that is no longer finite.
    """
    notes: list[str] = []
    splits = [_split(pair, name, notes) for pair, name in ((train, "train"), (test, "test"))]
    names = tuple(map(str, range(int(splits[0].labels.max()) + 1)))
    scale = scale_of(splits[0].images, floats=bool(notes))
    dataset = data.Dataset("arrays", splits[0], None, splits[1], names, scale, ())
    model = data.fit_model(config.model, dataset)
    job = decided(replace(config, model=model, data=replace(config.data, dataset=dataset.name, validation=0)))
    data.check_split(dataset.test, job.model)
    rates = learning_rates(job.train, iterations(job.train, len(dataset.train.labels)))
    trainer = Trainer(job, dataset.train)
    Loop(job, dataset, trainer, rates, lambda: True).run(0, _Telling(told or (lambda *_: None)))
    return Trained(job, trainer.tensors(), job.train.engine)


class _Telling(Journal):
    """Passes on what evaluations found."""

    def __init__(self, told: Callable[[int, Evaluation], object]):
        self._told, self._latest = told, 0

    def evaluated(self, done: int, kind: str, result: Evaluation) -> None:
        self._latest = done
        self._told(done, result)

    def finished(self, done: int, result: Evaluation) -> None:
        if done != self._latest:  # else it has just been told
            self._told(done, result)


def _split(pair: Arrays, name: str, notes: list[str]) -> data.Split:
    images, labels = pair
    if isinstance(images, np.ndarray):
        images, scaled = to_uint8(images, name)
        notes += scaled
    found = np.asarray(labels)
    return data.Split(images, found.astype(np.int32) if found.dtype.kind in "iu" else found)
