"""A run as a report finds it: its records, and its network and test images where they can be had."""

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
    """A run that a report is made of, with its weights and images as far as they are there.

    Attributes:
        name: its path, as the user gave it.
        number: its place among the runs of the report, from 0; picks its colour.
        run: where it is, and which checkpoint is meant.
        config: the job.
        records: what training recorded.
        tensors: its weights; None: there are none that can be read.
        dataset: its images; None: they can't be had here, or the weights can't.
        missing: why weights or images are not there, one sentence each; without paths but the run's own.
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
        """On the test images, at the end of training; None before that."""
        ends = [record for record in self.of_kind("end") if not record["interrupted"]]
        return ends[-1]["accuracy"] if ends else None

    @property
    def iterations(self) -> int:
        """Iterations that are recorded."""
        return max((record["iter"] for record in self.records), default=0)

    @property
    def sums_membranes(self) -> bool:
        """Whether the class is read from the output membranes, summed over the window; otherwise from spikes."""
        return self.config.model.readout == "membrane"

    @property
    def measured_at(self) -> int | None:
        """After how many iterations the weights were, where those are not the last ones: of a checkpoint, or so far."""
        if self.run.checkpoint is not None or self.accuracy is not None or self.tensors is None:
            return self.run.checkpoint
        return max(checkpoints.numbers(self.run.checkpoints), default=None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the network knows."""
        known = self.dataset.names if self.dataset and self.config.data.classes is None else ()
        return (*known, *self.config.class_names[len(known) :])


def read(name: str, number: int, checkpoint: str | None, dataset: str | None = None) -> ReportedRun:
    """Reads a run.

    Args:
        name: the run directory.
        number: its place among the runs of the report, from 0.
        checkpoint: whose weights: best, last, or the iterations done; None: the run's latest.
        dataset: where its test images are now; None: where training had them, and without them if they are not there.

    Raises:
        UserError: no run there, no such checkpoint, records that can't be read, or no data set at `dataset`.
    """
    missing: list[str] = []
    run, config, tensors = _opened(name, checkpoint, missing)
    images = None
    if tensors is not None:
        images = data.load_for(config, dataset) if dataset else _images(config, missing)
    return ReportedRun(name, number, run, config, run.records(), tensors, images, tuple(missing))


def _opened(name: str, checkpoint: str | None, missing: list[str]) -> tuple[RunDir, Config, Tensors | None]:
    """`rundir.open_run`, for a run without weights too: a run may fail before it has any."""
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
        print(f"{config.data.dataset}: skipping everything that needs test images; try --dataset: {error}", flush=True)
        missing.append(f"Its test images ({shown_dataset(config.data.dataset)}) aren't available.")
        return None


def shown_dataset(name: str) -> str:
    """A data set's name without the folder that it lies in."""
    kind, _, where = name.partition(":")
    form = next((form for form in data.READERS if form.partition(":")[0] == kind), name)
    if kind != "tfds":
        return form
    base, at, _ = where.partition("@")
    return f"{kind}:{base}@DATA_DIR" if at else name
