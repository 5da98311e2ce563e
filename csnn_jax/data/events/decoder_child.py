"""Decodes event files with faery, whose Rust code crashes on some damaged files.

`csnn_jax.data.events.decoder` has it run in a child process, see `csnn_jax.reading.child_main`.
"""

from pathlib import Path
from typing import Any

import faery
import numpy as np


def answer(asked: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The sensor's width and height, and the events."""
    size = tuple(asked["unknown"])
    path, csv = Path(asked["path"]), faery.CsvProperties.default()
    if asked["type"] == "csv":  # otherwise faery treats the first event as column names
        csv.has_header = not path.open("rb").read(1).isdigit()
    stream = faery.events_stream_from_file(path, dimensions_fallback=size, file_type=asked["type"], csv_properties=csv)
    parts, count = [], 0
    for part in stream:
        parts.append(part)
        count += len(part)
        if count > asked["most"]:
            raise ValueError(f"has more than {asked['most']:,} events")
    events = np.concatenate([np.empty(0, faery.EVENTS_DTYPE), *parts], dtype=faery.EVENTS_DTYPE)
    return {"sensor": stream.dimensions()}, events.data
