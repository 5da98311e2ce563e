"""Reads TensorBoard's event files according to the format's description, including checksums."""

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c


def events(folder: Path) -> list[Event]:
    """The events in a run's files, in TensorBoard's reading order."""
    records = []
    for path in sorted(folder.iterdir()):
        assert "tfevents" in path.name
        data = path.read_bytes()
        while data:
            length, checksum = struct.unpack("<QI", data[:12])
            assert checksum == masked_crc32c(data[:8]) and len(data) >= 16 + length
            body = data[12 : 12 + length]
            assert struct.unpack("<I", data[12 + length : 16 + length]) == (masked_crc32c(body),)
            records.append(Event.FromString(body))
            data = data[16 + length :]
    return records


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """The values of every tag by step; no step occurs twice."""
    curves: dict[str, dict[int, float]] = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                assert event.step not in curves.setdefault(value.tag, {})
                curves[value.tag][event.step] = value.simple_value
    return curves


def pictures(folder: Path) -> dict[int, bytes]:
    """The spike rasters, by step."""
    rasters = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField("image"):
                assert value.tag == "spikes" and event.step not in rasters
                rasters[event.step] = value.image.encoded_image_string
    return rasters
