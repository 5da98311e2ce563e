"""Writes, compiles and calls the C program, also as a library, one time step at a time."""

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csnn_jax.config.network import ModelConfig
from csnn_jax.data.events.frames import Window
from csnn_jax.errors import UserError, first_error
from csnn_jax.files import write_atomic
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.margins import margins
from export.c import headers, layout, neurons
from export.c.text import PREFIX, identifiers, prefixed

SOURCES = ("csnn.c", "csnn.h", "sums.h", "copies.h", "answers.h", "main.c", "events.c", "program.h", "Makefile")
FILES = (*SOURCES, "network.h", "neurons.h", "weights.h", "classes.h")


class Built(NamedTuple):
    """The results of `build`: the program and the library."""

    program: Path
    library: Path


def write_sources(
    folder: Path,
    config: ModelConfig,
    tensors: Tensors,
    frames: int | None = None,
    window: Window | None = None,
    names: Sequence[str] | None = None,
    prefix: str = PREFIX,
    margin: float | None = None,
) -> None:
    """Writes the program's sources, `FILES`.

    Args:
        folder: the folder to write to; created if necessary.
        config: the stack.
        tensors: its parameters in torch's layouts and on their grids, see `weights.load`.
        frames: number of frames in a sample; None: as the encoding needs, one image for direct, otherwise one frame of
            0s and 1s for every time step.
        window: rules for making frames from camera events; None: the program doesn't accept events.
        names: the class names; None: their numbers.
        prefix: what external names, types and macros start with, so that several networks can be linked together.
        margin: the smallest difference of the two highest scores for an answer; None: every answer is known.

    Raises:
        UserError: a node's name starts with the prefix.
        ValueError: there is a `layout.reason_against` this network.
    """
    if reason := layout.reason_against(config):
        raise ValueError(reason)
    for name in identifiers(node.name for node in config.graph):
        if prefix != PREFIX and f"{name}_".startswith(f"{prefix}_"):  # the array and the type PREFIX_weight, say
            raise UserError(f"--prefix {prefix}: there is a node {name}, expected the start of no node")
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: resources.files("export.c").joinpath(name).read_text() for name in SOURCES}
    texts["network.h"] = headers.network(config, frames, window, margin)
    texts["neurons.h"] = "".join(neurons.header(config, tensors))
    texts["weights.h"] = "".join(headers.weights(config, tensors))
    for name, text in texts.items():
        write_atomic(folder / name, prefixed(text, prefix).encode())
    classes = headers.classes(names or [*map(str, range(config.num_classes))], prefix)
    write_atomic(folder / "classes.h", classes.encode())


def build(folder: Path, out: Path) -> Built:
    """Compiles the sources in `folder` with their Makefile.

    Args:
        folder: the folder with the sources, which isn't modified.
        out: a folder for the program, `csnn`, and the library, `libcsnn.so`.

    Raises:
        UserError: there is no make or no compiler, or compiling failed.
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


def answers(program: Path, samples: np.ndarray, names: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Runs the compiled program on samples, through its standard input.

    Args:
        program: a program built by `build`.
        samples: uint8 [N, H, W, C], or [N, T, H, W, C] if a sample is a sequence of frames.
        names: the class names in the program; None: their numbers.

    Returns:
        (classes [N], int64, -1 if it's unknown; scores [N, classes]: output spikes, int64, or sums of membranes,
            float32).

    Raises:
        UserError: the program failed; the message says how.
        ValueError: it printed an unknown class name.
    """
    lines = re.findall(r"^class (.+), (spike counts|scores) (.+)$", printed(program, samples), re.M)  # the last comma
    classes = [-1 if answer == "-" else int(answer) if names is None else names.index(answer) for answer, _, _ in lines]
    kind = np.float32 if any(what == "scores" for _, what, _ in lines) else np.int64
    return np.array(classes, np.int64), np.array([numbers.split() for _, _, numbers in lines]).astype(kind)


def classes(scores: np.ndarray, margin: float | None = None) -> np.ndarray:
    """The class of each row of scores from `answers`: ties go to the lowest class; -1 if it's unknown."""
    unknown = (scores.dtype == np.int64) & ~scores.any(1) | (margins(scores) < (margin or 0))
    return np.where(unknown, -1, scores.argmax(1))


def printed(program: Path, samples: np.ndarray) -> str:
    """The compiled program's output for samples; arguments and UserErrors as for `answers`."""
    done = subprocess.run([program], input=np.ascontiguousarray(samples).tobytes(), capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"{program}: exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


class Library:
    """The compiled library; its `step` is a `runners.Runner`.

    Args:
        path: a library built by `build`.
        config: the stack it was written for.
        prefix: of its functions.
    """

    def __init__(self, path: Path, config: ModelConfig, prefix: str = PREFIX):
        self.config = config
        self._c, self._prefix = ctypes.CDLL(str(path.resolve())), prefix
        self._function("state_size").restype = ctypes.c_size_t
        self._function("classify").argtypes = [ctypes.c_void_p] * 3
        self._function("score_step").argtypes = [ctypes.c_void_p] * 2
        self._function("values").restype = ctypes.POINTER(ctypes.c_float)
        self._state = ctypes.create_string_buffer(self._function("state_size")())
        self._score = np.float32 if config.readout == "membrane" else np.int32

    def step(self, states: Sequence[np.ndarray], x: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """One time step.

        Args:
            states: states after the last step, float32 [batch, C, H, W] or [batch, features], see
                `reference.state_shapes`.
            x: image or spikes, float32 [batch, C, H, W], as returned by `reference.inputs`.

        Returns:
            (states after the step, output spikes or membranes [batch, classes]), float32.

        Raises:
            ValueError: x contains a value that isn't representable as a byte.
        """
        scale = np.float32(self.config.entering.scale)
        frames = np.rint(x * scale).astype(np.uint8)
        if not np.array_equal(frames.astype(np.float32) / scale, x):
            raise ValueError(f"x: expected whole numbers from 0 to 255, divided by {scale}")
        frames = np.ascontiguousarray(np.moveaxis(frames, 1, -1))
        neurons = len([*self._places()])
        channels_last = [np.array(np.moveaxis(u, 1, -1), np.float32, order="C") for u in states[:neurons]]
        past = [u.copy() for u in states[neurons:]]
        scores = np.zeros((len(frames), self.config.num_classes), self._score)
        for n, frame in enumerate(frames):
            for place, u in zip(self._places(), channels_last, strict=True):
                ctypes.memmove(place, u[n].ctypes.data, u[n].nbytes)
            for lists, one in zip(self._past, past, strict=True):
                lists.write(one[n])
            self._function("restore")(self._state)
            self._function("present")(self._state, frame.ctypes.data_as(ctypes.c_void_p))
            self._function("step")(self._state)
            for place, u in zip(self._places(), channels_last, strict=True):
                ctypes.memmove(u[n].ctypes.data, place, u[n].nbytes)
            for lists, one in zip(self._past, past, strict=True):
                one[n] = lists.read()
            self._function("score_step")(self._state, scores[n].ctypes.data)
        after = [np.ascontiguousarray(np.moveaxis(u, -1, 1)) for u in channels_last]
        return [*after, *past], scores.astype(np.float32)

    def margin(self, scores: np.ndarray) -> float:
        """The highest of scores [classes], of the type that `classify` returns, minus the second highest."""
        kind = ctypes.c_float if self._score is np.float32 else ctypes.c_int32
        margin = self._function("margin")
        margin.restype = kind
        return margin(np.ascontiguousarray(scores, self._score).ctypes.data_as(ctypes.POINTER(kind)))

    @property
    def state_bytes(self) -> int:
        """Size of a `struct csnn_state`, which is all mutable memory."""
        return len(self._state)

    def classify(self, sample: np.ndarray) -> tuple[int, np.ndarray]:
        """Runs the whole window of one sample: (class, or -1; scores [classes], int32 or float32)."""
        scores = np.zeros(self.config.num_classes, self._score)
        return self._function("classify")(self._state, sample.ctypes.data, scores.ctypes.data), scores

    def _function(self, name: str) -> Any:
        return getattr(self._c, f"{self._prefix}_{name}")

    def _places(self) -> Iterator[Any]:
        """Pointers to the states, in the order of `reference.state_shapes`."""
        count = ctypes.c_int32()
        numbers = {name: number for number, name in enumerate(layout.states(self.config))}
        for layer, node in enumerate(self.config.graph.neurons):
            for name in node.operation.kind.states:
                yield self._function("values")(self._state, numbers[name], layer, ctypes.byref(count))

    @cached_property
    def _past(self) -> "list[_Past]":
        """The outputs of earlier steps, in the order of `reference.state_shapes`."""
        graph, made = self.config.graph, layout.layout(self.config)
        names = [name for name, longest in graph.delays.items() for _ in range(longest)]
        index: Any = ctypes.POINTER(headers.index_type(self.config))
        lists = []
        for number, name in enumerate(names):
            begin, copied = index(), made.copies[len(made.copies) - 1 - number]
            self._function("past").restype = index
            events = self._function("past")(self._state, number, ctypes.byref(begin))
            lists.append(_Past(events, begin, copied, graph[name].channels_first))
        return lists


class _Past(NamedTuple):
    """Lists of a program with what a node gave in an earlier step.

    Attributes:
        event: pointer to the events.
        begin: pointer to where each pixel's events start.
        copied: their shape and grid.
        shape: of the node's output in torch's layout.
    """

    event: Any
    begin: Any
    copied: layout.Events
    shape: tuple[int, ...]

    def write(self, values: np.ndarray) -> None:
        """Replaces the events by those of values in torch's layout."""
        height, width, channels, *_ = self.copied.map
        counts = np.moveaxis(values.reshape(channels, height, width) / self.copied.signal.step, 0, -1).astype(np.int64)
        events = np.repeat(np.arange(counts.size), counts.ravel())
        np.ctypeslib.as_array(self.event, (max(1, len(events)),))[: len(events)] = events
        np.ctypeslib.as_array(self.begin, (height * width + 1,))[:] = [0, *counts.sum(-1).cumsum()]

    def read(self) -> np.ndarray:
        """The values in torch's layout, float32."""
        height, width, channels, *_ = self.copied.map
        events = np.ctypeslib.as_array(self.event, (max(1, self.begin[height * width]),))[: self.begin[height * width]]
        counts = np.bincount(events, minlength=self.copied.map.size).reshape(height, width, channels)
        return (np.moveaxis(counts, -1, 0) * self.copied.signal.step).reshape(self.shape).astype(np.float32)


def samples(config: ModelConfig, x: np.ndarray) -> np.ndarray:
    """Converts `reference.inputs` to the program's input: uint8 [N, H, W, C], or [N, T, H, W, C] for a sequence."""
    frames = np.moveaxis(np.rint(x * np.float32(config.entering.scale)).astype(np.uint8), -3, -1)
    return np.ascontiguousarray(frames.swapaxes(0, 1) if x.ndim == 5 else frames)
