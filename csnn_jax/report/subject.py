"""A run in a report: its records, and its network and test images if they're available."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.data import Dataset
from csnn_jax.errors import UserError
from csnn_jax.runs import checkpoints, rundir
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.rundir import RunDir


@dataclass(frozen=True)
class ReportedRun:
    """A run in a report, with its weights and images if they're available.

    Attributes:
        name: its path, as the user gave it.
        number: its index among the report's runs, from 0; picks its color.
        run: its directory and the chosen checkpoint.
        config: the job.
        records: what training recorded.
        tensors: its weights; None: missing or unreadable.
        dataset: its images; None: they aren't available here, or the weights aren't.
        missing: why weights or images are missing, one sentence each, with no paths but the run's own.
    """

    name: str
    number: int
    run: RunDir
    config: Config
    records: list[dict[str, Any]]
    tensors: Tensors | None
    dataset: Dataset | None
    missing: tuple[str, ...]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The records of a kind."""
        return [record for record in self.records if record["kind"] == kind]

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the test images at the end of training; None before that."""
        end = self.run.end
        return end["accuracy"] if end else None

    @property
    def iterations(self) -> int:
        """Number of recorded iterations."""
        return max((record["iter"] for record in self.records), default=0)

    @property
    def sums_membranes(self) -> bool:
        """Whether the class is read from the output membranes, summed over the window; otherwise from spikes."""
        return self.config.model.readout == "membrane"

    @property
    def measured_at(self) -> int | None:
        """The iterations after which the weights were saved, by a checkpoint or so far; None: they're final."""
        if self.run.checkpoint is not None or self.accuracy is not None or self.tensors is None:
            return self.run.checkpoint
        return max(checkpoints.numbers(self.run.checkpoints), default=None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the network's classes."""
        known = self.dataset.names if self.dataset and self.config.data.classes is None else ()
        return (*known, *self.config.class_names[len(known) :])


def read(name: str, number: int, checkpoint: str | None, dataset: str | None = None) -> ReportedRun:
    """Reads a run.

    Args:
        name: the run directory.
        number: its index among the report's runs, from 0.
        checkpoint: the checkpoint to use: best, last, or its number of iterations; None: the run's latest weights.
        dataset: where its test images are now; None: where training had them, or none if they're no longer there.

    Raises:
        UserError: the run, the checkpoint or the data set at `dataset` is missing, or the records can't be read.
    """
    missing: list[str] = []
    run, config, tensors = _opened(name, checkpoint, missing)
    images = None
    if tensors is not None:
        images = data.load_for(config, dataset) if dataset else _images(config, missing)
    return ReportedRun(name, number, run, config, run.records(), tensors, images, tuple(missing))


def _opened(name: str, checkpoint: str | None, missing: list[str]) -> tuple[RunDir, Config, Tensors | None]:
    """Like `rundir.open_run`, but also opens runs that failed before they had weights."""
    try:
        return rundir.open_run(name, checkpoint)
    except UserError as error:
        if checkpoint is not None or not (Path(name) / "config.json").is_file():
            raise
        run = RunDir(Path(name))
        config = run.config()
        print(f"{name}: skipping everything that needs weights: {error}", flush=True)
        missing.append(f"Its weights can't be used ({error}).")
        return run, config, None


def _images(config: Config, missing: list[str]) -> Dataset | None:
    try:
        return data.load_for(config)
    except UserError as error:
        print(f"Skipping everything that needs test images; another --dataset may have some: {error}", flush=True)
        missing.append(f"Its test images ({shown_dataset(config.data.dataset)}) aren't available.")
        return None


def shown_dataset(name: str) -> str:
    """A data set's name without its folder."""
    kind, _, where = name.partition(":")
    form = next((form for form in data.READERS if form.partition(":")[0] == kind), name)
    if kind != "tfds":
        return form
    base, at, _ = where.partition("@")
    return f"{kind}:{base}@DATA_DIR" if at else name
