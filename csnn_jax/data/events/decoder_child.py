"""A process that decodes event files with faery, whose Rust code ends its process on some damaged files.

`csnn_jax.data.events.decoder` runs it as a script. It reads a line of JSON for each file from stdin, and writes one of
JSON to stdout, followed by the events. It imports nothing of this package, so it starts quickly.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin.buffer:
        answer(json.loads(line), answers)


def answer(asked: dict[str, Any], answers: BinaryIO) -> None:
    """Decodes one file: {"count", "sensor"} and then the events, {"error", "panic"}, or {"missing"} without faery."""
    try:
        found, events = decoded(asked)
    except ImportError as error:
        found, events = {"missing": str(error)}, b""
    except BaseException as error:  # a panic of Rust is no Exception
        found, events = {"error": told(error), "panic": not isinstance(error, Exception)}, b""
    answers.write(json.dumps(found).encode() + b"\n")
    answers.write(events)
    answers.flush()


def decoded(asked: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The number of events and the sensor's width and height, and the events themselves."""
    import faery
    import numpy as np

    limit(resource.RLIMIT_AS, asked["memory"])
    limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + asked["seconds"])
    size = tuple(asked["unknown"])
    path, csv = Path(asked["path"]), faery.CsvProperties.default()
    if asked["type"] == "csv":  # else faery takes the first event for names of columns
        csv.has_header = not path.open("rb").read(1).isdigit()
    stream = faery.events_stream_from_file(path, dimensions_fallback=size, file_type=asked["type"], csv_properties=csv)
    parts, count = [], 0
    for part in stream:
        parts.append(part)
        count += len(part)
        if count > asked["most"]:
            raise ValueError(f"has more than {asked['most']:,} events")
    events = np.concatenate([np.empty(0, faery.EVENTS_DTYPE), *parts], dtype=faery.EVENTS_DTYPE)
    return {"count": count, "sensor": stream.dimensions()}, events.data


def limit(kind: int, amount: int) -> None:
    """Bounds what this process may use from now on; a later call may allow more again."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))


def told(error: BaseException) -> str:
    """The start of what an error says, as it may be printed: a damaged file's bytes may be in it."""
    line = (str(error).splitlines() or [""])[0][:200]
    return "".join(letter for letter in line if letter.isprintable()) or type(error).__name__


if __name__ == "__main__":
    main()
