"""The kernels as functions of arrays; their differentiation rules are in event_ops.py.

The fields of the named tuples have the names that native/handlers.cc uses. A tuple of results has shapes before the
call and arrays after it. Operands that are None are omitted.

Shapes are image-major, [batch, time, neurons], as in native/kernels.h.
"""

import math
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import jax
import numpy as np
from jax import Array

from csnn_jax.engine.bits import LANES, ConstantCurrent, Rule
from csnn_jax.engine.library import call, float_of, words_of
from csnn_jax.engine.plan import Stage

Source = Literal["data", "spikes", "constant"]
"""Where a convolution's input came from."""

A = TypeVar("A", Array, jax.ShapeDtypeStruct)


class Fired(NamedTuple, Generic[A]):
    """The result of running a layer of neurons over the window.

    Attributes:
        bits: its spikes [batch, time, neurons / 16] uint16.
        membranes: [batch, time, neurons], or [0] if they aren't kept.
        last: membranes after the last step [batch, neurons].
    """

    bits: A
    membranes: A
    last: A


class ConvFired(NamedTuple, Generic[A]):
    """The result of running a convolutional layer over the window.

    Attributes:
        bits: as in `Fired`.
        membranes: as in `Fired`.
        winners: low and high bit of the winning place in the 2x2 window [batch, time, 2, neurons / 16] uint16; batch is
            0 if they aren't kept, or without a max-pool.
        last: as in `Fired`.
    """

    bits: A
    membranes: A
    winners: A
    last: A


class LayerOperands(NamedTuple):
    """The arguments of a layer with weights.

    Attributes:
        bits_in: spikes of the previous layer [batch, time, inputs / 16] uint16.
        kernel: [inputs, outputs] or [k, k, in, out].
        bias: [outputs] or [out].
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
    """

    bits_in: Array
    kernel: Array
    bias: Array
    beta: Array
    threshold: Array


class LifBackward(NamedTuple):
    """The arguments of the neurons' backward recurrence.

    Attributes:
        dspikes: [batch, time, neurons]; overwritten.
        membranes: [batch, time, neurons].
        given: the surrogate's derivative at every membrane; None if the kernels can compute it.
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
    """

    dspikes: Array
    membranes: Array
    given: Array | None
    beta: Array
    threshold: Array


class LifGradients(NamedTuple, Generic[A]):
    """The gradients of the neurons' backward recurrence.

    Attributes:
        dcurrent: [batch, time, neurons].
        total: dcurrent summed over time [batch, neurons].
        dbeta: [batch].
        dthreshold: [batch].
    """

    dcurrent: A
    total: A
    dbeta: A
    dthreshold: A


class ConvBackward(NamedTuple):
    """The arguments of a convolutional layer's backward pass.

    Attributes:
        dspikes: [batch, time, neurons]; None if it's the product of the next two.
        left: [batch, time, m].
        right: [cells, m, out].
        membranes: [batch, time, neurons].
        given: as in `LifBackward`.
        winners: as in `ConvFired`.
        bits_in: spikes of the previous layer [batch, time, inputs / 16] uint16.
        kernel: [k, k, in, out].
        grouped: the same numbers as [in / 16, out, k * k, 16].
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
        current_in: current of the input's neurons [batch, inputs]; only for a constant source, like the next two.
        beta_in: their membrane decay, a scalar.
        threshold_in: their theta, a scalar.
    """

    dspikes: Array | None
    left: Array | None
    right: Array | None
    membranes: Array
    given: Array | None
    winners: Array
    bits_in: Array
    kernel: Array
    grouped: Array
    beta: Array
    threshold: Array
    current_in: Array | None
    beta_in: Array | None
    threshold_in: Array | None


class ConvGradients(NamedTuple, Generic[A]):
    """The gradients from a convolutional layer's backward pass.

    Attributes:
        dkernel: [k, k, in, out].
        dbias: [out].
        dbeta: [batch].
        dthreshold: [batch].
        din: gradient of the input, by source: [0] for data, [batch, time, inputs] for spikes, and the current's [batch,
            inputs] for a constant one.
    """

    dkernel: A
    dbias: A
    dbeta: A
    dthreshold: A
    din: A


def image_current(image: Array, kernel: Array, bias: Array, stage: Stage) -> tuple[Array, Array | None]:
    """A convolution of the same image at every step, and its pooling.

    Args:
        image: [batch, height, width, in].
        kernel: [k, k, in, out], out a multiple of 16.
        bias: [out].
        stage: its geometry.

    Returns:
        The current [batch, neurons], and the winning place of each max-pool [batch, neurons] uint8; None without one.
    """
    geometry, batch, neurons = _geometry(stage), len(image), math.prod(stage.shape[:2]) * kernel.shape[-1]
    winners = jax.ShapeDtypeStruct((batch if geometry["max"] else 0, neurons), np.uint8)
    results = {"current": float_of(batch, neurons), "winners": winners}
    found = call("image_current", {"image": image, "kernel": kernel, "bias": bias}, results, **geometry)
    return found["current"], found["winners"] if geometry["max"] else None


def constant_lif(constant: ConstantCurrent, rule: Rule, time: int, channels: tuple[int, int]) -> Fired[Array]:
    """Neurons driven by the same current at every step; `channels`: without and with padding."""
    batch, count = constant.current.shape
    sizes: dict[str, Any] = {"time": np.int64(time), "channels": np.int64(channels[0]), "stride": np.int64(channels[1])}
    results = _fired(batch, time, count, rule)
    return Fired(**call("constant_lif", constant._asdict(), results._asdict(), reset=rule.reset, **sizes))


def linear_lif(operands: LayerOperands, rule: Rule, channels: int) -> Fired[Array]:
    """A linear layer and its neurons; `channels`: number of neurons without padding."""
    batch, time, _ = operands.bits_in.shape
    results = _fired(batch, time, operands.kernel.shape[1], rule)
    sizes: dict[str, Any] = {"channels": np.int64(channels), "weight_bits": np.int64(rule.weight_bits)}
    return Fired(**call("linear_lif", operands._asdict(), results._asdict(), reset=rule.reset, **sizes))


def conv_lif(operands: LayerOperands, rule: Rule, stage: Stage) -> ConvFired[Array]:
    """A convolution, its pooling and the neurons; `stage` has their geometry."""
    batch, time, _ = operands.bits_in.shape
    neurons = math.prod(stage.shape[:2]) * operands.kernel.shape[-1]
    geometry = _geometry(stage)
    winners = words_of(batch if rule.keep and geometry["max"] else 0, time, 2, neurons // LANES)
    found = call(
        "conv_lif",
        operands._asdict(),
        _fired(batch, time, neurons, rule)._asdict() | {"winners": winners},
        reset=rule.reset,
        channels=np.int64(stage.channels),
        weight_bits=np.int64(rule.weight_bits),
        **geometry,
    )
    return ConvFired(**found)


def lif_backward(operands: LifBackward, rule: Rule) -> LifGradients[Array]:
    """The reverse recurrence of neurons whose membranes were kept."""
    shape = operands.membranes.shape
    results = LifGradients(
        dcurrent=float_of(*shape),
        total=float_of(shape[0], shape[2]),
        dbeta=float_of(shape[0]),
        dthreshold=float_of(shape[0]),
    )
    over = {"dspikes": "dcurrent"}
    return LifGradients(**call("lif_backward", operands._asdict(), results._asdict(), over, **rule.attributes))


def linear_weights(bits_in: Array, dcurrent: Array) -> Array:
    """Weight gradient of a linear layer [inputs, outputs]."""
    results = {"dkernel": float_of(bits_in.shape[2] * LANES, dcurrent.shape[2])}
    return call("linear_weights", {"bits_in": bits_in, "dcurrent": dcurrent}, results)["dkernel"]


def conv_backward(operands: ConvBackward, rule: Rule, stage: Stage, source: Source) -> ConvGradients[Array]:
    """The backward pass of a convolution, its pooling and its neurons, whose input came from `source`."""
    batch, time, words = operands.bits_in.shape
    inputs = words * LANES
    into = {"data": float_of(0), "spikes": float_of(batch, time, inputs), "constant": float_of(batch, inputs)}
    results = ConvGradients(
        dkernel=float_of(*operands.kernel.shape),
        dbias=float_of(operands.kernel.shape[-1]),
        dbeta=float_of(batch),
        dthreshold=float_of(batch),
        din=into[source],
    )
    behind = {"surrogate_in": rule.surrogate} if source == "constant" else {}
    attributes = rule.attributes | behind | {"source": source} | _geometry(stage)
    return ConvGradients(**call("conv_backward", operands._asdict(), results._asdict(), **attributes))


def image_weights(
    image: Array, dcurrent: Array, winners: Array | None, kernel: Array, stage: Stage
) -> tuple[Array, Array]:
    """Gradient of the weights and biases of a convolution of the same image at every step.

    Args:
        image: [batch, height, width, in].
        dcurrent: gradient of the pooled current [batch, neurons].
        winners: as returned by `image_current`.
        kernel: [k, k, in, out], out a multiple of 16.
        stage: its geometry.

    Returns:
        [k, k, in, out] and [out].
    """
    operands = {"image": image, "dcurrent": dcurrent, "winners": winners, "kernel": kernel}
    results = {"dkernel": float_of(*kernel.shape), "dbias": float_of(kernel.shape[-1])}
    found = call("image_weights", operands, results, **_geometry(stage))
    return found["dkernel"], found["dbias"]


def multiply(left: Array, right: Array) -> Array:
    """left [rows, inner] @ right [inner, columns], columns a multiple of 16."""
    return call("multiply", {"left": left, "right": right}, {"product": float_of(len(left), right.shape[1])})["product"]


def add_rows(x: Array) -> Array:
    """The sum of x [rows, columns] over its rows."""
    return call("add_rows", {"x": x}, {"sums": float_of(x.shape[1])})["sums"]


def _geometry(stage: Stage) -> dict[str, Any]:
    """The attributes that describe a convolution's windows and cells to a kernel."""
    assert stage.convolution is not None
    return {
        "size": np.array(stage.source.shape[:2], np.int64),
        "padding": np.int64(stage.convolution.padding),
        "pool": np.int64(stage.pool.size if stage.pool else 1),
        "max": np.bool_(stage.pool is not None and stage.pool.kind == "max"),
    }


def _fired(batch: int, time: int, neurons: int, rule: Rule) -> Fired[jax.ShapeDtypeStruct]:
    kept = (batch, time, neurons) if rule.keep else (0,)
    return Fired(
        bits=words_of(batch, time, neurons // LANES),
        membranes=float_of(*kept),
        last=float_of(batch, neurons),
    )
