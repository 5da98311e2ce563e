"""Short training runs by command line, and their records."""

from pathlib import Path
from typing import Any

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.flags import TrainFlags, parse_train
from csnn_jax.runs.rundir import RunDir
from csnn_jax.training.plan import iterations, learning_rates
from csnn_jax.training.trainer import Job

BRIEF = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 5, "--batch-size", 32)
"""A stack and batch size for the fixture `dataset`, where 10 iterations are an epoch."""


def job_of(config: Config, dataset: data.Dataset, trainer: Any, **flags: Any) -> Job:
    """A job that is ready to train."""
    rates = learning_rates(config.train, iterations(config.train, len(dataset.train.labels)))
    return Job(TrainFlags(config, **flags), config, config, dataset, trainer, rates)


def records(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    return RunDir(path).records(kind)


def losses(path: Path) -> list[float]:
    return [record["loss"] for record in RunDir(path).records("train")]


def read_flags(*arguments: object) -> TrainFlags:
    """The flags of a training command, as parsed by it."""
    return parse_train(TrainFlags, "csnn-train", "Trains.", list(map(str, arguments)))
