"""The child process of `csnn_jax.reading.child`: calls a script's function `answer` for one file after another.

For each, it reads a line of JSON from stdin, and passes it to `answer` as a dict. To stdout, it writes the dict that
`answer` returns as a line of JSON, with the number of `bytes` that follow it. It starts quickly because it imports
nothing from this package.
"""

import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

try:
    import resource
except ImportError:  # Windows, where nothing is limited
    resource = None  # type: ignore[assignment]

Answer = Callable[[dict[str, Any]], tuple[dict[str, Any], Any]]


def main(script: str) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    try:
        answer, missing = runpy.run_path(script)["answer"], ""
    except ImportError as error:
        answer, missing = None, str(error)
    for line in sys.stdin.buffer:
        result, data = ({"missing": missing}, b"") if answer is None else _answered(answer, json.loads(line))
        _write(result, data, answers)


def _answered(answer: Answer, asked: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """What `answer` returns, within limits; or {"error", "panic"}."""
    try:
        if resource is not None:
            _limit(resource.RLIMIT_CORE, 0)
            _limit(resource.RLIMIT_AS, asked["memory"])
            _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + asked["seconds"])
        return answer(asked)
    except BaseException as error:  # a Rust panic isn't an Exception
        return {"error": _reason(error), "panic": not isinstance(error, Exception)}, b""


def _write(answer: dict[str, Any], data: Any, answers: BinaryIO) -> None:
    answers.write(json.dumps(answer | {"bytes": memoryview(data).nbytes}).encode() + b"\n")
    answers.write(data)
    answers.flush()


def _limit(kind: int, amount: int) -> None:
    """Limits this process's resources from now on; a later call may raise the limit."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))


def _reason(error: BaseException) -> str:
    """The start of an error's message, printable only, because it may contain bytes of a damaged file."""
    line = (str(error).splitlines() or [""])[0][:200]
    return "".join(letter for letter in line if letter.isprintable()) or type(error).__name__


if __name__ == "__main__":
    main(sys.argv[1])
