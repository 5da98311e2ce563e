"""The C program: written, compiled and called, as a program and as a library one time step at a time."""

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from csnn_jax.config import ModelConfig
from csnn_jax.data.events.frames import Window
from csnn_jax.errors import UserError, first_error
from csnn_jax.files import write_atomic
from csnn_jax.runs.layouts import Tensors
from export.c import headers

SOURCES = ("csnn.c", "csnn.h", "sums.h", "main.c", "events.c", "program.h", "Makefile")
FILES = (*SOURCES, "network.h", "weights.h")


class Built(NamedTuple):
    """What `build` makes: the program, and the library."""

    program: Path
    library: Path


def write_sources(
    folder: Path, config: ModelConfig, tensors: Tensors, frames: int | None = None, window: Window | None = None
) -> None:
    """Writes the program's sources, `FILES`.

    Args:
        folder: where to; made if it is not there.
        config: the stack.
        tensors: its parameters in torch's layouts and on their grids, see `weights.load`.
        frames: how many frames a sample has; None: what the encoding says, one image for direct, else one frame of
            0 and 1 for every time step.
        window: what makes frames of a camera's events; None: the program takes none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        write_atomic(folder / name, resources.files("export.c").joinpath(name).read_bytes())
    write_atomic(folder / "network.h", headers.network(config, frames, window).encode())
    write_atomic(folder / "weights.h", "".join(headers.weights(config, tensors)).encode())


def build(folder: Path, out: Path) -> Built:
    """Compiles the sources in `folder` with their Makefile.

    Args:
        folder: the sources; only read.
        out: a folder for the program, `csnn`, and the library, `libcsnn.so`.

    Raises:
        UserError: no make, no compiler, or one that failed.
    """
    if not shutil.which("make"):
        raise UserError("the C program can't be built: make is not on the PATH")
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise UserError("the C program can't be built: none of the compilers cc, gcc and clang is on the PATH")
    settings = f"BUILD={out.resolve()}", f"CC={compiler}"
    command = ["make", "-s", "-C", str(folder.resolve()), "-f", "Makefile", *settings, "all"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"the C program can't be built: {compiler} failed: {first_error(done.stderr)}")
    return Built(out / "csnn", out / "libcsnn.so")


def counts(program: Path, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs the compiled program on samples, through its standard input.

    Args:
        program: a program that `build` made.
        samples: uint8 [N, H, W, C], or [N, T, H, W, C] where a sample is a sequence of frames.

    Returns:
        (classes [N], -1 where no class spiked; output spikes of every class [N, classes]), both int64.

    Raises:
        UserError: the program failed; says how.
    """
    lines = printed(program, samples).replace("class -", "class -1").splitlines()
    found = [[int(n) for n in re.findall(r"-?\d+", line)] for line in lines]
    table = np.array(found, np.int64).reshape(len(samples), -1)
    return table[:, 0], table[:, 1:]


def printed(program: Path, samples: np.ndarray) -> str:
    """The lines that the compiled program prints for samples; arguments and errors are those of `counts`."""
    done = subprocess.run([program], input=np.ascontiguousarray(samples).tobytes(), capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"{program}: exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


class Library:
    """The compiled library, called as a `runners.Runner` is: one time step, in torch's layouts.

    Args:
        path: a library that `build` made.
        config: the stack that it was written for.
    """

    def __init__(self, path: Path, config: ModelConfig):
        self.config = config
        self._c = ctypes.CDLL(str(path.resolve()))
        self._c.csnn_state_size.restype = ctypes.c_size_t
        self._c.csnn_classify.argtypes = [ctypes.c_void_p] * 3
        self._c.csnn_membranes.restype = ctypes.POINTER(ctypes.c_float)
        self._c.csnn_spikes.restype = ctypes.POINTER(headers.index_type(config))
        self._state = ctypes.create_string_buffer(self._c.csnn_state_size())
        self._count = ctypes.c_int32()

    def step(self, membranes: Sequence[np.ndarray], x: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """One time step.

        Args:
            membranes: U[t-1] of every layer, float32 [batch, C, H, W] or [batch, features].
            x: image or spikes, float32 [batch, C, H, W]: what `reference.inputs` makes of bytes.

        Returns:
            (U[t] of every layer, output spikes [batch, classes]), float32.

        Raises:
            ValueError: x holds a value that no byte stands for.
        """
        scale = np.float32(self.config.input_scale)
        frames = np.rint(x * scale).astype(np.uint8)
        if not np.array_equal(frames.astype(np.float32) / scale, x):
            raise ValueError(f"x: expected whole numbers from 0 to 255, divided by {scale}")
        frames = np.ascontiguousarray(np.moveaxis(frames, 1, -1))
        mine = [np.array(np.moveaxis(u, 1, -1), np.float32, order="C") for u in membranes]
        spikes = np.zeros(mine[-1].shape, np.float32)
        for n, frame in enumerate(frames):
            for layer, u in enumerate(mine):
                ctypes.memmove(self._membranes(layer), u[n].ctypes.data, u[n].nbytes)
            self._c.csnn_present(self._state, frame.ctypes.data_as(ctypes.c_void_p))
            self._c.csnn_step(self._state)
            for layer, u in enumerate(mine):
                ctypes.memmove(u[n].ctypes.data, self._membranes(layer), u[n].nbytes)
            events = self._c.csnn_spikes(self._state, len(mine) - 1, ctypes.byref(self._count))
            spikes[n, events[: self._count.value]] = 1
        return [np.ascontiguousarray(np.moveaxis(u, -1, 1)) for u in mine], spikes

    @property
    def state_bytes(self) -> int:
        """Size of a `struct csnn_state`: all the memory that changes."""
        return len(self._state)

    def classify(self, sample: np.ndarray) -> tuple[int, np.ndarray]:
        """The whole window of one of `samples`: (class, or -1; output spikes of every class [classes], int32)."""
        counts = np.zeros(self.config.num_classes, np.int32)
        return self._c.csnn_classify(self._state, sample.ctypes.data, counts.ctypes.data), counts

    def _membranes(self, layer: int):
        return self._c.csnn_membranes(self._state, layer, ctypes.byref(self._count))


def samples(config: ModelConfig, x: np.ndarray) -> np.ndarray:
    """The program's input for `reference.inputs`: uint8 [N, H, W, C], or [N, T, H, W, C] for a sequence."""
    found = np.moveaxis(np.rint(x * np.float32(config.input_scale)).astype(np.uint8), -3, -1)
    return np.ascontiguousarray(found.swapaxes(0, 1) if x.ndim == 5 else found)
