"""Recordings of a small event camera, in files of several formats. Each is random with its own fixed seed."""

import struct
from pathlib import Path

import numpy as np

from csnn_jax.data.events.recording import Events

COLUMNS = "class,startTime_usec,endTime_usec"


def drawn(seed: int, count: int = 400, sensor: tuple[int, int] = (34, 34), last_us: int = 300_000) -> Events:
    """Events across a sensor, in order of time."""
    random = np.random.default_rng(seed)
    height, width = sensor
    t = np.sort(random.integers(0, last_us, count))
    return Events(t, random.integers(0, width, count), random.integers(0, height, count), random.integers(0, 2, count))


def bar(label: int, seed: int) -> Events:
    """Events of a bar on N-MNIST's sensor, whose position shows its class."""
    events = drawn(seed)
    return events._replace(x=3 * label + events.x % 4)


def nmnist_bytes(events: Events) -> bytes:
    """An N-MNIST file, following the format's description: x, y, polarity in bit 23, and microseconds, big-endian."""
    words = zip(*map(np.ndarray.tolist, (events.x, events.y, events.p << 23 | events.t)), strict=True)
    return b"".join(struct.pack(">BB", x, y) + word.to_bytes(3, "big") for x, y, word in words)


def write_nmnist(folder: Path, train: int = 6, test: int = 2) -> str:
    """Writes N-MNIST with this many recordings per class; returns the value for `--dataset`."""
    for part, count in (("Train", train), ("Test", test)):
        for label in range(10):
            where = folder / part / str(label)
            where.mkdir(parents=True)
            for number in range(count):
                events = bar(label, hash((part == "Test", label, number)) % 2**32)
                (where / f"{number:05}.bin").write_bytes(nmnist_bytes(events))
    return f"nmnist:{folder}"


def aedat31_bytes(events: Events, packet: int = 50) -> bytes:
    """An AEDAT 3.1 file with up to `packet` events in each packet."""
    address = (events.x << 17 | events.y << 2 | events.p << 1 | 1).astype("<u4")
    words = np.stack([address, events.t.astype("<u4")], 1)
    parts = [b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"]
    for start in range(0, len(words), packet):
        rows = words[start : start + packet]
        parts += [struct.pack("<HH6I", 1, 1, 8, 4, 0, len(rows), len(rows), len(rows)), rows.tobytes()]
    return b"".join(parts)


def write_dvsgesture(folder: Path) -> str:
    """Writes two trials of DVS Gesture, one for training and one for testing, with three gestures each."""
    folder.mkdir(exist_ok=True)
    for number, part in enumerate(("train", "test")):
        name = f"user0{number + 1}_led"
        events = drawn(number, 3000, (128, 128), 3_000_000)
        (folder / f"{name}.aedat").write_bytes(aedat31_bytes(events))
        table = "1,100000,900000\n4,1000000,1900000\n11,2000000,2900000\n"
        (folder / f"{name}_labels.csv").write_text(f"{COLUMNS}\n{table}")
        (folder / f"trials_to_{part}.txt").write_text(f"{name}.aedat\n")
    return f"dvsgesture:{folder}"


def faerys_bytes(events: Events, path: Path, sensor: tuple[int, int], **how: object) -> bytes:
    """A file as written by the package faery, in the format given by its extension."""
    import faery

    array = np.zeros(len(events.t), faery.EVENTS_DTYPE)
    for name, values in zip(("t", "x", "y", "on"), events, strict=True):
        array[name] = values
    faery.events_stream_from_array(array, dimensions=(sensor[1], sensor[0])).to_file(path, **how)
    return path.read_bytes()


def write_archives(folder: Path, sensor: tuple[int, int] = (12, 16), told: bool = True) -> str:
    """Writes two classes of recordings as NumPy archives."""
    for part, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("left", "right")):
            where = folder / part / name
            where.mkdir(parents=True)
            for number in range(count):
                events = drawn(1000 * label + 10 * count + number, 300, sensor)
                half = events._replace(x=events.x // 2 + label * sensor[1] // 2)
                size = {"height": sensor[0], "width": sensor[1]} if told else {}
                np.savez(where / f"{number}.npz", **half._asdict(), **size)
    return f"events:{folder}"
