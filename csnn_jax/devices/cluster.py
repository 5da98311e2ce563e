"""The processes of a job on one or more hosts, using JAX's distributed runtime: how they connect, agree and end."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from csnn_jax.devices.flags import JaxFlags, split
from csnn_jax.devices.mesh import Devices
from csnn_jax.errors import UserError, first_line

T = TypeVar("T")

HEARTBEAT = 30
"""Seconds without a heartbeat after which a process counts as dead, and the runtime ends the others."""
DIGEST = 8  # bytes of a fact's hash
SHOWN = 40  # bytes of a fact's value in a message


def connect(flags: JaxFlags) -> None:
    """Connects to the other processes on the first call, which must come before JAX initializes its devices.

    On a timeout, JAX's runtime would end the process with a stack trace; a timer ends it first, with one line.

    Raises:
        UserError: the environment isn't supported by JAX, the port isn't available, or the coordinator doesn't answer.
    """
    if jax.distributed.is_initialized():
        return
    seconds = flags.connect_timeout
    if flags.coordinator is not None:
        host, port = split(flags.coordinator) or ("", 0)
        if flags.process_id == 0:
            _check_port(flags.coordinator, port)
        else:
            _wait(flags.coordinator, host, port, seconds)
    watch = threading.Timer(seconds, _nobody, (flags,))
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(
            flags.coordinator,
            flags.num_processes,
            flags.process_id,
            cluster_detection_method="deactivate" if flags.coordinator else None,
            initialization_timeout=2 * seconds,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except (ValueError, RuntimeError) as error:
        expected = "expected a cluster that JAX supports (Slurm, Open MPI, Kubernetes), or --coordinator"
        raise UserError(f"--distributed: {expected}; JAX says: {first_line(error)}") from None
    finally:
        watch.cancel()


def _check_port(coordinator: str, port: int) -> None:
    try:
        with socket.create_server(("", port)):
            pass
    except OSError as error:
        raise UserError(f"--coordinator {coordinator}: can't listen on this port: {error.strerror}") from None


def _wait(coordinator: str, host: str, port: int, seconds: int) -> None:
    """Waits until the first process listens."""
    end, reason = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        try:
            socket.create_connection((host, port), timeout=max(0.1, end - time.monotonic())).close()
            return
        except OSError as error:
            reason = first_line(error)
            time.sleep(0.5)
    raise UserError(f"--coordinator {coordinator}: no answer within {seconds} s ({reason}); is process 0 running?")


def _nobody(flags: JaxFlags) -> None:
    where = f"--coordinator {flags.coordinator}" if flags.coordinator else "--distributed"
    of = f"all {flags.num_processes} processes" if flags.num_processes else "all processes"
    leave(f"{where}: not {of} connected within {flags.connect_timeout} s; --connect-timeout sets this limit")


def leave(message: str) -> NoReturn:
    """Ends this process at once, without waiting for the others; they notice."""
    print(f"error: {message}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(2)


@contextmanager
def leaving() -> Iterator[None]:
    """Ends the process with one line if the block fails, without waiting for the others, which can't continue."""
    try:
        yield
    except UserError as error:
        leave(str(error))
    except (ValueError, RuntimeError) as error:  # from XLA, if a connection breaks
        if not isinstance(error, jax.errors.JaxRuntimeError) and "Gloo" not in str(error):
            raise
        reason = first_line(error).rpartition("] ")[2][:200]
        leave(f"another process of this job has ended; restart all of them with --resume ({reason})")


@contextmanager
def _muted() -> Iterator[None]:
    """Silences C++ libraries: gloo prints a greeting to stdout in every process."""
    sys.stdout.flush()
    before, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(nowhere)


class Cluster:
    """The processes that `connect` connected; see `training.processes.Processes`.

    Args:
        devices: the job's devices.
    """

    def __init__(self, devices: Devices):
        self._devices, self._index = devices, jax.process_index()
        self.first = self._index == 0
        with _muted():
            self.maximum(0)

    def each(self, function: Callable[[], T]) -> T:
        message = ""
        try:
            result = function()
        except UserError as error:
            message = str(error) or "failed"
        lengths = self._gather(np.array([len(message.encode())]))[:, 0]
        if lengths.any():
            culprit = int(np.flatnonzero(lengths)[0])
            text = self._broadcast(message.encode(), int(lengths[culprit]), culprit).decode()
            raise UserError(text if culprit == self._index else f"process {culprit}: {text}")
        return result

    def broadcast(self, function: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> T:
        data, failed = b"", False
        if self.first:
            try:
                data = pack(function())
            except UserError as error:
                data, failed = str(error).encode(), True
        length, bad = map(int, self._gather(np.array([len(data), failed]))[0])
        data = self._broadcast(data, length, 0)
        if bad:
            raise UserError(data.decode())
        return unpack(data)

    def check_same(self, facts: Callable[[], Mapping[str, str]]) -> None:
        names, values = zip(*facts().items(), strict=True)
        digests = np.array([list(sha256(value.encode()).digest()[:DIGEST]) for value in values], np.uint8)
        all_digests = self._gather(digests)  # [processes, facts, bytes]
        for process, other in enumerate(all_digests):
            for name, differs in zip(names, (other != all_digests[0]).any(1), strict=True):
                if differs:
                    value = values[names.index(name)]
                    here, there = self._value_of(value, 0), self._value_of(value, process)
                    raise UserError(f"{name}: process {process} was started with {there}, process 0 with {here}")

    def maximum(self, value: int) -> int:
        return self._devices.maximum(value)

    def _gather(self, array: np.ndarray) -> np.ndarray:
        """All processes' arrays, which have the same shape: [processes, ...]."""
        return np.asarray(multihost_utils.process_allgather(array))

    def _value_of(self, value: str, source: int) -> str:
        """One process's value; a long one, such as a hash, is cut."""
        data = value.encode()[:SHOWN]
        length = int(self._gather(np.array([len(data)]))[source, 0])
        return self._broadcast(data, length, source).decode(errors="ignore")

    def _broadcast(self, data: bytes, length: int, source: int) -> bytes:
        """One process's bytes, in all processes; the others must know their number."""
        is_source = self._index == source
        array = np.frombuffer(data, np.uint8) if is_source else np.zeros(length, np.uint8)
        return multihost_utils.broadcast_one_to_all(array, is_source).tobytes() if length else b""
