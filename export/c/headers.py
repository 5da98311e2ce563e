"""The headers that make the C program one network: `network.h` with its sizes, `weights.h` with its parameters."""

import ctypes
import math
from collections.abc import Iterator, Sequence

import numpy as np

from csnn_jax.config import Layer, ModelConfig
from csnn_jax.data.events.frames import Window
from csnn_jax.data.images import MOST_COUNT
from csnn_jax.runs.layouts import Tensors, bias_of, from_torch, on_grid
from export.c.int8 import quantise


def weight_bytes(config: ModelConfig, int8: bool = False) -> int:
    """Size of the weights and biases, and the scales of 8 bits: constants, which a device may keep in flash."""
    shapes = _weight_shapes(config)
    if int8:
        return sum(rows * channels + 8 * channels for rows, channels in shapes)
    return 4 * sum(rows * channels + channels for rows, channels in shapes)


def _maps(config: ModelConfig) -> list[tuple[int, int, int]]:
    """Height, width and channels of the input and of every layer; a linear layer is one pixel."""
    shapes = [config.input_shape, *(layer.out_shape for layer in config.layers)]
    return [shape if len(shape) == 3 else (1, 1, *shape) for shape in shapes]  # type: ignore[misc]


def index_type(config: ModelConfig) -> type:
    return ctypes.c_uint16 if max(map(np.prod, _maps(config))) < 2**16 else ctypes.c_uint32


def network(config: ModelConfig, frames: int | None, window: Window | None = None) -> str:
    """`network.h` for samples of so many frames, which `window` makes of a camera's events if there are any."""
    maps = _maps(config)
    sizes = [int(np.prod(shape)) for shape in maps]
    cells = sum(height * width + 1 for height, width, _ in maps)
    widest = max(channels for _, _, channels in maps[1:])
    if frames is None:
        frames = 1 if config.encoding == "direct" else config.time_steps
    most = min(255, 2**config.entering_bits)
    index = index_type(config)
    neurons = sum(sizes[1:])
    ram = 4 * (neurons + sizes[1] + 2 * widest) + ctypes.sizeof(index) * (sizes[0] + neurons + cells)
    flash = weight_bytes(config)
    subtract, zero = {"subtract": (1, 0), "zero": (0, 1), "none": (0, 0)}[config.reset]
    return f"""\
/*
 * The sizes of this network and what it does with its input. Generated: edit the training configuration instead.
 *
 * Memory: {flash} bytes of constants (flash) for weights and biases, or {weight_bytes(config, int8=True)} where weights
 * have 8 bits; {ram} bytes (RAM), to within alignment, for each struct csnn_state, {4 * neurons} of them membranes.
 * The calls use little stack and no heap.
 */
#ifndef CSNN_NETWORK_H
#define CSNN_NETWORK_H

#include <stdint.h>

#define CSNN_HEIGHT {config.input_shape[0]}
#define CSNN_WIDTH {config.input_shape[1]}
#define CSNN_CHANNELS {config.input_shape[2]}
#define CSNN_CLASSES {config.num_classes}
#define CSNN_FRAMES {frames} /* frames in a sample; 1: an image, shown at every step */
#define CSNN_WINDOW_FRAMES {window.steps if window else frames} /* that a window is cut into; a sample has the first */
#define CSNN_TIME_STEPS {config.time_steps if frames == 1 else frames}
#define CSNN_INPUT_SCALE {config.input_scale}f /* a power of two: a byte of a frame counts as byte / CSNN_INPUT_SCALE */
#define CSNN_INPUT_MOST {most} /* bytes up to here leave room for the weights' bits: no sum rounds */

{_events(window)}
#define CSNN_RESET_SUBTRACT {subtract} /* see csnn.h; both 0: no reset */
#define CSNN_RESET_ZERO {zero}

#define CSNN_LAYERS {len(config.layers)}
#define CSNN_INPUTS {sizes[0]} /* values in a frame */
#define CSNN_NEURONS {neurons} /* of all layers */
#define CSNN_FIRST_NEURONS {sizes[1]} /* of the first layer */
#define CSNN_WIDEST {widest} /* most channels of any layer */
#define CSNN_CELLS {cells} /* pixels of the input and of all layers, and one more for each */

typedef {"uint16_t" if index is ctypes.c_uint16 else "uint32_t"} csnn_index; /* numbers a layer's neurons */

#endif
"""


def _events(window: Window | None) -> str:
    """What `csnn --events` needs to know: the sensor, and the rules by which its events become frames."""
    if window is None:
        return "#define CSNN_EVENTS 0 /* `csnn --events` is refused */\n"
    return f"""\
#define CSNN_EVENTS 1 /* `csnn --events` makes frames of a camera's events */
#define CSNN_SENSOR_HEIGHT {window.sensor[0]} /* pixels of the camera; each side is a whole multiple of the frame's */
#define CSNN_SENSOR_WIDTH {window.sensor[1]}
#define CSNN_FRAMES_BY_COUNT {int(window.by == "count")} /* 1: frames take equally many events, 0: equally long */
#define CSNN_FRAME_MOST {MOST_COUNT} /* a pixel's events in a frame, above which they are not counted on */
"""


def _weight_shapes(config: ModelConfig) -> list[tuple[int, int]]:
    """Rows of weights, and weights in a row, of every layer."""
    return [(math.prod(layer.kernel_shape[:-1]), layer.channels) for layer in config.layers]


def _window(layer: Layer) -> tuple[int, ...]:
    """The fields of `struct layer` from kernel_height to pool_is_max; a linear layer is one window over its input."""
    if layer.kind == "linear":
        height, width = layer.in_shape[:2] if len(layer.in_shape) == 3 else (1, 1)
        return height, width, 1, 0, 1, 1, 0
    pool = (layer.pool.size, layer.pool.stride, int(layer.pool.kind == "max")) if layer.pool else (1, 1, 0)
    return layer.kernel, layer.kernel, layer.stride, layer.padding, *pool


def in_8_bits(config: ModelConfig, tensors: Tensors) -> Tensors:
    """The network that the program computes with weights of 8 bits: they and its biases are on its grids.

    `quantise` finds the same weights in it once more, as a layer whose grid is coarser than 8 bits takes fewer.
    """
    names = [f"{layer.name}.weight" for layer in config.layers]
    return on_grid(config, tensors | {name: quantise(tensors[name]).values for name in names})


def weights(config: ModelConfig, tensors: Tensors, int8: bool = False) -> Iterator[str]:
    """`weights.h`, or `weights_int8.h` with weights of 8 bits, in pieces."""
    what = "parameters, weights rounded to 8 bits" if int8 else "parameters, exact"
    tensors = in_8_bits(config, tensors) if int8 else tensors
    yield f"/* The {what}: hexadecimal constants name a float to its last bit. Included by csnn.c only. */\n"
    rows = []
    for layer in config.layers:
        weight, scale = tensors[f"{layer.name}.weight"], ""
        if int8:
            weight, scales = quantise(weight)
            yield from _array(f"{layer.name}_scale", scales)
            scale = f"{layer.name}_scale, "
        yield from _array(f"{layer.name}_weight", from_torch(layer, weight))
        yield from _array(f"{layer.name}_bias", bias_of(layer, tensors))
        beta, threshold = layer.neurons.values(tensors)
        numbers = ", ".join(map(str, _window(layer)))
        constants = f"{layer.name}_weight, {scale}{layer.name}_bias"
        rows.append(f"{constants}, {numbers}, {_literal(beta)}, {_literal(threshold)}")
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
    if values.dtype == np.int8:
        kind, literals, each = "csnn_weight", list(map(str, values.ravel().tolist())), 20
    else:
        kind, literals, each = "float", [_literal(v) for v in values.astype(np.float32).ravel().tolist()], 8
    yield f"\nstatic const {kind} {name}[{len(literals)}] = {{\n"
    for at in range(0, len(literals), each):
        yield f"    {', '.join(literals[at : at + each])},\n"
    yield "};\n"


def _literal(value: np.floating | np.ndarray | float) -> str:
    """A float32 as C99 reads it back to the bit: 0.1 is 0x1.99999ap-4f."""
    mantissa, exponent = float(np.float32(value)).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}f"
