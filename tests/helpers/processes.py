"""Runs training as several processes that communicate through the loopback interface, each on its own processor."""

import os
import socket
import subprocess
from collections.abc import Sequence

from commands import start


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def begin(flags: Sequence[object], each: Sequence[Sequence[object]]) -> list[subprocess.Popen]:
    """Starts one `csnn_jax.train` per entry of `each`, with `flags` and the entry's own flags."""
    meeting = ("--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", len(each))
    processes = []
    for number, own in enumerate(each):
        process = start("csnn_jax.train", *flags, *meeting, "--process-id", number, *own)
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process.pid, {cores[number % len(cores)]})
        processes.append(process)
    return processes


def end(processes: Sequence[subprocess.Popen]) -> list[subprocess.CompletedProcess]:
    """Waits for all of them."""
    done = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    return done


def together(flags: Sequence[object], each: Sequence[Sequence[object]]) -> list[subprocess.CompletedProcess]:
    """`begin` and `end`."""
    return end(begin(flags, each))
