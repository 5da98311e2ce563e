"""Reads files in a child process, because on damaged files some libraries crash, never return or use up all memory.

A child reads one file after another, within limits on memory and time, and is replaced if it dies.
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


class Child:
    """A process that answers one question after another, for all threads. It starts when it's first needed.

    Args:
        script: a Python file with a function `answer`, see `child_main`.
    """

    def __init__(self, script: Path) -> None:
        self._script, self._lock = script, Lock()
        self._child: subprocess.Popen | None = None
        atexit.register(self.close)

    def ask(self, path: Path, memory: int, seconds: int, **asked: Any) -> tuple[dict[str, Any], bytes]:
        """Calls `answer` in the child.

        Args:
            path: the file to read.
            memory: limit on the child's memory, bytes.
            seconds: limit on the CPU time of this call.
            asked: more for `answer`, as JSON takes it.

        Returns:
            What `answer` returned; or, without bytes, {"missing": what can't be imported}, or {"error": the start of
                an exception's message, or why the child died}.
        """
        asked |= {"path": os.path.abspath(path), "memory": memory, "seconds": seconds}  # the child has its own folder
        with self._lock:
            try:
                answer, data = self._answer(asked)
            except BaseException:  # such as Ctrl-C: the rest of this answer would be read as the next one
                self.close()
                raise
            if answer.get("panic"):  # the library's state is unreliable
                self.close()
        return answer, data

    def close(self) -> None:
        """Ends the child, if there is one."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _answer(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            self._child = _started(self._script)
        requests, answers = self._child.stdin, self._child.stdout
        assert requests is not None and answers is not None
        with suppress(BrokenPipeError):  # the child has died
            requests.write(json.dumps(asked).encode() + b"\n")
            requests.flush()
        line = answers.readline()
        answer = json.loads(line) if line.endswith(b"\n") else {"bytes": 1}
        data = answers.read(answer["bytes"])
        if len(data) < answer["bytes"]:
            return {"error": _end(self._child.wait())}, b""
        return answer, data


def _started(script: Path) -> subprocess.Popen:
    main = str(Path(__file__).with_name("child_main.py"))
    few = {"OPENBLAS_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}  # threads cost memory, backtraces time
    return subprocess.Popen(
        [sys.executable, "-P", main, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | few,
        start_new_session=True,  # Ctrl-C only reaches this process; when it exits, the child's input ends
    )


def _end(code: int) -> str:
    """Why the child died."""
    if sys.platform != "win32" and -code == signal.SIGXCPU:
        return "reading takes too long"
    return f"reading ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"
