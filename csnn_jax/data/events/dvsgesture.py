"""DVS Gesture's original files: AEDAT 3.1 with many gestures each, and tables of their times."""

import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from csnn_jax import reading
from csnn_jax.data.events.frames import Recordings, Window
from csnn_jax.data.events.recording import MOST_EVENTS, Events
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.errors import UserError

SENSOR = (128, 128)
NAMES = (
    *("hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise"),
    *("left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures"),
)
HEADER = 28
"""Bytes before each packet of events."""
AEDAT = "an AEDAT 3.1 file"
MOST_BYTES, MOST_TEXT, LONGEST_LINE = 2**32, 2**20, 2**12
"""Maximum sizes in bytes of an AEDAT file, of a table, and of a line in an AEDAT file's header."""
MOST_PACKETS = 2**20
"""Maximum number of packets in a file: several per millisecond."""
POLARITY = 1
"""The type of packets that contain brightness changes."""


class Gesture(NamedTuple):
    """The location of a gesture: a file, the packets that may contain its events, and its time (microseconds)."""

    path: Path
    first: int
    stop: int
    start_us: int
    end_us: int

    def __str__(self) -> str:
        return f"{self.path} from {self.start_us} to {self.end_us} us"


class Packet(NamedTuple):
    """A packet of polarity events: start and size of its data in bytes, and its first and last time."""

    start: int
    size: int
    first_us: int
    last_us: int


def read_dvsgesture(where: str, wanted: Wanted) -> Raw:
    """Reads DVS Gesture (Amir et al. 2017) as published by IBM.

    Args:
        where: the folder with `trials_to_train.txt`, `trials_to_test.txt` and the files of each trial that they list,
            such as `user01_fluorescent.aedat` and `user01_fluorescent_labels.csv`.
        wanted: the network's input.

    Raises:
        UserError: a file is missing, truncated or malformed, or the sensor's size isn't a multiple of the shape.
    """
    window = Window.of(wanted, SENSOR)
    train, test = (_split(Path(where), f"trials_to_{part}.txt", window) for part in ("train", "test"))
    return Raw(train, test, NAMES, notes=window.summary(where))


def read_gesture(gesture: Gesture) -> Events:
    """Reads the events of a gesture, from its start up to but excluding its end, as SpikingJelly does.

    Raises:
        UserError: the file can't be read.
    """
    packets = index(gesture.path)[gesture.first : gesture.stop]
    if (count := sum(packet.size for packet in packets) // 8) > MOST_EVENTS:
        raise UserError(f"{gesture}: has {count:,} events, expected at most {MOST_EVENTS:,}")
    with reading.opened(gesture.path, AEDAT, MOST_BYTES) as file:
        parts = []
        for packet in packets:
            file.seek(packet.start)
            parts.append(file.read(packet.size))
    address, t = np.frombuffer(b"".join(parts), "<u4").reshape(-1, 2).T.astype(np.int64)
    inside = (t >= gesture.start_us) & (t < gesture.end_us)
    address, t = address[inside], t[inside]
    return Events(t, address >> 17 & 0x1FFF, address >> 2 & 0x1FFF, address >> 1 & 1)


@lru_cache(maxsize=256)
def index(path: Path) -> tuple[Packet, ...]:
    """Lists the packets of polarity events in an AEDAT 3.1 file, in order, without reading the events.

    Raises:
        UserError: the file can't be read, isn't AEDAT 3.1, or ends within a packet.
    """
    packets, count = [], 0
    with reading.opened(path, AEDAT, MOST_BYTES) as file:
        size = os.fstat(file.fileno()).st_size
        line = file.readline(LONGEST_LINE)
        if not line.startswith(b"#!AER-DAT3.1"):
            raise UserError(f"{path}: begins with {line[:16]!r}, expected #!AER-DAT3.1")
        while (place := file.tell(), file.readline(LONGEST_LINE))[1].startswith(b"#"):
            pass
        while place < size:
            file.seek(place)
            header = file.read(HEADER)
            if len(header) < HEADER:
                raise _cut(path, size)
            if (count := count + 1) > MOST_PACKETS:
                raise UserError(f"{path}: has more than {MOST_PACKETS:,} packets, expected a recording of DVS Gesture")
            kind, _, each, offset, _, capacity, *_ = struct.unpack("<HH6I", header)
            start, place = place + HEADER, place + HEADER + each * capacity
            if place > size or (kind == POLARITY and (each, offset) != (8, 4)):
                raise _cut(path, size)
            if kind == POLARITY and capacity:
                file.seek(start + 4)
                first = struct.unpack("<I", file.read(4))[0]
                file.seek(place - 4)
                packets.append(Packet(start, place - start, first, struct.unpack("<I", file.read(4))[0]))
    return tuple(packets)


def _cut(path: Path, size: int) -> UserError:
    return UserError(f"{path}: ends within a packet after {size} bytes, expected whole packets of events")


def _split(folder: Path, trials: str, window: Window) -> Pair:
    names = [line.strip() for line in _text(folder / trials).splitlines() if line.strip()]
    if not names:
        raise UserError(f"{folder / trials}: lists no trials, expected lines such as user01_fluorescent.aedat")
    gestures: list[Gesture] = []
    labels: list[int] = []
    for name in names:
        if Path(name).name != name or not name.isprintable():
            raise UserError(
                f"{folder / trials}: {name!r}, expected the name of a file such as user01_fluorescent.aedat"
            )
        path = folder / name
        if not os.path.lexists(path):
            raise UserError(f"{folder / trials}: lists {name}, which isn't there, expected files next to it")
        packets = index(path)
        for label, start, end in _table(path.with_name(f"{path.stem}_labels.csv")):
            within = [n for n, one in enumerate(packets) if one.last_us >= start and one.first_us < end]
            first, stop = (within[0], within[-1] + 1) if within else (0, 0)
            gestures.append(Gesture(path, first, stop, start, end))
            labels.append(label - 1)
    return Recordings(gestures, read_gesture, window), np.array(labels)


def _table(path: Path) -> list[tuple[int, int, int]]:
    """Class (1 to 11), start and end (microseconds) of each gesture."""
    rows = [line.split(",") for line in _text(path).splitlines()]
    if not rows or rows[0] != ["class", "startTime_usec", "endTime_usec"]:
        raise UserError(f"{path}: expected the columns class,startTime_usec,endTime_usec")
    gestures = []
    for row in filter(any, rows[1:]):
        problem = f"{path}: {','.join(row)[:60]!r}"
        try:
            label, start, end = map(int, row)
        except ValueError:
            raise UserError(f"{problem}, expected three whole numbers") from None
        if not 1 <= label <= len(NAMES) or end <= start:
            raise UserError(f"{problem}, expected a class from 1 to {len(NAMES)}, a start and a later end")
        gestures.append((label, start, end))
    if not gestures:
        raise UserError(f"{path}: lists no gestures, expected rows such as 1,100000,900000")
    return gestures


def _text(path: Path) -> str:
    try:
        return reading.read(path, "a text file of DVS Gesture", MOST_TEXT).decode()
    except UnicodeDecodeError:
        raise UserError(f"{path}: isn't text, expected a text file of DVS Gesture") from None


READER = Reader(read_dvsgesture, recordings=True, sensor=SENSOR)
