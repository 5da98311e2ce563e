"""Generates the C program's headers: `network.h` (sizes), `weights.h`, and `classes.h` (class names)."""

import ctypes
import math
from collections.abc import Iterator, Sequence

import numpy as np

from csnn_jax.config.graph import Graph, NeuronNode, WeightedNode
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.operations import Convolution, Pooling
from csnn_jax.data.events.frames import Window
from csnn_jax.data.images import MOST_COUNT
from csnn_jax.runs.layouts import Tensors, bias_of, from_torch, units
from export.c.text import array, string, table

LANES = 8
"""Output channels whose weights are added at once; rows of weights are padded to a multiple of it. As in sums.h."""


def weight_bits(config: ModelConfig) -> int:
    """Bits of a weight in the program: 32 (float), 8 or 4."""
    if config.weight_bits is None:
        return 32
    return 4 if config.weight_bits <= 4 else 8


def weight_bytes(config: ModelConfig) -> int:
    """Size of the weights, scales, biases and per-channel parameters: constants that can stay in flash."""
    bits, floats = weight_bits(config), 2 + len(config.per_channel)
    return sum(
        rows * _padded(channels) * bits // 8 + 4 * floats * channels for rows, channels in _weight_shapes(config)
    )


def _padded(channels: int) -> int:
    return -(-channels // LANES) * LANES


def _maps(config: ModelConfig) -> list[tuple[int, int, int]]:
    """Height, width and channels of the input and every layer; a linear layer is one pixel."""
    shapes = [config.input_shape, *(node.shape for node in config.graph.neurons)]
    return [shape if len(shape) == 3 else (1, 1, *shape) for shape in shapes]  # type: ignore[misc]


def _pooled(config: ModelConfig) -> tuple[int, int]:
    """The largest number of events after pooling spikes for a layer, and the largest size of its `begin` list."""
    graph = config.graph
    pools = [
        (node.operation, node.shape)
        for node in graph
        if isinstance(node.operation, Pooling) and isinstance(graph.source(node), NeuronNode)
    ]
    events = [math.prod(shape) * (1 if pool.kind == "max" else pool.window) for pool, shape in pools]
    return max(events, default=0), max((shape[0] * shape[1] + 1 for _, shape in pools), default=0)


def index_type(config: ModelConfig) -> type:
    most = max(_pooled(config)[0], *map(math.prod, _maps(config)))
    return ctypes.c_uint16 if most < 2**16 else ctypes.c_uint32


def network(config: ModelConfig, frames: int | None, window: Window | None = None) -> str:
    """`network.h` for samples of `frames` frames; `window` says how to make frames from camera events, if any."""
    maps = _maps(config)
    sizes = [int(np.prod(shape)) for shape in maps]
    cells = sum(height * width + 1 for height, width, _ in maps[1:])
    events, places = _pooled(config)
    widest = _padded(max(node.channels for node in config.graph.weighted))
    pooled = _padded(max((node.channels for node in config.graph.weighted if config.graph.pool_after(node)), default=1))
    if frames is None:
        frames = 1 if config.encoding == "direct" else config.time_steps
    most, scale = min(255, 2**config.entering.bits), config.entering.scale
    index = index_type(config)
    neurons = sum(sizes[1:])
    states = config.kind.states
    indices = neurons + events + cells + places
    ram = 4 * (len(states) * neurons + sizes[1] + widest + pooled) + ctypes.sizeof(index) * indices
    flash = weight_bytes(config)
    numbers = "".join(f"#define CSNN_STATE_{name.upper()} {number}\n" for number, name in enumerate(states))
    membranes = config.readout == "membrane"
    return f"""\
/*
 * The sizes of this network, and how it reads its input. Generated: don't edit; change the training configuration.
 *
 * Memory: {flash} bytes of constants (flash) for weights, scales, biases and per-channel parameters; {ram} bytes
 * (RAM), not counting alignment, for each struct csnn_state, {4 * len(states) * neurons} of them for neuron states.
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
#define CSNN_WINDOW_FRAMES {window.steps if window else frames} /* frames in a window; the first ones are a sample */
#define CSNN_TIME_STEPS {config.time_steps if frames == 1 else frames}
#define CSNN_INPUT_SCALE {scale}f /* a power of two: a byte of a frame counts as byte / CSNN_INPUT_SCALE */
#define CSNN_INPUT_MOST {most} /* largest byte for which sums are certain to be exact */

{_events(window)}
#define CSNN_STATES {len(states)} /* state variables of each neuron, see neurons.h */
{numbers}
#define CSNN_LAYERS {len(config.graph.neurons)}
#define CSNN_INPUTS {sizes[0]} /* values in a frame */
#define CSNN_NEURONS {neurons} /* in all layers */
#define CSNN_FIRST_NEURONS {sizes[1]} /* in the first layer */
#define CSNN_WIDEST {widest} /* channels of the widest layer, rounded up to a multiple of {LANES} */
#define CSNN_WIDEST_POOLED {pooled} /* the same for layers with pooling */
#define CSNN_CELLS {cells} /* pixels of all layers, plus one for each layer */
#define CSNN_POOLED {events} /* most events of a pool that follows the neurons; 0: no such pool */
#define CSNN_POOLED_CELLS {places} /* most pixels of such a pool, plus one */

#define CSNN_WEIGHT_BITS {weight_bits(config)} /* 32: weights are floats; 8 or 4: whole numbers */

typedef {"float" if weight_bits(config) == 32 else "int32_t"} csnn_sum; /* a sum of weights */
typedef {"uint16_t" if index is ctypes.c_uint16 else "uint32_t"} csnn_index; /* the index of a neuron in its layer */

#define CSNN_READS_MEMBRANES {int(membranes)} /* 1: a class's score is the sum of its membranes, 0: of its spikes */
typedef {"float" if membranes else "int32_t"} csnn_score;

#endif
"""


def _events(window: Window | None) -> str:
    """The settings for `csnn --events`: the sensor's size, and the rules for making frames from events."""
    if window is None:
        return "#define CSNN_EVENTS 0 /* `csnn --events` isn't supported */\n"
    return f"""\
#define CSNN_EVENTS 1 /* `csnn --events` makes frames from camera events */
#define CSNN_SENSOR_HEIGHT {window.sensor[0]} /* pixels of the camera; each side is a multiple of the frame's */
#define CSNN_SENSOR_WIDTH {window.sensor[1]}
#define CSNN_FRAMES_BY_COUNT {int(window.by == "count")} /* 1: frames have equally many events; 0: equal durations */
#define CSNN_FRAME_MOST {MOST_COUNT} /* counts of a pixel's events in a frame saturate here */
"""


def classes(names: Sequence[str]) -> str:
    """`classes.h`."""
    rows = "".join(f"    {string(name)},\n" for name in names)
    return f"""\
/* The names of the classes that the program prints, in UTF-8, in the order of the output neurons. */
#ifndef CSNN_CLASSES_H
#define CSNN_CLASSES_H

static const char *const csnn_class_names[] = {{
{rows}}};

#endif
"""


def _weight_shapes(config: ModelConfig) -> list[tuple[int, int]]:
    """Number of weight rows and of weights per row, for every layer."""
    return [(math.prod(node.kernel_shape[:-1]), node.channels) for node in config.graph.weighted]


def _window(graph: Graph, node: WeightedNode, pool: Pooling | None) -> tuple[int, ...]:
    """The fields of `struct layer` from kernel_height to pool_is_max; a linear layer is one window over its input."""
    operation = node.operation
    if not isinstance(operation, Convolution):
        height, width = graph.unflattened(node)[:2] if len(graph.unflattened(node)) == 3 else (1, 1)
        return height, width, 1, 0, 1, 1, 0
    pooled = (pool.size, pool.stride, int(pool.kind == "max")) if pool else (1, 1, 0)
    return operation.kernel, operation.kernel, operation.stride, operation.padding, *pooled


def weights(config: ModelConfig, tensors: Tensors) -> Iterator[str]:
    """`weights.h`, in pieces."""
    yield "/* The parameters, exact to the last bit: floats are hexadecimal. Included by csnn.c only. */\n"
    rows, bits, graph = [], weight_bits(config), config.graph
    for neurons in graph.neurons:
        node = graph.weights(neurons)
        weight, scale = tensors[f"{node.name}.weight"], np.ones(node.channels, np.float32)
        if bits < 32:
            weight, scale = units(config, node, tensors)
        before, after = graph.pool_before(node), graph.pool_after(node)
        averaged = [pool.window for pool in (before, after) if pool and pool.kind == "avg"]
        scale /= math.prod(averaged) * (1 if graph.origin(node).operation else config.entering.scale)
        weight = from_torch(weight, graph.unflattened(node)).reshape(-1, node.channels)
        weight = np.pad(weight, ((0, 0), (0, _padded(node.channels) - node.channels)))
        yield from array("csnn_weight", f"{node.name}_weight", weight if bits == 32 else _packed(weight, bits))
        yield from array("float", f"{node.name}_scale", scale)
        often = after.window if after and after.kind == "sum" else 1  # each term of the sum adds it
        yield from array("float", f"{node.name}_bias", bias_of(node, tensors) * np.float32(often))
        numbers = ", ".join(map(str, _window(graph, node, after or graph.pool_after(neurons))))
        constants = ", ".join(f"{node.name}_{what}" for what in ("weight", "scale", "bias"))
        rows.append(f"{constants}, {numbers}")
    yield table("layer layers[CSNN_LAYERS]", rows)
    first = begin = 0
    source, *outputs = _maps(config)
    maps = [_map(source, 0, 0)]
    for height, width, channels in outputs:
        maps.append(_map((height, width, channels), first, begin))
        first += height * width * channels
        begin += height * width + 1
    yield table("map maps[CSNN_LAYERS + 1]", maps)
    if any(map(graph.pool_before, graph.weighted)):
        scratch = (
            _map(graph.unflattened(node), first, begin) if graph.pool_before(node) else None for node in graph.weighted
        )
        inputs = [one or before for one, before in zip(scratch, maps, strict=False)]
        yield table("map inputs[CSNN_LAYERS]", inputs)


def _map(shape: tuple[int, ...], *places: int) -> str:
    return ", ".join(map(str, (*shape, *places)))


_PLACES = {8: (0, 2, 1, 3, 4, 6, 5, 7), 4: (0, 4, 2, 6, 1, 5, 3, 7)}
"""The byte or nibble of its words that holds each of `LANES` channels' weights; pairs are 16 bits apart."""


def _packed(units: np.ndarray, bits: int) -> np.ndarray:
    """Packs whole numbers [rows, channels] into the words that sums.h adds: biased, in `_PLACES` order, uint32."""
    biased = (units.astype(np.int64) + 2 ** (bits - 1)).reshape(-1, LANES)
    placed = np.empty_like(biased)
    placed[:, _PLACES[bits]] = biased
    words = placed.reshape(-1, 32 // bits) << bits * np.arange(32 // bits)
    return words.sum(1).astype(np.uint32)
