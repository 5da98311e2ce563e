"""Generates the C program's headers: `network.h` (sizes), `weights.h`, and `classes.h` (class names)."""

import ctypes
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version

import numpy as np

from csnn_jax.config.graph import Graph, WeightedNode
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.operations import Convolution, OneToOne, Pooling
from csnn_jax.data.events.frames import Window
from csnn_jax.data.images import MOST_COUNT
from csnn_jax.runs.layouts import Tensors, bias_of, from_torch, units
from export.c.layout import Events, Source, counted, layout, most_operations, per_channel, states
from export.c.text import array, identifiers, literal, prefixed, string, table


def weight_bits(config: ModelConfig) -> int:
    """Bits of a weight in the program: 32 (float), 8, 4 or 2."""
    return 32 if config.weight_bits is None else next(bits for bits in (2, 4, 8) if config.weight_bits <= bits)


def lanes(config: ModelConfig) -> int:
    """Output channels whose weights are added at once; rows of weights are padded to a multiple of it. As in sums.h."""
    return 16 if weight_bits(config) == 2 else 8


def weight_bytes(config: ModelConfig) -> int:
    """Size of the weights, scales, biases and per-channel parameters: constants that can stay in flash."""
    bits, total = weight_bits(config), 0
    for node in (source.node for source in layout(config).each):
        rows = 0 if isinstance(node.operation, OneToOne) else math.prod(node.kernel_shape[:-1])
        total += rows * _padded(config, node.channels) * bits // 8 + 2 * 4 * node.channels
    neurons = [node.operation for node in config.graph.neurons]
    return total + sum(4 * one.channels * len({*one.kind.parameters} & {*per_channel(config)}) for one in neurons)


def _padded(config: ModelConfig, channels: int) -> int:
    return -(-channels // lanes(config)) * lanes(config)


def index_type(config: ModelConfig) -> type:
    made = layout(config)
    most = max([math.prod(config.input_shape), *(one.size for one in made.maps), *(one.size for one in made.copies)])
    return ctypes.c_uint16 if most < 2**16 else ctypes.c_uint32


def network(config: ModelConfig, frames: int | None, window: Window | None = None, margin: float | None = None) -> str:
    """`network.h` for samples of `frames` frames.

    `window` says how to make frames from camera events, if any; `margin` is that of an answer, see `write_sources`.
    """
    made = layout(config)
    widest = _padded(config, max(node.channels for node in config.graph.weighted))
    maxima = (copy.map.channels for copy in made.copies if copy.pool)
    pooled = _padded(config, max([1, *maxima, *(source.node.channels for source in made.each if source.after)]))
    most = max(map(len, made.sources))
    added = [counted(inputs) for inputs in made.added]
    often = max((often for inputs in added for _, often in inputs), default=1)
    currents = max(len(node.inputs) if node.operation.separate else 1 for node in config.graph.neurons)
    if frames is None:
        frames = 1 if config.encoding == "direct" else config.time_steps
    brightest, scale = min(255, 2**config.entering.bits), config.entering.scale
    index, names = index_type(config), states(config)
    in_states = 4 * len(names) * made.neurons
    ram = in_states + 4 * (made.driven + widest * most + pooled) + ctypes.sizeof(index) * (made.events + made.cells)
    flash = weight_bytes(config)
    calls = most_operations(made, partial(_padded, config))
    window_operations = calls.present * frames + calls.step * (config.time_steps if frames == 1 else frames)
    numbers = "".join(f"#define CSNN_STATE_{name.upper()} {number}\n" for number, name in enumerate(names))
    membranes = config.readout == "membrane"
    least = "0" if margin is None else literal(margin) if membranes else f"{margin:.0f}"
    return f"""\
/*
 * The sizes of this network, and how it reads its input. Generated: don't edit; change the training configuration.
 *
 * Memory: {flash} bytes of constants (flash) for weights, scales, biases and per-channel parameters; {ram} bytes
 * (RAM), not counting alignment, for each struct csnn_state, {in_states} of them for neuron states.
 * The calls use little stack and no heap.
 */
#ifndef CSNN_NETWORK_H
#define CSNN_NETWORK_H

#include <stdint.h>

{_version()}
#define CSNN_HEIGHT {config.input_shape[0]}
#define CSNN_WIDTH {config.input_shape[1]}
#define CSNN_CHANNELS {config.input_shape[2]}
#define CSNN_CLASSES {config.num_classes}
#define CSNN_FRAMES {frames} /* frames in a sample; 1: an image, shown at every step */
#define CSNN_WINDOW_FRAMES {window.steps if window else frames} /* frames in a window; the first ones are a sample */
#define CSNN_TIME_STEPS {config.time_steps if frames == 1 else frames}
#define CSNN_INPUT_SCALE {scale}f /* a power of two: a byte of a frame counts as byte / CSNN_INPUT_SCALE */
#define CSNN_INPUT_MOST {brightest} /* largest byte for which sums are certain to be exact */

{_events(window)}
#define CSNN_STATES {len(names)} /* state variables of each neuron, see neurons.h */
{numbers}
#define CSNN_LAYERS {len(made.maps)}
#define CSNN_SOURCES {len(made.each)} /* inputs of all layers, each with weights */
#define CSNN_LISTS {max(1, sum(map(len, added)))} /* that sources and copies read */
#define CSNN_MOST_LISTS {max(map(len, added))} /* of a source or copy */
#define CSNN_MOST_OFTEN {often} /* how often an event of a list counts */
#define CSNN_COPIES {len(made.copies)} /* of spikes that are pooled, or read when their list has been overwritten */
#define CSNN_PAST {made.past} /* of these, outputs of earlier steps, which delays need */
{_past(config)}
#define CSNN_INPUTS {math.prod(config.input_shape)} /* values in a frame */
#define CSNN_NEURONS {made.neurons} /* in all layers */
#define CSNN_DRIVEN {made.driven} /* neurons that the frame drives */
#define CSNN_WIDEST {widest} /* channels of the widest layer, rounded up to a multiple of {lanes(config)} */
#define CSNN_WIDEST_POOLED {pooled} /* the same for layers with pooling */
#define CSNN_MOST_SOURCES {most} /* of a layer */
#define CSNN_CURRENTS {currents} /* most currents that a neuron's step adds one by one */
#define CSNN_LISTED {made.events} /* spikes of all layers, and of copies that are needed at the same time */
#define CSNN_CELLS {made.cells} /* pixels of these, plus one for each */

/*
 * The most operations of a call: they take place if every neuron fires and no byte of a frame is 0. An operation adds a
 * weight to a sum, copies or counts an event, or is a neuron's step. Rows of weights are padded to CSNN_LANES channels.
 */
#define CSNN_MOST_PRESENT_OPERATIONS {calls.present} /* csnn_present */
#define CSNN_MOST_STEP_OPERATIONS {calls.step} /* csnn_step */
#define CSNN_MOST_WINDOW_OPERATIONS {window_operations} /* csnn_classify */

#define CSNN_WEIGHT_BITS {weight_bits(config)} /* 32: weights are floats; 8, 4 or 2: whole numbers */

typedef {"float" if weight_bits(config) == 32 else "int32_t"} csnn_sum; /* a sum of weights */
typedef {"uint16_t" if index is ctypes.c_uint16 else "uint32_t"} csnn_index; /* the index of a neuron in its layer */

#define CSNN_READS_MEMBRANES {int(membranes)} /* 1: a class's score is the sum of its membranes, 0: of its spikes */
typedef {"float" if membranes else "int32_t"} csnn_score;
#define CSNN_MARGIN {least} /* smallest csnn_margin of an answer, see csnn_class; 0: any */

#endif
"""


def _version() -> str:
    """The version of csnn-jax; releases have three numbers."""
    made_by = version("csnn-jax")
    major, minor, patch = [*re.findall(r"\d+", made_by), "0", "0"][:3]
    return f"""\
#define CSNN_VERSION {string(made_by)} /* of csnn-jax, which wrote this program */
#define CSNN_VERSION_MAJOR {major}
#define CSNN_VERSION_MINOR {minor}
#define CSNN_VERSION_PATCH {patch}
#define CSNN_VERSION_NUMBER (CSNN_VERSION_MAJOR * 10000L + CSNN_VERSION_MINOR * 100 + CSNN_VERSION_PATCH)
"""


def _past(config: ModelConfig) -> str:
    """What the outputs of earlier steps are, by their numbers."""
    names = [f"{name}@{steps}" for name, n in config.graph.delays.items() for steps in range(1, n + 1)]
    shown = "\n".join(f" *     {number}: {name}" for number, name in enumerate(names))
    return f"/* Their numbers; NAME@2 is what NAME gave two steps before:\n{shown}\n */" if names else ""


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


_CLASSES = """\
/* The names of the classes that the program prints, in UTF-8, in the order of the output neurons. */
#ifndef CSNN_CLASSES_H
#define CSNN_CLASSES_H

static const char *const csnn_class_names[] = {
"""


def classes(names: Sequence[str], prefix: str) -> str:
    """`classes.h`, whose names remain as they are, even if they contain `csnn_`."""
    rows = "".join(f"    {string(name)},\n" for name in names)
    return f"{prefixed(_CLASSES, prefix)}{rows}}};\n\n#endif\n"


def weights(config: ModelConfig, tensors: Tensors) -> Iterator[str]:
    """`weights.h`, in pieces."""
    yield "/* The parameters, exact to the last bit: floats are hexadecimal. Included by csnn.c only. */\n"
    made, rows, lists = layout(config), list[str](), list[str]()

    def place(inputs: Sequence[Events]) -> str:
        first = len(lists)
        lists.extend(_joined(one.map.first, one.map.begin, often) for one, often in counted(inputs))
        return _joined(first, len(inputs))

    for source, name in zip(made.each, identifiers(source.node.name for source in made.each), strict=True):
        yield from _constants(config, source, name, tensors)
        weight = "NULL" if isinstance(source.node.operation, OneToOne) else f"{name}_weight"
        window = _joined(*_window(config.graph, source.node, source.after))
        shape = _joined(*source.map[:3])
        arrays = f"{source.drive}, {weight}, {name}_scale, {name}_bias"
        rows.append(f"{shape}, {place(source.inputs)}, {arrays}, {window}")
    yield table("source sources[CSNN_SOURCES]", rows)
    firsts = itertools.accumulate(map(len, made.sources), initial=0)
    separate = (int(node.operation.separate) for node in config.graph.neurons)
    yield table("layer layers[CSNN_LAYERS]", map(_joined, firsts, map(len, made.sources), separate))
    yield table("map maps[CSNN_LAYERS]", [_joined(*one) for one in made.maps])
    if made.copies:
        copied = [(one.before, place(one.inputs), one.inputs[0].map.width, one) for one in made.copies]
        numbers = [f"{before}, {read}, {_joined(width, *_pool(one.pool))}" for before, read, width, one in copied]
        yield table(
            "copy copies[CSNN_COPIES]", map("{}, {{{}}}".format, numbers, (_joined(*one.map) for one in made.copies))
        )
    yield table("list lists[CSNN_LISTS]", lists or ["0, 0, 1"])


def _joined(*numbers: int) -> str:
    return ", ".join(map(str, numbers))


def _pool(pool: Pooling | None) -> tuple[int, int, int]:
    """The fields pool, pool_stride and pool_is_max."""
    return (pool.size, pool.stride, int(pool.kind == "max")) if pool else (1, 1, 0)


def _window(graph: Graph, node: WeightedNode, pool: Pooling | None) -> tuple[int, ...]:
    """The fields of `struct source` from kernel_height to pool_is_max; a linear layer is one window over its input."""
    operation = node.operation
    if not isinstance(operation, Convolution):
        height, width = graph.unflattened(node)[:2] if len(graph.unflattened(node)) == 3 else (1, 1)
        return height, width, 1, 0, *_pool(None)
    return operation.kernel, operation.kernel, operation.stride, operation.padding, *_pool(pool)


def _constants(config: ModelConfig, source: Source, name: str, tensors: Tensors) -> Iterator[str]:
    """The arrays of a source."""
    node, bits = source.node, weight_bits(config)
    weight, scale = tensors[f"{node.name}.weight"], np.ones(node.channels, np.float32)
    if bits < 32:
        weight, scale = units(config, node, tensors)
    scale *= node.grid.input_step
    if source.after and source.after.kind == "avg":
        scale /= source.after.window
    if isinstance(node.operation, OneToOne):
        scale *= weight
    else:
        weight = from_torch(weight, config.graph.unflattened(node)).reshape(-1, node.channels)
        weight = np.pad(weight, ((0, 0), (0, _padded(config, node.channels) - node.channels)))
        yield from array("csnn_weight", f"{name}_weight", weight if bits == 32 else _packed(weight, bits))
    yield from array("float", f"{name}_scale", scale)
    often = source.after.window if source.after and source.after.kind == "sum" else 1  # each term of the sum adds it
    yield from array("float", f"{name}_bias", bias_of(node, tensors) * np.float32(often))


_PLACES = {
    8: (0, 2, 1, 3, 4, 6, 5, 7),
    4: (0, 4, 2, 6, 1, 5, 3, 7),
    2: (0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15),
}
"""By bits of a weight: the places in its words of each of `lanes` channels' weights, so sums.h finds them in order."""


def _packed(units: np.ndarray, bits: int) -> np.ndarray:
    """Packs whole numbers [rows, channels] into the words that sums.h adds: biased, in `_PLACES` order, uint32."""
    places = _PLACES[bits]
    biased = (units.astype(np.int64) + 2 ** (bits - 1)).reshape(-1, len(places))
    placed = np.empty_like(biased)
    placed[:, places] = biased
    words = placed.reshape(-1, 32 // bits) << bits * np.arange(32 // bits)
    return words.sum(1).astype(np.uint32)
