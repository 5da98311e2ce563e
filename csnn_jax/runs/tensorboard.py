"""A run's records as event files for TensorBoard, with a spike raster at each evaluation (tensorboardX).

The messages and checksums are tensorboardX's. Its `SummaryWriter` isn't used, because it writes in a separate thread
that ends silently when the disk is full, and training then waits for it forever.
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

from csnn_jax import reading
from csnn_jax.errors import UserError
from csnn_jax.files import append, without_links
from csnn_jax.runs.rundir import RunDir

EVALUATIONS = {"test": "test", "validation": "validation", "end": "final"}
"""Kinds of records with an accuracy, and its name here."""

FINAL = f"accuracy/{EVALUATIONS['end']}"

_HEAD, _FOOT = struct.Struct("<QI"), struct.Struct("<I")  # of TFRecord: length and its checksum, the data's checksum


def require() -> None:
    """Imports tensorboardX.

    Raises:
        UserError: it isn't installed; the message names the extra to install.
    """
    try:
        importlib.import_module("tensorboardX")
    except ImportError as error:
        needs = f"--tensorboard needs tensorboardX ({error})"
        raise UserError(f"{needs}; expected `pip install 'csnn-jax[tensorboard]'`") from None


def follow(run: RunDir, start: int, rates: np.ndarray, draw: Callable[[], bytes]) -> RunDir:
    """Returns the run with a listener that also writes its new records to an event file.

    Earlier files lose their events after `start` iterations, because a resumed run writes them again. If there are no
    files yet, earlier records are written first, without rasters.

    Args:
        run: the run; files go to its `tensorboard/`.
        start: number of iterations already done.
        rates: the learning rate of every iteration.
        draw: returns the network's current spike raster as a PNG.

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
        folder: destination of the file.
        start: number of iterations already done; TensorBoard then hides later ones that it has already read.
        rates: the learning rate of every iteration.
    """

    def __init__(self, folder: Path, start: int, rates: np.ndarray):
        from tensorboardX.proto.event_pb2 import SessionLog

        self.rates = rates
        self.path = _unused(folder)
        self._append(file_version="brain.Event:2")
        self._append(step=start + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, record: dict[str, Any], draw: Callable[[], bytes] | None = None) -> None:
        """Writes a record of metrics.jsonl as one event, with a raster if it's an evaluation."""
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
        """The scalars of a record by TensorBoard tag."""
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
    """An unused path that TensorBoard recognizes; it reads files in the order of their seconds."""
    second = int(time.time())
    while True:
        path = folder / f"events.out.tfevents.{second:010d}.{socket.gethostname()}"
        if not path.exists():
            return path
        second += 1


def _truncate(path: Path, start: int) -> None:
    """Truncates an event file before its final accuracy, its first event after `start`, or a damaged one."""
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event

    end = 0
    for data in records(path):
        try:
            event = Event.FromString(data)
        except DecodeError:
            break
        if event.step > start or any(value.tag == FINAL for value in event.summary.value):
            break
        end += _HEAD.size + len(data) + _FOOT.size
    with open(path, "r+b", opener=without_links) as file:
        file.truncate(end)


def records(path: Path) -> Iterator[bytes]:
    """The complete records of a TFRecord file."""
    data, at = reading.read(path, "an event file"), 0
    while at + _HEAD.size <= len(data):
        length, _ = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length + _FOOT.size
        if end > len(data):
            return
        yield data[at + _HEAD.size : end - _FOOT.size]
        at = end
