"""The event engine: runs the window layer by layer on the CPU, at a cost that follows the spikes.

Same functions, same spikes as engine/scan.py (float32: where a membrane lies within rounding of its
threshold, sums taken in another order may differ). Kernels in C++, see native/; operations in event_ops.py.
What it does not cover it refuses with `Unsupported`. Its functions go through `jax.jit` and `jax.grad`, but not through
`jax.vmap`, which has no rule for a foreign call, nor `jax.jvp`, which has none for a `custom_vjp`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from csnn_jax.config import Layer, Readout
from csnn_jax.data.images import Images, highest_count
from csnn_jax.engine import bits, library
from csnn_jax.engine import event_ops as ops
from csnn_jax.engine.bits import Drive, LayerOutput, Rule, Spikes
from csnn_jax.engine.scan import Dropout, Tally, Trace, by_channel, check_input
from csnn_jax.network import surrogate
from csnn_jax.network.model import CSNN, Block, Membranes, floats, value
from csnn_jax.network.neuron import clip_beta


class Unsupported(NotImplementedError):
    """A model or an input that the event engine does not cover; the scan engine does."""


def entering(model: CSNN, x: Array, scale: float) -> Array:
    """A batch as the engine takes it: floats, bytes divided by `scale`; counts and spikes that are bytes stay so."""
    return x if x.ndim == 5 and x.dtype == jnp.uint8 and scale == 1 else floats(x, scale, model)


def run(model: CSNN, x: Array) -> tuple[Membranes, Array]:
    """Runs the window for training: (last membranes, output spikes [time, batch, classes]).

    Differentiable through the spikes with respect to the model's parameters; asking for a gradient through
    the last membranes raises `Unsupported`.

    Args:
        model: a float32 network.
        x: floats: an image [batch, H, W, C], presented at every step, or a sequence [time, batch, H, W, C] of counts,
            whole numbers from 0 to 15, which may be uint8; of spikes, 0 and 1, where the network's encoding makes them.

    Raises:
        ValueError: x of another shape or type, or empty, or a sequence of other numbers. (Inside `jax.jit` numbers are
            not known yet: there the sequence ends in a JaxRuntimeError that says the same.)
        Unsupported: what the engine does not cover, by name.
    """
    outputs = _forward(model, x, keep=True)
    return _last(model, outputs), _output(model, outputs)


def watch(model: CSNN, x: Array, reads: Readout = "spikes", dropout: Dropout | None = None) -> tuple[Array, Array]:
    """Runs the window for training, and sees every layer.

    Args:
        model: a float32 network.
        x: as `run` takes it.
        reads: what is wanted of the output layer.
        dropout: which neurons are left out; None: none.

    Returns:
        Output spikes or membranes [time, batch, classes], differentiable, and densities, the share of neurons that
            spike at a step [layers], which are not.

    Raises:
        Unsupported: what the engine does not cover, by name.
    """
    outputs = _forward(model, x, keep=True, reads=reads, dropout=dropout)
    output = _output(model, outputs, reads)
    time, batch = output.shape[:2]
    neurons = jnp.asarray([math.prod(layer.out_shape) for layer in model.config.layers], jnp.float32)
    return output, _fired(outputs).sum(0) / (neurons * (time * batch))


def trace(model: CSNN, x: Array) -> tuple[Membranes, Trace]:
    """Runs the window and records all: (last membranes, every layer's trace). Errors as `run`'s."""
    outputs = _forward(model, x, keep=True, drives=False)

    def dense(values: Array, shape: tuple[int, ...]) -> Array:
        batch, time, _ = values.shape
        return _unpadded(values.reshape(batch * time, -1), shape).reshape(batch, time, *shape).swapaxes(0, 1)

    pairs = list(zip(outputs, [layer.out_shape for layer in model.config.layers], strict=True))
    membranes = tuple(dense(output.membranes, shape) for output, shape in pairs)
    spikes = tuple(dense(bits.unpack(output.spikes), shape) for output, shape in pairs)
    return _last(model, outputs), Trace(membranes, spikes)


def tally(model: CSNN, x: Array) -> Tally:
    """Runs the window and keeps sums only. See `run` for the arguments and errors."""
    check_input(model, x, counts=True)
    reads = model.config.readout
    outputs = _forward(model, x, keep=False, reads=reads)
    return Tally(_output(model, outputs, reads).sum(0), _fired(outputs))


def fires(model: CSNN, x: Array) -> tuple[Array, ...]:
    """Tells which channels, or neurons of linear layers, spike at all in the window: bool [batch, channels] by layer.

    See `run` for the arguments and errors.
    """
    outputs = _forward(model, x, keep=False)
    ever = [bits.unpack(output.spikes._replace(bits=bits.ever(output.spikes.bits))) for output in outputs]
    shapes = [layer.out_shape for layer in model.config.layers]
    return tuple(by_channel(_unpadded(spikes > 0, shape)) for spikes, shape in zip(ever, shapes, strict=True))


def unsupported(model: CSNN, images: Images | Array | None = None) -> str | None:
    """Why the engine cannot run this model, on these images if some are given, in one line; None where it can."""
    frames = images is not None and images.ndim == 5
    reason = _lacking(model, frames)
    if reason is None and frames and model.config.encoding == "direct":
        assert images is not None
        return _no_counts(images, model.config.input_scale)
    return reason


def _lacking(model: CSNN, frames: bool) -> str | None:
    """What the engine lacks for this model, fed frames or images, in one line; None: nothing."""
    if not library.available():
        return library.failure()
    if model.blocks[0].dtype != jnp.float32:
        return f"the event engine computes in float32, not {model.blocks[0].dtype}"
    limits = library.limits()
    if model.config.reset not in limits.resets:
        return f"the event engine has no reset {model.config.reset}"
    planes = _planes(model) if frames else 1
    several = (planes, *[1] * (len(model.blocks) - 1))
    layers = zip(model.config.layers, several, strict=True)
    reasons = (_not_covered(layer, limits, planes) for layer, planes in layers if layer.kind == "conv")
    return next(filter(None, reasons), None)


def _no_counts(images: Images | Array, scale: float) -> str | None:
    """Why frames are not what the engine takes in a sequence, in one line; None where they are."""
    most = 2 ** library.limits().count_planes - 1
    takes = f"the event engine takes frames of whole numbers from 0 to {most}"
    if images.dtype == np.uint8 and scale != 1:
        return f"{takes}, these are divided by {scale:g}"
    highest = highest_count(images)
    if highest is None:
        return f"{takes}, these hold fractions or negative numbers"
    return f"{takes}, these go up to {highest}" if highest > most else None


def _not_covered(layer: Layer, limits: library.Limits, planes: int) -> str | None:
    """Why the kernels can't run this convolution, in one line; None where they can."""
    if layer.stride != 1:
        return f"the event engine has convolutions of stride 1, {layer.name} has {layer.stride}"
    if layer.kernel not in limits.kernel_sizes:
        return (
            f"the event engine has kernels of up to {max(limits.kernel_sizes)} pixels, {layer.name} has {layer.kernel}"
        )
    if layer.pool and (layer.pool.size not in limits.pool_sizes or layer.pool.stride != layer.pool.size):
        return f"the event engine pools 2x2 pixels or none, {layer.name} {layer.pool}"
    if layer.kernel**2 * bits.padded(planes * layer.in_shape[-1]) > limits.inputs:
        bound = f"less than {limits.inputs + 1:,} inputs"
        return f"the event engine sums {bound}, {layer.name} has {layer.in_shape[-1]} channels"
    return None


def _forward(
    model: CSNN,
    x: Array,
    keep: bool,
    drives: bool = True,
    reads: Readout = "spikes",
    dropout: Dropout | None = None,
) -> list[LayerOutput]:
    """Every layer's output over the window.

    `keep`: store what the backward pass needs. `drives`: the first layer may take its gradient as a `Drive`
    and store nothing. `reads`: what is wanted of the output layer. `dropout`: which neurons are left out.
    """
    check_input(model, x, counts=True)
    if reason := _lacking(model, frames=x.ndim == 5):
        raise Unsupported(reason)
    if x.ndim == 5:
        most = 2 ** _planes(model) - 1
        counts = ((x == jnp.round(x)) & (x >= 0) & (x <= most)).all()
        if not isinstance(counts, jax.core.Tracer) and not counts:
            raise ValueError(f"x is not a sequence of whole numbers from 0 to {most}; the scan engine takes others")
    masks = _masks(model, dropout)
    outputs: list[LayerOutput] = []
    for index, (block, mask) in enumerate(zip(model.blocks, masks, strict=True)):
        rule = _rule(model, block, keep)._replace(masked=mask is not None)
        if reads == "membrane" and block is model.blocks[-1]:
            rule = rule._replace(keep=True, read=True)
        if index == 0 and x.ndim == 4:
            outputs.append(_first(model, x, rule, drives, mask))
            continue
        before, scale = outputs[-1].spikes if index else _pack(x, block, _planes(model)), 1.0
        if index and dropout is not None and (kept := masks[index - 1]) is not None:
            before, scale = Spikes(before.bits & kept[:, None], before.port), dropout.scale
        outputs.append(_layer(model, block, before, rule, mask, scale, 1 if index else _planes(model)))
    return outputs


def _masks(model: CSNN, dropout: Dropout | None) -> list[Array | None]:
    """For each layer the bits of the neurons that stay [batch, neurons / 16], None where all do."""
    layers = model.config.layers
    found: list[Array | None] = [None] * len(layers)
    if dropout is not None:
        linear = [index for index, layer in enumerate(layers) if layer.kind == "linear" and index]
        for index, stays in zip(linear, dropout.masks, strict=True):
            stays = stays.reshape(1, len(stays), -1, layers[index - 1].channels).astype(jnp.uint8)
            found[index - 1] = bits.pack(stays).bits[:, 0]
    return found


def _output(model: CSNN, outputs: list[LayerOutput], reads: Readout = "spikes") -> Array:
    """Output spikes or membranes [time, batch, classes]."""
    output = outputs[-1].membranes if reads == "membrane" else bits.unpack(outputs[-1].spikes)
    return output[:, :, : model.config.num_classes].swapaxes(0, 1)


def _fired(outputs: list[LayerOutput]) -> Array:
    """Spikes of each image and layer [batch, layers]; no gradient."""
    return jnp.stack([bits.count(output.spikes) for output in outputs], axis=1)


def _last(model: CSNN, outputs: list[LayerOutput]) -> Membranes:
    shapes = [layer.out_shape for layer in model.config.layers]
    return tuple(
        _detached(_unpadded(output.last, shape), block.kernel[...])
        for output, shape, block in zip(outputs, shapes, model.blocks, strict=True)
    )


def _planes(model: CSNN) -> int:
    """Bits of the numbers that a sequence may hold: encodings make spikes, frames hold counts."""
    return library.limits().count_planes if model.config.encoding == "direct" else 1


def _pack(x: Array, block: Block, planes: int) -> Spikes:
    """A sequence [time, batch, H, W, C] as bits, in the layout that the first block takes."""
    time, batch, height, width, channels = x.shape
    x = x if x.dtype == jnp.uint8 else x.astype(jnp.float32)
    if block.layer.kind == "conv":
        return bits.pack(x.reshape(time, batch, height * width, channels), planes)
    return bits.pack(x.reshape(time, batch, 1, -1), planes)


def _first(model: CSNN, image: Array, rule: Rule, drives: bool, mask: Array | None) -> LayerOutput:
    """The first layer, which sees the same image at every step: its current is computed once, by XLA."""
    block = model.blocks[0]
    current = block.current(image.astype(jnp.float32))
    channels = block.layer.out_shape[-1]
    width = bits.padded(channels)
    current = jnp.pad(current, [(0, 0)] * (current.ndim - 1) + [(0, width - channels)])
    current = current.reshape(current.shape[0], -1)
    beta, threshold = _neuron(block)
    time = model.config.time_steps
    # A convolution can sum the gradient of its constant-driven input over time; then nothing is kept here.
    next_is_conv = len(model.blocks) > 1 and model.blocks[1].layer.kind == "conv"
    learnt = model.config.learn_beta or model.config.learn_threshold
    few = channels <= library.limits().constant_channels
    summed = next_is_conv and not learnt and rule.reset in ("subtract", "none") and few
    if drives and summed and isinstance(rule.surrogate, str):
        drive = Drive(current, beta, threshold)
        current, beta, threshold = jax.lax.stop_gradient(drive)
        rule = rule._replace(keep=False)
        output = ops.constant_lif(current, beta, threshold, rule, time, (channels, width))
        return output._replace(spikes=Spikes(output.spikes.bits, drive))
    return ops.constant_lif(current, beta, threshold, rule, time, (channels, width), mask)


def _layer(
    model: CSNN, block: Block, before: Spikes, rule: Rule, mask: Array | None, scale: float, planes: int
) -> LayerOutput:
    """A layer that takes spikes, each of which counts for `scale`, or counts of so many `planes`."""
    beta, threshold = _neuron(block)
    channels = block.layer.out_shape[-1]
    extra = bits.padded(channels) - channels
    bias = jnp.pad(block.biases, (0, extra))
    kernel = block.kernel[...]
    if planes > 1:
        kernel = bits.with_planes(kernel, planes)
    if block.layer.kind == "conv":
        inputs = planes * block.layer.in_shape[-1]
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, bits.padded(inputs) - inputs), (0, extra)))
        after = model.config.layers[model.config.layers.index(block.layer) + 1]
        # Only behind a constant current do parts of the product settle, which the kernel then leaves out; XLA's product
        # of everything is faster than the kernel's.
        settles = after.kind == "linear" and isinstance(before.port, Drive)
        product = bits.padded(after.out_shape[0]) if settles else None
        return ops.conv_lif(before, kernel, bias, beta, threshold, rule, block.layer, product, mask)
    # Where a convolution's spikes come in, every position's channels were rounded up.
    neurons = before.bits.shape[-1] * bits.LANES
    inputs = planes * _input_channels(model, block)
    if scale != 1:
        kernel = kernel * scale
    kernel = kernel.reshape(-1, inputs, channels)
    kernel = jnp.pad(kernel, ((0, 0), (0, bits.padded(inputs) - inputs), (0, extra))).reshape(neurons, -1)
    return ops.linear_lif(before, kernel, bias, beta, threshold, rule, channels, mask)


def _input_channels(model: CSNN, block: Block) -> int:
    """Channels at each position of a linear block's input."""
    layers = model.config.layers
    index = layers.index(block.layer)
    return layers[index - 1].out_shape[-1] if index else math.prod(block.layer.in_shape)


def _neuron(block: Block) -> tuple[Array, Array]:
    """(beta, clipped, and threshold) as float32 scalars."""
    beta, threshold = (jnp.asarray(value(v), jnp.float32) for v in (block.beta, block.threshold))
    return clip_beta(beta), threshold


def _rule(model: CSNN, block: Block, keep: bool) -> Rule:
    name, slope = _named(block.derivative)
    return Rule(model.config.reset, name or block.derivative, slope, keep)


def _named(derivative: surrogate.Derivative) -> tuple[str | None, float]:
    """(name, slope) of a derivative that the kernels have; (None, 0) of any other."""
    bare, slope = derivative, None
    partial = derivative if isinstance(derivative, functools.partial) else None
    if partial and not partial.args and set(partial.keywords) == {"slope"}:
        bare, slope = partial.func, partial.keywords["slope"]
    for name, function in surrogate.BY_NAME.items():
        if function is bare:
            default = (bare.__defaults__ or (0.0,))[0]
            return name, float(default if slope is None else slope)
    return None, 0.0


def _unpadded(membranes: Array, shape: tuple[int, ...]) -> Array:
    """[batch, padded neurons] to [batch, *shape]."""
    return membranes.reshape(membranes.shape[0], *shape[:-1], bits.padded(shape[-1]))[..., : shape[-1]]


@jax.custom_vjp
def _detached(membranes: Array, parameter: Array) -> Array:
    """The membranes; a gradient through them to the parameter is refused, where it would silently be 0."""
    del parameter
    return membranes


def _detached_backward(_: None, cotangent: Array | jax.custom_derivatives.SymbolicZero) -> tuple[None, None]:
    if isinstance(cotangent, jax.custom_derivatives.SymbolicZero):
        return None, None
    raise Unsupported("the event engine has no gradient through the last membranes; use the scan engine")


_detached.defvjp(lambda membranes, _: (membranes.value, None), _detached_backward, symbolic_zeros=True)
