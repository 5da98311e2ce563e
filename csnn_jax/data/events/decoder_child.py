"""A process that decodes event files with faery, whose Rust code crashes on some damaged files.

`csnn_jax.data.events.decoder` runs it as a script. For each file, it reads a line of JSON from stdin and writes one to
stdout, followed by the events. It starts quickly because it imports nothing from this package.
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
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    for line in sys.stdin.buffer:
        answer(json.loads(line), answers)


def answer(asked: dict[str, Any], answers: BinaryIO) -> None:
    """Decodes one file: {"count", "sensor"} and then the events, {"error", "panic"}, or {"missing"} without faery."""
    try:
        found, events = decoded(asked)
    except ImportError as error:
        found, events = {"missing": str(error)}, b""
    except BaseException as error:  # a Rust panic isn't an Exception
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
    return {"count": count, "sensor": stream.dimensions()}, events.data


def limit(kind: int, amount: int) -> None:
    """Limits this process's resources from now on; a later call may raise the limit."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))


def told(error: BaseException) -> str:
    """The start of an error's message, printable only, because it may contain bytes of a damaged file."""
    line = (str(error).splitlines() or [""])[0][:200]
    return "".join(letter for letter in line if letter.isprintable()) or type(error).__name__


if __name__ == "__main__":
    main()
