"""The network as a C99 program: `c/csnn.c` is the same for every network, the headers written here are not."""

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError, first_error
from csnn_jax.files import write_atomic
from csnn_jax.runs.weights import Tensors, from_torch

SOURCES = ("csnn.c", "csnn.h", "main.c", "Makefile")
FILES = (*SOURCES, "network.h", "weights.h")


def write(folder: Path, config: ModelConfig, tensors: Tensors, frames: int | None = None) -> None:
    """Writes the program's sources, `FILES`.

    Args:
        folder: where to; made if it is not there.
        config: the stack.
        tensors: its parameters in torch's layouts, see `weights.load`; rounded to float32.
        frames: how many frames a sample has; None: what the encoding says, one image for direct, else one frame of
            0 and 1 for every time step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        write_atomic(folder / name, resources.files("export").joinpath("c", name).read_bytes())
    write_atomic(folder / "network.h", _network(config, frames).encode())
    write_atomic(folder / "weights.h", "".join(_weights(config, tensors)).encode())


def build(folder: Path, out: Path) -> Path:
    """Compiles the sources in `folder` with their Makefile.

    Args:
        folder: what `write` made; only read.
        out: an existing folder for the program, `csnn`, and the library, `libcsnn.so`.

    Returns:
        The program.

    Raises:
        UserError: no make, no compiler, or one that failed.
    """
    if not shutil.which("make"):
        raise UserError(f"{folder}: building the C program needs make, which is not on the PATH")
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise UserError(f"{folder}: building the C program needs a compiler: none of cc, gcc and clang is on the PATH")
    command = ["make", "-s", "-C", str(folder.resolve()), f"BUILD={out.resolve()}", f"CC={compiler}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{folder}: {compiler} failed: {first_error(done.stderr)}")
    return out / "csnn"


def counts(program: Path, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs the compiled program on samples, through its standard input.

    Args:
        program: what `build` returned.
        samples: uint8 [N, H, W, C], or [N, T, H, W, C] where a sample is a sequence of frames.

    Returns:
        (classes [N], output spikes of every class [N, classes]), both int64.

    Raises:
        UserError: the program failed; says how.
    """
    done = subprocess.run([program], input=np.ascontiguousarray(samples).tobytes(), capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"{program}: exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    found = [[int(n) for n in re.findall(r"\d+", line)] for line in done.stdout.decode().splitlines()]
    table = np.array(found, np.int64).reshape(len(samples), -1)
    return table[:, 0], table[:, 1:]


class Library:
    """The compiled library, called as `export.network.Step` is: one time step, in torch's layouts.

    Args:
        path: `libcsnn.so`, beside the program that `build` returned.
        config: the stack that it was written for.
    """

    def __init__(self, path: Path, config: ModelConfig):
        self.config = config
        self._c = ctypes.CDLL(str(path.resolve()))
        self._c.csnn_state_size.restype = ctypes.c_size_t
        self._c.csnn_classify.argtypes = [ctypes.c_void_p] * 3
        self._c.csnn_membranes.restype = ctypes.POINTER(ctypes.c_float)
        self._c.csnn_spikes.restype = ctypes.POINTER(_index_type(config))
        self._state = ctypes.create_string_buffer(self._c.csnn_state_size())
        self._count = ctypes.c_int32()

    def step(self, x: np.ndarray, membranes: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """One time step.

        Args:
            x: image or spikes, float32 [batch, C, H, W]: what `export.network.inputs` makes of bytes.
            membranes: U[t-1] of every layer, float32 [batch, C, H, W] or [batch, features].

        Returns:
            (output spikes [batch, classes], U[t] of every layer), float32.

        Raises:
            ValueError: x holds a value that no byte stands for.
        """
        scale = np.float32(input_scale(self.config))
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
        return spikes, [np.ascontiguousarray(np.moveaxis(u, -1, 1)) for u in mine]

    @property
    def state_bytes(self) -> int:
        """Size of a `struct csnn_state`: all the memory that changes."""
        return len(self._state)

    def classify(self, sample: np.ndarray) -> tuple[int, np.ndarray]:
        """The whole window: (class, output spikes of every class [classes], int32) of one of `samples`."""
        counts = np.zeros(self.config.num_classes, np.int32)
        return self._c.csnn_classify(self._state, sample.ctypes.data, counts.ctypes.data), counts

    def _membranes(self, layer: int):
        return self._c.csnn_membranes(self._state, layer, ctypes.byref(self._count))


def input_scale(config: ModelConfig) -> float:
    """What the program divides its bytes by: 255 for pixels, 1 for encoded spikes, which are 0 or 1 already."""
    return 255.0 if config.encoding == "direct" else 1.0


def samples(config: ModelConfig, x: np.ndarray) -> np.ndarray:
    """What the program is fed for `export.network.inputs`: uint8 [N, H, W, C], or [N, T, H, W, C] for a sequence."""
    found = np.moveaxis(np.rint(x * np.float32(input_scale(config))).astype(np.uint8), -3, -1)
    return np.ascontiguousarray(found.swapaxes(0, 1) if x.ndim == 5 else found)


def weight_bytes(config: ModelConfig) -> int:
    """Size of the weights and biases: constants, which a device may keep in flash."""
    return 4 * sum(rows * channels + channels for rows, channels in _weight_shapes(config))


def _maps(config: ModelConfig) -> list[tuple[int, int, int]]:
    """Height, width and channels of the input and of every layer; a linear layer is one pixel."""
    shapes = [config.input_shape, *(layer.out_shape for layer in config.layers)]
    return [shape if len(shape) == 3 else (1, 1, *shape) for shape in shapes]  # type: ignore[misc]


def _index_type(config: ModelConfig) -> type:
    return ctypes.c_uint16 if max(map(np.prod, _maps(config))) < 2**16 else ctypes.c_uint32


def _network(config: ModelConfig, frames: int | None) -> str:
    maps = _maps(config)
    sizes = [int(np.prod(shape)) for shape in maps]
    cells = sum(height * width + 1 for height, width, _ in maps)
    widest = max(channels for _, _, channels in maps[1:])
    if frames is None:
        frames = 1 if config.encoding == "direct" else config.time_steps
    index = _index_type(config)
    neurons = sum(sizes[1:])
    ram = 4 * (neurons + sizes[1] + 2 * widest) + ctypes.sizeof(index) * (sizes[0] + neurons + cells)
    flash = weight_bytes(config)
    return f"""\
/*
 * The sizes of this network and what it does with its input. Generated: edit the training configuration instead.
 *
 * Memory: {flash} bytes of constants (flash) for weights and biases; {ram} bytes (RAM), to within
 * alignment, for each struct csnn_state, {4 * neurons} of them membranes. The calls use little stack and no heap.
 */
#ifndef CSNN_NETWORK_H
#define CSNN_NETWORK_H

#include <stdint.h>

#define CSNN_HEIGHT {config.input_shape[0]}
#define CSNN_WIDTH {config.input_shape[1]}
#define CSNN_CHANNELS {config.input_shape[2]}
#define CSNN_CLASSES {config.num_classes}
#define CSNN_FRAMES {frames} /* frames in a sample; 1: an image, shown at every step */
#define CSNN_TIME_STEPS {config.time_steps if frames == 1 else frames}
#define CSNN_INPUT_SCALE {input_scale(config)}f /* a byte of a frame counts as byte / CSNN_INPUT_SCALE */

#define CSNN_POOL_MAX {int(config.pool == "max")} /* 1: maximum, 0: average */
#define CSNN_RESET_SUBTRACT {int(config.reset == "subtract")} /* see csnn.h; both 0: no reset */
#define CSNN_RESET_ZERO {int(config.reset == "zero")}

#define CSNN_LAYERS {len(config.layers)}
#define CSNN_INPUTS {sizes[0]} /* values in a frame */
#define CSNN_NEURONS {neurons} /* of all layers */
#define CSNN_FIRST_NEURONS {sizes[1]} /* of the first layer */
#define CSNN_WIDEST {widest} /* most channels of any layer */
#define CSNN_CELLS {cells} /* pixels of the input and of all layers, and one more for each */

typedef {"uint16_t" if index is ctypes.c_uint16 else "uint32_t"} csnn_index; /* numbers a layer's neurons */

#endif
"""


def _weight_shapes(config: ModelConfig) -> list[tuple[int, int]]:
    """Rows of weights, and weights in a row, of every layer."""
    window = config.kernel_size**2
    return [
        ((window * layer.in_shape[-1] if layer.kind == "conv" else int(np.prod(layer.in_shape))), layer.out_shape[-1])
        for layer in config.layers
    ]


def _weights(config: ModelConfig, tensors: Tensors) -> Iterator[str]:
    yield "/* The parameters, exact: hexadecimal constants name a float to its last bit. Included by csnn.c only. */\n"
    rows = []
    for number, layer in enumerate(config.layers, 1):
        kernel = from_torch(layer, tensors[f"{layer.name}.weight"])
        yield from _array(f"{layer.name}_weight", kernel)
        yield from _array(f"{layer.name}_bias", tensors[f"{layer.name}.bias"])
        size, pool = config.kernel_size, 2
        window = (size, size, size // 2, pool) if layer.kind == "conv" else (*_maps(config)[number - 1][:2], 0, 1)
        beta = np.clip(np.float32(tensors.get(f"lif{number}.beta", config.betas[number - 1])), 0, 1)
        threshold = tensors.get(f"lif{number}.threshold", config.thresholds[number - 1])
        numbers = ", ".join(map(str, window))
        rows.append(f"{layer.name}_weight, {layer.name}_bias, {numbers}, {_literal(beta)}, {_literal(threshold)}")
    yield _table("layer layers[CSNN_LAYERS]", rows)
    event = begin = 0
    maps = []
    for height, width, channels in _maps(config):
        maps.append(f"{height}, {width}, {channels}, {event}, {begin}")
        event += height * width * channels
        begin += height * width + 1
    yield _table("map maps[CSNN_LAYERS + 1]", maps)


def _table(name: str, rows: Sequence[str]) -> str:
    return f"\nstatic const struct {name} = {{\n" + "".join(f"    {{{row}}},\n" for row in rows) + "};\n"


def _array(name: str, values: np.ndarray) -> Iterator[str]:
    literals = [_literal(v) for v in values.astype(np.float32).ravel().tolist()]
    yield f"\nstatic const float {name}[{len(literals)}] = {{\n"
    for at in range(0, len(literals), 8):
        yield f"    {', '.join(literals[at : at + 8])},\n"
    yield "};\n"


def _literal(value: np.floating | np.ndarray | float) -> str:
    """A float32 as C99 reads it back to the bit: 0.1 is 0x1.99999ap-4f."""
    mantissa, exponent = float(np.float32(value)).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}f"
