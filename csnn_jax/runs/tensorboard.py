"""A run's records as event files for TensorBoard, with a spike raster at each evaluation (tensorboardX).

The messages and checksums are tensorboardX's. Its `SummaryWriter` is not used: a thread of its own writes there, which
a full disk ends silently, and then training waits for it for ever.
"""

import importlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax.errors import UserError
from csnn_jax.files import append
from csnn_jax.runs.rundir import RunDir

EVALUATIONS = {"test": "test", "validation": "validation", "end": "final"}
"""Kinds of records that hold an accuracy, and what it is called here."""

FINAL = f"accuracy/{EVALUATIONS['end']}"

_HEAD, _FOOT = struct.Struct("<QI"), struct.Struct("<I")  # of TFRecord: length and its checksum, the data's checksum


def require() -> None:
    """Imports tensorboardX.

    Raises:
        UserError: it is not there; says which extra to install.
    """
    try:
        importlib.import_module("tensorboardX")
    except ImportError as error:
        needs = f"--tensorboard needs tensorboardX ({error})"
        raise UserError(f"{needs}; expected `pip install 'csnn-jax[tensorboard]'`") from None


def follow(run: RunDir, start: int, rates: np.ndarray, draw: Callable[[], bytes]) -> RunDir:
    """The run, whose records from now on go into an event file too.

    What earlier files hold of iterations after `start` is dropped, for a resumed run writes it again. Where there
    are none yet, the records of the iterations before are written first, without rasters.

    Args:
        run: where `tensorboard/` is.
        start: iterations done before.
        rates: the learning rate of every iteration.
        draw: makes the spike raster of the network as it is, a PNG.

    Raises:
        UserError: the folder can't be written.
    """
    folder = run.path / "tensorboard"
    try:
        folder.mkdir(exist_ok=True)
        before = sorted(folder.glob("*tfevents*"))
        for path in before:
            _truncate(path, start)
    except OSError as error:
        raise UserError(f"{folder}: can't be written: {error.strerror}") from None
    events = EventFiles(folder, start, rates)
    for record in [] if before else run.records():
        events.write(record)
    return replace(run, listeners=(*run.listeners, lambda record: events.write(record, draw)))


class EventFiles:
    """Writes an event file for TensorBoard.

    Args:
        folder: where it goes.
        start: iterations done before; TensorBoard hides those after them that it has read before.
        rates: the learning rate of every iteration.
    """

    def __init__(self, folder: Path, start: int, rates: np.ndarray):
        from tensorboardX.proto.event_pb2 import SessionLog

        self.rates = rates
        self.path = _unused(folder)
        self._append(file_version="brain.Event:2")
        self._append(step=start + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, record: dict[str, Any], draw: Callable[[], bytes] | None = None) -> None:
        """Writes what a record of metrics.jsonl tells as one event, with a raster where it is an evaluation's."""
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in self._scalars(record).items()]
        if draw and values and record["kind"] in EVALUATIONS:
            png = draw()
            width, height = struct.unpack(">II", png[16:24])
            image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)  # 4: RGBA
            values.append(Summary.Value(tag="spikes", image=image))
        if values:
            self._append(step=record["iter"], summary=Summary(value=values))

    def _scalars(self, record: dict[str, Any]) -> dict[str, float]:
        """The scalars of a record by TensorBoard's tags."""
        if record["kind"] == "train":
            rate = float(self.rates[record["iter"] - 1])
            once = {"loss": record["loss"], "learning_rate": rate, "images_per_s": record["images_per_s"]}
            return once | _by_layer(record, "density") | _by_layer(record, "gradient")
        if record["kind"] in EVALUATIONS and not record.get("interrupted"):
            name = EVALUATIONS[record["kind"]]
            layers = _by_layer(record, "density", f"_{name}") | _by_layer(record, "dead", f"_{name}")
            return {f"accuracy/{name}": record["accuracy"]} | layers
        return {}

    def _append(self, **fields: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import masked_crc32c

        data = Event(wall_time=time.time(), **fields).SerializeToString()
        length = struct.pack("<Q", len(data))
        append(self.path, length + _FOOT.pack(masked_crc32c(length)) + data + _FOOT.pack(masked_crc32c(data)))


def _by_layer(record: dict[str, Any], key: str, suffix: str = "") -> dict[str, float]:
    return {f"{key}{suffix}/{layer}": value for layer, value in record[key].items()}


def _unused(folder: Path) -> Path:
    """A path as TensorBoard looks for it; files are read in the order of their seconds."""
    second = int(time.time())
    while True:
        path = folder / f"events.out.tfevents.{second:010d}.{socket.gethostname()}"
        if not path.exists():
            return path
        second += 1


def _truncate(path: Path, start: int) -> None:
    """Cuts an event file off before its end, its first event of an iteration after `start`, or a damaged one."""
    from tensorboardX.proto.event_pb2 import Event

    end = 0
    for data in records(path):
        event = Event.FromString(data)
        if event.step > start or any(value.tag == FINAL for value in event.summary.value):
            break
        end += _HEAD.size + len(data) + _FOOT.size
    with open(path, "r+b") as file:
        file.truncate(end)


def records(path: Path) -> Iterator[bytes]:
    """The whole records of a TFRecord file."""
    data, at = path.read_bytes(), 0
    while at + _HEAD.size <= len(data):
        length, _ = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length + _FOOT.size
        if end > len(data):
            return
        yield data[at + _HEAD.size : end - _FOOT.size]
        at = end
