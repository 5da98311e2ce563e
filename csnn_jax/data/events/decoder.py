"""Decodes event files with the package faery, in a child process.

On damaged files, faery's Rust code may crash its process or use up all memory.
"""

from pathlib import Path

import numpy as np

from csnn_jax.data.events.recording import MOST_EVENTS, Events, Size
from csnn_jax.errors import UserError
from csnn_jax.reading.child import Child

TYPES = {".aedat": "aedat", ".aedat4": "aedat", ".csv": "csv", ".dat": "dat", ".es": "es", ".raw": "evt"}
"""faery's name of each format, by file extension; .aedat is also AEDAT4, and .raw is EVT2 or EVT3."""
MEMORY = (2**30, 256, 2**32)
"""Memory for decoding a file, in bytes: a base, an amount per byte of the file, and a maximum that fits
`MOST_EVENTS`."""
SECONDS = 60
"""CPU seconds for decoding a file, plus one per MB of the file."""
UNKNOWN = (65535, 65535)
"""faery's answer if a file doesn't state its sensor."""
DTYPE = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
"""The dtype of faery's events."""


class Decoder(Child):
    """Decodes files one after another, for all threads."""

    def __init__(self) -> None:
        super().__init__(Path(__file__).with_name("decoder_child.py"))

    def read(self, path: Path) -> tuple[Events, Size | None]:
        """Returns a file's events, and the height and width of the sensor if the file states them.

        Raises:
            UserError: the file is damaged or takes too much time or memory, or the package faery is missing.
        """
        kind = TYPES.get(path.suffix.lower())
        if kind is None:
            raise UserError(f"{path}: expected a recording in a file of type {', '.join(('.bin', '.npz', *TYPES))}")
        size, (least, each, most) = path.stat().st_size, MEMORY
        memory, seconds = min(least + each * size, most), SECONDS + size // 1_000_000
        answer, data = self.ask(path, memory, seconds, type=kind, unknown=UNKNOWN, most=MOST_EVENTS)
        if missing := answer.get("missing"):
            expected = "expected the package faery (pip install 'csnn-jax[events]') or .npz files"
            raise UserError(f"{path}: {missing}; {expected}")
        if error := answer.get("error"):
            raise UserError(f"{path}: damaged: {error}; expected a recording that faery reads")
        events, (width, height) = np.frombuffer(data, DTYPE), answer["sensor"]
        sensor = None if (width, height) == UNKNOWN else (height, width)
        return Events(*(events[name] for name in ("t", "x", "y", "on"))), sensor


DECODER = Decoder()
