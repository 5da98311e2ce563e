"""Decodes event files with the package faery, in a separate process.

On damaged files, faery's Rust code may crash its process or use up all memory. It therefore runs in a child process
with limits on memory and time. The child decodes one file after another and is replaced if it dies.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from csnn_jax.data.events.recording import MOST_EVENTS, Events, Size
from csnn_jax.errors import UserError

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


class Decoder:
    """Decodes files one after another, for all threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._child: subprocess.Popen | None = None
        atexit.register(self.close)

    def read(self, path: Path) -> tuple[Events, Size | None]:
        """Returns a file's events, and the height and width of the sensor if the file states them.

        Raises:
            UserError: the file is damaged or takes too much time or memory, or the package faery is missing.
        """
        with self._lock:
            try:
                found, data = self._answer(_asked(path))
            except BaseException:  # such as Ctrl-C: the rest of this answer would be read as the next one
                self.close()
                raise
            if found.get("panic"):  # faery's state is unreliable after a panic
                self.close()
        if missing := found.get("missing"):
            expected = "expected the package faery (pip install 'csnn-jax[events]') or .npz files"
            raise UserError(f"{path}: {missing}; {expected}")
        if error := found.get("error"):
            raise UserError(f"{path}: damaged: {error}; expected a recording that faery reads")
        events, (width, height) = np.frombuffer(data, DTYPE), found["sensor"]
        sensor = None if (width, height) == UNKNOWN else (height, width)
        return Events(*(events[name] for name in ("t", "x", "y", "on"))), sensor

    def close(self) -> None:
        """Ends the child process, if there is one."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _answer(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            self._child = _started()
        requests, answers = self._child.stdin, self._child.stdout
        assert requests is not None and answers is not None
        with suppress(BrokenPipeError):  # the child has died
            requests.write(json.dumps(asked).encode() + b"\n")
            requests.flush()
        line = answers.readline()
        answer = json.loads(line) if line.endswith(b"\n") else {}
        data = answers.read(DTYPE.itemsize * answer.get("count", 0))
        if not answer or len(data) < DTYPE.itemsize * answer.get("count", 0):
            answer = {"error": _end(self._child.wait())}
        return answer, data


def _asked(path: Path) -> dict[str, Any]:
    size, (least, each, most) = path.stat().st_size, MEMORY
    return {
        "path": os.path.abspath(path),  # this process may have changed directory since the child started
        "type": TYPES[path.suffix.lower()],
        "unknown": UNKNOWN,
        "most": MOST_EVENTS,
        "memory": min(least + each * size, most),
        "seconds": SECONDS + size // 1_000_000,
    }


def _started() -> subprocess.Popen:
    script = str(Path(__file__).with_name("decoder_child.py"))
    few = {"OPENBLAS_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}  # threads cost memory, backtraces time
    return subprocess.Popen(
        [sys.executable, "-P", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | few,
        start_new_session=True,  # Ctrl-C only reaches this process; when it exits, the child's input ends
    )


def _end(code: int) -> str:
    """Why the child died."""
    if -code == signal.SIGXCPU:
        return "decoding takes too long"
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"decoding ended with {name}"


DECODER = Decoder()
