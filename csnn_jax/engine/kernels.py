"""The kernels as functions on arrays; their rules of differentiation are in event_ops.py.

The fields of every named tuple stand in the order of the operation's binding in native/handlers.cc: who changes one of
the two changes the other. A results tuple holds shapes before the call and arrays after it.

Shapes are image-major, [batch, time, neurons], as in native/kernels.h.
"""

from typing import Generic, NamedTuple, TypeVar

import jax
import numpy as np
from jax import Array

from csnn_jax.engine.bits import LANES, Drive, Rule
from csnn_jax.engine.library import call, float_of, words_of

DATA, SPIKES, CONSTANT = range(3)
"""Where a convolution's input came from: `Source` of native/kernels.h."""

A = TypeVar("A", Array, jax.ShapeDtypeStruct)


class Fired(NamedTuple, Generic[A]):
    """What a layer of neurons gives.

    Attributes:
        bits: its spikes [batch, time, neurons / 16] uint16.
        membranes: [batch, time, neurons], or [0] where they are not kept.
        last: membranes after the last step [batch, neurons].
    """

    bits: A
    membranes: A
    last: A


class ConvFired(NamedTuple, Generic[A]):
    """What a convolutional layer gives.

    Attributes:
        bits: as in `Fired`.
        membranes: as in `Fired`.
        winners: low and high bit of the place in the 2x2 cell that won [batch, time, 2, neurons / 16] uint16; batch
            is 0 where they are not kept.
        last: as in `Fired`.
    """

    bits: A
    membranes: A
    winners: A
    last: A


class Layer(NamedTuple):
    """What a layer with weights takes.

    Attributes:
        bits_in: spikes of the layer before [batch, time, inputs / 16] uint16.
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
    """What the neurons' reverse recurrence takes.

    Attributes:
        dspikes: [batch, time, neurons]; is written over.
        membranes: [batch, time, neurons].
        given: the surrogate's derivative at every membrane, or [0] where the kernels know it.
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
    """

    dspikes: Array
    membranes: Array
    given: Array
    beta: Array
    threshold: Array


class LifGradients(NamedTuple, Generic[A]):
    """What the neurons' reverse recurrence gives: dcurrent [batch, time, neurons], the others [batch]."""

    dcurrent: A
    dbeta: A
    dthreshold: A


class ConvBackward(NamedTuple):
    """What the backward pass of a convolutional layer takes.

    Attributes:
        dspikes: [batch, time, neurons], or [0] where it is the product of the next two.
        left: [batch, time, m], or [0].
        right: [cells, m, out], or [0].
        membranes: [batch, time, neurons].
        given: as in `LifBackward`.
        winners: as in `ConvFired`.
        bits_in: spikes of the layer before [batch, time, inputs / 16] uint16.
        kernel: [k, k, in, out].
        grouped: the same numbers as [in / 16, out, k * k, 16].
        beta: membrane decay, a scalar in [0, 1].
        threshold: theta, a scalar.
        current_in: of the neurons behind the input [batch, inputs], or [0]; used for CONSTANT only, as the next two.
        beta_in: their membrane decay, a scalar.
        threshold_in: their theta, a scalar.
    """

    dspikes: Array
    left: Array
    right: Array
    membranes: Array
    given: Array
    winners: Array
    bits_in: Array
    kernel: Array
    grouped: Array
    beta: Array
    threshold: Array
    current_in: Array
    beta_in: Array
    threshold_in: Array


class ConvGradients(NamedTuple, Generic[A]):
    """What the backward pass of a convolutional layer gives.

    Attributes:
        dkernel: [k, k, in, out].
        dbias: [out].
        dbeta: [batch].
        dthreshold: [batch].
        din: gradient of the input: [0] for DATA, [batch, time, inputs] for SPIKES; for CONSTANT that of the
            current [batch, inputs].
    """

    dkernel: A
    dbias: A
    dbeta: A
    dthreshold: A
    din: A


def constant_lif(drive: Drive, rule: Rule, time: int, channels: tuple[int, int]) -> Fired[Array]:
    """Neurons driven by the same current at every step; `channels`: those that exist, and after rounding up."""
    batch, count = drive.current.shape
    exist, stride = map(np.int64, channels)
    results = _fired(batch, time, count, rule)
    return Fired(*call("constant_lif", results, *drive, reset=rule.reset_number, channels=exist, stride=stride))


def linear_lif(layer: Layer, rule: Rule, channels: int) -> Fired[Array]:
    """A linear layer and its neurons, of which `channels` exist."""
    batch, time, _ = layer.bits_in.shape
    results = _fired(batch, time, layer.kernel.shape[1], rule)
    return Fired(*call("linear_lif", results, *layer, reset=rule.reset_number, channels=np.int64(channels)))


def conv_lif(layer: Layer, rule: Rule, channels: int, size: tuple[int, int], max_pool: bool) -> ConvFired[Array]:
    """A convolution of height x width pixels, pooling and the neurons, of which `channels` exist at a position."""
    batch, time, _ = layer.bits_in.shape
    neurons = (size[0] // 2) * (size[1] // 2) * layer.kernel.shape[-1]
    bits, membranes, last = _fired(batch, time, neurons, rule)
    winners = words_of(batch if rule.keep and max_pool else 0, time, 2, neurons // LANES)
    found = call(
        "conv_lif",
        ConvFired(bits, membranes, winners, last),
        *layer,
        size=np.array(size, np.int64),
        reset=rule.reset_number,
        channels=np.int64(channels),
        max=np.int64(max_pool),
    )
    return ConvFired(*found)


def lif_backward(operands: LifBackward, rule: Rule) -> LifGradients[Array]:
    """The reverse recurrence of neurons whose membranes were kept."""
    shape = operands.membranes.shape
    results = LifGradients(dcurrent=float_of(*shape), dbeta=float_of(shape[0]), dthreshold=float_of(shape[0]))
    return LifGradients(*call("lif_backward", results, *operands, aliases={0: 0}, **rule.attributes))


def linear_weights(bits_in: Array, dcurrent: Array, shape: tuple[int, ...]) -> Array:
    """Weight gradient of a linear layer, of this shape."""
    (dkernel,) = call("linear_weights", (float_of(*shape),), bits_in, dcurrent)
    return dkernel


def conv_backward(
    operands: ConvBackward, rule: Rule, size: tuple[int, int], max_pool: bool, source: int
) -> ConvGradients[Array]:
    """The backward pass of a convolution of height x width pixels whose input came from `source`."""
    batch, time, words = operands.bits_in.shape
    into = {DATA: (0,), CONSTANT: (batch, words * LANES), SPIKES: (batch, time, words * LANES)}[source]
    results = ConvGradients(
        dkernel=float_of(*operands.kernel.shape),
        dbias=float_of(operands.kernel.shape[-1]),
        dbeta=float_of(batch),
        dthreshold=float_of(batch),
        din=float_of(*into),
    )
    found = call(
        "conv_backward",
        results,
        *operands,
        size=np.array(size, np.int64),
        max=np.int64(max_pool),
        source=np.int64(source),
        **rule.attributes,
    )
    return ConvGradients(*found)


def _fired(batch: int, time: int, neurons: int, rule: Rule) -> Fired[jax.ShapeDtypeStruct]:
    kept = (batch, time, neurons) if rule.keep else (0,)
    return Fired(
        bits=words_of(batch, time, neurons // LANES),
        membranes=float_of(*kept),
        last=float_of(batch, neurons),
    )
