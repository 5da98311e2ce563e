"""The run directory: config.json, metrics.jsonl, weights.safetensors, checkpoints/, figures."""

import dataclasses
import itertools
import json
import operator
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from csnn_jax import reading
from csnn_jax.config.job import MOST_BYTES, Config, job_from_json, job_to_json
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.nodes import NodeConfig, Nodes
from csnn_jax.errors import UserError, one_line
from csnn_jax.files import BUNDLE, append_line, check_folder, create_folder, sync, write_atomic, write_new
from csnn_jax.machine import available_memory
from csnn_jax.runs import checkpoints, claim, layouts, weights

FILES = (
    "config.json",
    "metrics.jsonl",
    "weights.safetensors",
    "checkpoints",
    *("accuracy.png", "accuracy.pdf", "spikes.png", "spikes.pdf"),
    *("evaluation.json", "confusion.png", "confusion.pdf", "steps.png", "steps.pdf"),
    claim.HOLDER,
    "tensorboard",
)


NEEDED = {
    "train": ("loss", "images_per_s", "density", "gradient"),
    "health": ("text",),
    "validation": ("accuracy",),
    "test": ("accuracy",),
    "end": ("interrupted",),
}
"""The fields that a record of a kind can't do without, besides its `kind` and `iter`. The end of a whole job also needs
an accuracy, which is None if it wasn't measured."""
LONGEST_RECORD, IN_MEMORY = 2**24, 16
"""Maximum bytes of a line of metrics.jsonl; how many times as much memory as their text records take."""


@dataclasses.dataclass(frozen=True)
class RunDir:
    """A run directory: its paths, its records, and the lock against concurrent training.

    Attributes:
        path: the directory.
        checkpoint: the checkpoint whose weights to use, by number of iterations; None: the run's latest weights.
        listeners: called with each record once it's in metrics.jsonl.
    """

    path: Path
    checkpoint: int | None = None
    listeners: tuple[Callable[[dict[str, Any]], None], ...] = ()

    @property
    def weights(self) -> Path:
        folder = self.path if self.checkpoint is None else self.checkpoints / str(self.checkpoint)
        return folder / checkpoints.WEIGHTS

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def at(self, checkpoint: str | int) -> "RunDir":
        """The run with the weights of a checkpoint: best, last, or a number of iterations.

        Raises:
            UserError: there is no such checkpoint, or its weights are damaged; the message lists the others.
        """
        scores = self.scores() if self.config().data.validation else None
        number = checkpoints.choose(self.checkpoints, checkpoint, scores)
        checkpoints.check_chosen(self.checkpoints, number)
        return RunDir(self.path, number)

    def claimed(self) -> AbstractContextManager[None]:
        """Locks the run against other training processes during the block; see `claim.claimed`."""
        return claim.claimed(self.path)

    def sweep(self) -> None:
        """Removes incomplete files of a killed process. Only for the process that has claimed the run."""
        for name in FILES:
            for path in self.path.glob(f".{name}.*"):
                _remove(path)
        for path in self.checkpoints.glob(".*"):
            _remove(path)

    def remove_files(self) -> None:
        """Removes the run's files, and no others. Only for the process that has claimed the run."""
        self.sweep()
        for number in checkpoints.numbers(self.checkpoints):
            _remove(self.checkpoints / str(number))
        with suppress(OSError):  # it has other files, or doesn't exist
            self.checkpoints.rmdir()
        for name in FILES:
            if name != self.checkpoints.name:
                _remove(self.path / name)

    def record(self, kind: str, **values: Any) -> None:
        """Appends one object to metrics.jsonl."""
        record = {"kind": kind, **values}
        append_line(self.path / "metrics.jsonl", json.dumps(record))
        for listener in self.listeners:
            listener(record)

    def sync(self) -> None:
        """Flushes metrics.jsonl to disk."""
        sync(self.path / "metrics.jsonl")

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The objects of metrics.jsonl: all of them, or those of one kind.

        Raises:
            UserError: a line isn't a JSON object with the fields of its kind.
        """
        path = self.path / "metrics.jsonl"
        records: list[dict[str, Any]] = []
        if not os.path.lexists(path):
            return records
        with reading.opened(path, "a run's records", available_memory() // IN_MEMORY) as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_RECORD), b""), 1):
                if len(line) < LONGEST_RECORD and line[-1:] != b"\n":
                    break  # a kill may leave half a line
                try:
                    record = json.loads(line.decode(errors="replace"))
                    _ = operator.index(record["iter"]), [record[name] for name in NEEDED.get(record["kind"], ())]
                    _ = record["kind"] != "end" or record["interrupted"] or record["accuracy"]
                except (ValueError, RecursionError, KeyError, TypeError):
                    raise UserError(
                        f"{path}, line {number}: expected a JSON object with the fields of its `kind`"
                    ) from None
                if kind in (None, record["kind"]):
                    records.append(record)
        return records

    def scores(self) -> dict[int, float]:
        """Accuracy on the held-out images, by number of iterations."""
        return {record["iter"]: record["accuracy"] for record in self.records("validation")}

    def truncate_records(self, done: int) -> None:
        """Drops the end record and the records of iterations after `done`, which a resumed run writes again."""
        before = itertools.takewhile(lambda record: record["kind"] != "end", self.records())
        records = [record for record in before if record["iter"] <= done]
        write_atomic(self.path / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records).encode())

    @property
    def end(self) -> dict[str, Any] | None:
        """The record of the job's end; None until it has finished."""
        return next((end for end in reversed(self.records("end")) if not end["interrupted"]), None)

    @property
    def finished(self) -> bool:
        return self.end is not None

    @property
    def unfinished(self) -> str | None:
        """Why the weights aren't those of a finished job, in words; None if they are, or if a checkpoint was chosen."""
        if self.checkpoint is not None or self.finished:
            return None
        ends = self.records("end")
        if not ends:
            return "training hasn't ended"
        done = ends[-1]["iter"]
        return f"training was interrupted after {done} iteration{'s' * (done != 1)}"

    @property
    def final_split(self) -> str:
        """The split of the final accuracy: "test", or "validation" if there are no test images."""
        return (self.end or {}).get("split", "test")

    def config(self) -> Config:
        """Reads config.json.

        Raises:
            UserError: it's missing or invalid.
        """
        path = self.path / "config.json"
        if not os.path.lexists(path):
            inside = next((f"; perhaps you meant {one.parent}" for one in sorted(self.path.glob("*/config.json"))), "")
            raise UserError(f"{self.path}: not a run directory, expected config.json in it{inside}")
        text = reading.read(path, "a run's configuration", MOST_BYTES).decode(errors="replace")
        return job_from_json(text, str(path))


def create(out: str | None, config: Config, overwrite: bool = False) -> RunDir:
    """Creates a run directory and writes its config.json.

    Args:
        out: its path; None: a new `runs/<date-time>`.
        config: the job.
        overwrite: remove the files of an existing run (and only those).

    Raises:
        UserError: as in `check_out`, or the directory can't be created.
    """
    try:
        if out is None:
            run = RunDir(fresh())
        else:
            check_out(out, overwrite)
            run = RunDir(Path(out))
            create_folder(run.path)
            if overwrite and (run.path / "config.json").exists():  # otherwise another process was faster
                with run.claimed():
                    run.remove_files()
    except OSError as error:
        raise UserError(f"--out {out or 'runs'}: can't be created: {error.strerror}") from None
    try:
        write_new(run.path / "config.json", job_to_json(config).encode())
    except FileExistsError:  # another process was faster
        raise _occupied(run) from None
    return run


def check_out(out: str, overwrite: bool = False) -> None:
    """Checks that a run can be created at a path, before anything that takes long.

    Raises:
        UserError: it isn't a path that can be written, it has a run and `overwrite` isn't set, or other files.
    """
    if out == "" or "\0" in out:
        raise UserError(f"--out {out!r}: expected a path")
    run = RunDir(Path(out))
    check_folder(run.path)
    if (run.path / BUNDLE).exists():
        raise UserError(f"--out {out}: has the {BUNDLE} of a bundle; expected a new or empty folder, or a run")
    if (run.path / "config.json").exists():
        if not is_job(run.path / "config.json"):
            raise UserError(f"--out {out}: its config.json isn't a run's; expected a new or empty folder, or a run")
        if not overwrite:
            raise _occupied(run)
    elif run.path.is_dir() and any(run.path.iterdir()):
        raise UserError(f"--out {out}: has files, but no config.json of a run; expected a new or empty folder")


def is_job(path: Path) -> bool:
    """Whether a file is some version's config.json of a run."""
    try:
        job = json.loads(reading.read(path, "a run's configuration", MOST_BYTES))
    except (UserError, ValueError, RecursionError):
        return False
    return isinstance(job, dict) and "schema_version" in job


@contextmanager
def removed_if_failed(run: RunDir) -> Iterator[None]:
    """Removes a new run if the block fails before it has weights: nothing can be done with it."""
    try:
        yield
    except BaseException:
        if not run.weights.exists() and not checkpoints.numbers(run.checkpoints):
            run.remove_files()
            with suppress(OSError):  # it has other files
                run.path.rmdir()
        raise


def _occupied(run: RunDir) -> UserError:
    try:
        claim.check_free(run.path)
    except UserError as error:
        return error
    state = "a finished" if run.finished else "an unfinished"
    go_on = ", or --resume to continue it" if not run.finished and checkpoints.numbers(run.checkpoints) else ""
    return UserError(f"--out {run.path}: already contains {state} run; expected another path, or --overwrite{go_on}")


def write_config(run: RunDir, config: Config) -> None:
    """Writes config.json."""
    write_atomic(run.path / "config.json", job_to_json(config).encode())


def open_run(path: str, checkpoint: str | int | None = None) -> tuple[RunDir, Config, layouts.Tensors]:
    """Reads a run directory with weights: (run, its configuration, tensors in torch's layout).

    The model in config.json and the one in the weights' metadata must be the same.

    Args:
        path: the directory.
        checkpoint: the checkpoint whose weights to use: best, last, or a number of iterations; None: the run's latest
            weights.

    Raises:
        UserError: there is no run, it has no weights yet, the checkpoint doesn't exist, or the files don't match.
    """
    run = RunDir(Path(path))
    if not os.path.isdir(path):
        what = "isn't a directory" if os.path.lexists(path) else "no such directory"
        raise UserError(f"{one_line(path)}: {what}, expected a run directory from csnn_jax.train")
    config = run.config()
    if checkpoint is not None:
        run = run.at(checkpoint)
    model, tensors = weights.load(run.weights)
    if model != config.model:
        raise UserError(f"{run.weights}: doesn't match the model in {run.path / 'config.json'}")
    return run, config, tensors


def origin(path: str) -> tuple[ModelConfig, layouts.Tensors]:
    """The network of --init-from: a run directory, or a single weights.safetensors.

    Returns:
        (configuration, tensors in torch's layout). The configuration has the learned parameters of neurons, which flags
            may override.

    Raises:
        UserError: it's neither, or it's damaged.
    """
    try:
        model, tensors = _network(path)
        return _with_learned(model, tensors), tensors
    except UserError as error:
        raise UserError(f"--init-from {error}") from None


def _with_learned(model: ModelConfig, tensors: layouts.Tensors) -> ModelConfig:
    """A network that starts from its learned parameters of neurons, other than those per channel."""
    neurons = [node.operation for node in model.graph.neurons]
    learned = {
        node.name: {name: node.values(tensors)[name] for name in node.learned if name not in node.per_channel}
        for node in neurons
    }
    if model.network is not None:
        nodes = [
            NodeConfig(node.name, node.operation, node.inputs, **dict(node.settings) | learned.get(node.name, {}))
            for node in model.network.nodes
        ]
        return dataclasses.replace(model, network=Nodes(tuple(nodes)))
    values: dict[str, Any] = {}
    for name in set().union(*learned.values()):
        pairs = zip(learned.values(), model.each(name), strict=True)
        values[name] = tuple(trained.get(name, value) for trained, value in pairs)
    return dataclasses.replace(model, **values)


def _network(path: str) -> tuple[ModelConfig, layouts.Tensors]:
    if not Path(path).is_file():
        _, config, tensors = open_run(path)
        return config.model, tensors
    if not path.endswith(".safetensors"):
        expected = "expected a run directory or a weights.safetensors"
        raise UserError(
            f"{path}: {expected}; `python -m csnn_torch.convert FILE --out RUN` converts a state_dict to a run"
        )
    return weights.load(path)


def fresh() -> Path:
    """Creates a unique directory runs/<date-time>."""
    stamp = Path("runs") / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    stamp.parent.mkdir(exist_ok=True)
    path, number = stamp, 1
    while True:
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
            path = Path(f"{stamp}_{number}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
