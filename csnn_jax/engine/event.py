"""The event engine: runs the window layer by layer on the CPU, at a cost proportional to the number of spikes.

It computes the same membranes and spikes as engine/scan.py. The kernels are in C++ (native/), and their JAX operations
in event_ops.py. It raises `Unsupported` for networks that it doesn't cover, and for everything that `jax.grad` and
similar could ask for but the kernels don't compute: it never returns a gradient of 0 instead. Its functions work with
`jax.jit`, `jax.grad`, `jax.checkpoint`, `jax.lax.scan` and `jax.lax.map`.
"""

import math
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero

from csnn_jax.config.graph import IMAGE, Graph, Linear, WeightedNode
from csnn_jax.config.network import Readout
from csnn_jax.engine import bits, library
from csnn_jax.engine import event_ops as ops
from csnn_jax.engine.bits import ConstantCurrent, LayerOutput, NeuronValues, Rule, Spikes
from csnn_jax.engine.coverage import lacking, planes_of
from csnn_jax.engine.fixed import add_up, image_current
from csnn_jax.engine.library import Unsupported
from csnn_jax.engine.plan import Stage, reader, stages
from csnn_jax.engine.scan import Dropout, by_channel, check_input, usual_output
from csnn_jax.network import inputs, surrogate
from csnn_jax.network.model import CSNN, NeuronParameters, States, Weights, scaled_input, with_rounded_weights
from csnn_jax.network.neuron import clip
from csnn_jax.network.rounding import rounded
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.window import SpikeCounts, Trace

T = TypeVar("T")
LAST = "the last states; use csnn_jax.run"
MEMBRANES = 'a trace\'s membranes; use csnn_jax.trace, or watch(model, x, "membrane") for the output layer'
SETTLING = 32
"""Number of steps in which a membrane settles under a constant current: 24 to 26 at beta 0.5."""


def run(model: CSNN, x: Array) -> tuple[States, Array]:
    """Runs the window for training and returns the last states and the output, as `scan.run` does.

    The output is differentiable once, in reverse mode, with respect to the model's parameters and x. A gradient through
    the last states raises `Unsupported`.

    Args:
        model: a float32 network.
        x: bytes or floats, see `scan.run`: an image [batch, H, W, C], presented at every step, or a sequence [time,
            batch, H, W, C] of counts from 0 to 15, or of spikes (0 and 1) if the network encodes its input.

    Returns:
        (last states, output [time, batch, classes]): spikes, or membranes with `output="integrator"`.

    Raises:
        ValueError: x has the wrong shape or type or is empty, or has other values. (Inside `jax.jit`, where values
            aren't known, such a sequence raises a JaxRuntimeError at run time.)
        Unsupported: the engine doesn't support the network; the message says why.
    """
    model, x = _ready(model, x)
    reads = usual_output(model)
    outputs = _forward(model, x, keep=True, reads=reads)
    last = _refusing(LAST, _last(model, outputs), model, x)
    return last, inputs.nan_unless_finite(model.parameters, _output(model, outputs, reads))


def watch(model: CSNN, x: Array, reads: Readout = "spikes", dropout: Dropout | None = None) -> tuple[Array, Array]:
    """Runs the window for training and records the density of every layer.

    Args:
        model: a float32 network.
        x: as in `run`.
        reads: which output to return: spikes or membranes.
        dropout: neurons to drop; None: none.

    Returns:
        Output spikes or membranes [time, batch, classes], which are differentiable, and densities, the fraction of
            neurons that spike at a step [layers]; a gradient through them raises `Unsupported`.

    Raises:
        Unsupported: the engine doesn't support the network; the message says why.
    """
    model, x = _ready(model, x)
    outputs = _forward(model, x, keep=True, reads=reads, dropout=dropout)
    output = _output(model, outputs, reads)
    time, batch = output.shape[:2]
    parts = jnp.asarray([1 / (node.size * time * batch) for node in model.config.graph.neurons], jnp.float32)
    densities = rounded(add_up(_fired(outputs), 0) * parts)
    return output, _refusing("densities; use scan.watch", densities, model, x)


def trace(model: CSNN, x: Array) -> tuple[States, Trace]:
    """Runs the window and records everything: (last states, every layer's trace). Raises the errors of `run`.

    The spikes are differentiable; a gradient through states or membranes raises `Unsupported`.
    """
    model, x = _ready(model, x)
    outputs = _forward(model, x, keep=True, sums=False)

    def dense(values: Array, shape: tuple[int, ...]) -> Array:
        batch, time, _ = values.shape
        return _unpadded(values.reshape(batch * time, -1), shape).reshape(batch, time, *shape).swapaxes(0, 1)

    pairs = list(zip(model.config.graph.neurons, outputs, strict=True))
    states = {node.name: {MEMBRANE: dense(output.membranes, node.shape)} for node, output in pairs}
    spikes = {node.name: dense(bits.unpack(output.spikes), node.shape) for node, output in pairs}
    last = _refusing(LAST, _last(model, outputs), model, x)
    return last, Trace(_refusing(MEMBRANES, states, model, x), spikes).ordered(model.config.graph)


def tally(model: CSNN, x: Array) -> SpikeCounts:
    """Runs the window and keeps only sums, without what a gradient needs. See `run` for the arguments and errors."""
    model, x = _ready(model, x)
    reads = model.config.readout
    outputs = _forward(model, x, keep=False, reads=reads)
    output = _output(model, outputs, reads)
    # In time order, like the scan engine, because sums of membranes round.
    scores, _ = jax.lax.scan(lambda sums, step: (sums + step, None), jnp.zeros_like(output[0]), output)
    return _refusing("tally; use its run, or csnn_jax.tally", SpikeCounts(scores, _fired(outputs)), model, x)


def fires(model: CSNN, x: Array) -> tuple[Array, ...]:
    """Returns which channels, or neurons of linear layers, ever spike in the window: bool [batch, channels] by layer.

    See `run` for the arguments and errors.
    """
    model, x = _ready(model, x)
    outputs = _forward(model, x, keep=False)
    ever = [bits.unpack(output.spikes._replace(bits=bits.ever(output.spikes.bits))) for output in outputs]
    shapes = [node.shape for node in model.config.graph.neurons]
    return tuple(by_channel(_unpadded(spikes > 0, shape)) for spikes, shape in zip(ever, shapes, strict=True))


def _ready(model: CSNN, x: Array) -> tuple[CSNN, Array]:
    """The rounded network and input; counts and spikes that are bytes stay bytes. Raises the errors of `run`."""
    check_input(model, x)
    if reason := lacking(model, frames=x.ndim == 5):
        raise Unsupported(reason)
    if x.ndim == 4:
        return with_rounded_weights(model), scaled_input(model, x)
    if x.dtype != jnp.uint8 or model.config.entering.scale != 1:
        x = scaled_input(model, x)
    most = 2 ** planes_of(model) - 1
    counts = ((x == jnp.round(x)) & (x >= 0) & (x <= most)).all()
    if not isinstance(counts, jax.core.Tracer) and not counts:
        raise ValueError(f"x isn't a sequence of whole numbers from 0 to {most}; use the scan engine for others")
    return with_rounded_weights(model), x


@surrogate.reverse_mode_only()
def _forward(
    model: CSNN,
    x: Array,
    keep: bool,
    sums: bool = True,
    reads: Readout = "spikes",
    dropout: Dropout | None = None,
) -> list[LayerOutput]:
    """Every layer's output over the window.

    `keep`: store what the backward pass needs. `sums`: the first layer may take its gradient summed over time, through
    its `ConstantCurrent`, and store nothing. `reads`: what the caller reads from the output layer. `dropout`: neurons
    to drop.
    """
    graph, masks = model.config.graph, _masks(model, dropout)
    outputs: dict[str, LayerOutput] = {}
    for stage in stages(graph):
        name, source = stage.neurons.name, stage.source.name
        own, values = model.weights[stage.name], _values(model.neurons[name], masks.get(name))
        rule = _rule(model.neurons[name], keep)._replace(masked=name in masks)
        if reads == "membrane" and stage.neurons is graph.neurons[-1]:
            rule = rule._replace(keep=True, read=True)
        if source == IMAGE and x.ndim == 4:
            outputs[name] = _constant(model, stage, own, values, x, rule, sums)
            continue
        planes, scale = planes_of(model) if source == IMAGE else 1, 1.0
        before = _pack(x, stage, planes) if source == IMAGE else outputs[source].spikes
        if dropout is not None and source in masks:
            before, scale = Spikes(before.bits & masks[source][:, None], before.port), dropout.scale
        outputs[name] = _spiking(graph, stage, own, values, before, rule, scale, planes)
    return list(outputs.values())


def _masks(model: CSNN, dropout: Dropout | None) -> dict[str, Array]:
    """Bits of the neurons that dropout keeps [batch, neurons / 16], by node, for those that may lose spikes."""
    masks: dict[str, Array] = {}
    if dropout is not None:
        for neurons, stays in zip(model.config.graph.feeding(Linear), dropout.masks, strict=True):
            stays = stays.reshape(1, len(stays), -1, neurons.shape[-1]).astype(jnp.uint8)
            masks[neurons.name] = bits.pack(stays).bits[:, 0]
    return masks


def _output(model: CSNN, outputs: list[LayerOutput], reads: Readout = "spikes") -> Array:
    """Output spikes or membranes [time, batch, classes]."""
    output = outputs[-1].membranes if reads == "membrane" else bits.unpack(outputs[-1].spikes)
    return output[:, :, : model.config.num_classes].swapaxes(0, 1)


def _fired(outputs: list[LayerOutput]) -> Array:
    """Spikes of each image and layer [batch, layers]; no gradient."""
    return jnp.stack([bits.count(output.spikes) for output in outputs], axis=1)


def _last(model: CSNN, outputs: list[LayerOutput]) -> States:
    shapes = [node.shape for node in model.config.graph.neurons]
    return tuple({MEMBRANE: _unpadded(output.last, shape)} for output, shape in zip(outputs, shapes, strict=True))


def _pack(x: Array, stage: Stage, planes: int) -> Spikes:
    """A sequence [time, batch, H, W, C] as bits, in the layout of the stage that reads it."""
    time, batch, height, width, channels = x.shape
    x = x if x.dtype == jnp.uint8 else x.astype(jnp.float32)
    if stage.convolution:
        return bits.pack(x.reshape(time, batch, height * width, channels), planes)
    return bits.pack(x.reshape(time, batch, 1, -1), planes)


def _constant(
    model: CSNN, stage: Stage, own: Weights, values: NeuronValues, image: Array, rule: Rule, sums: bool
) -> LayerOutput:
    """A stage that reads the same image at every step, so its current is computed once."""
    channels = stage.channels
    width = bits.padded(channels)
    kernel, bias = own.kernel[...], own.biases
    kernel, bias = (jnp.pad(w, [(0, 0)] * (w.ndim - 1) + [(0, width - channels)]) for w in (kernel, bias))
    current = image_current(image.astype(jnp.float32), kernel, bias, stage)
    time = model.config.time_steps
    # A convolution can sum the gradient of its constant-driven input over time, so nothing is kept here.
    after = reader(model.config.graph, stage)  # conv_lif also applies its reset to the layer below
    next_is_conv = after is not None and after.convolution and after.neurons.operation.reset == rule.reset
    few = channels <= library.limits().constant_channels
    summed = next_is_conv and not stage.neurons.operation.learned and rule.reset in ("subtract", "none") and few
    if sums and summed and isinstance(rule.surrogate, str):
        constant = ConstantCurrent(current, values.beta, values.threshold)
        current, beta, threshold = jax.lax.stop_gradient(constant)
        rule = rule._replace(keep=False)
        output = ops.constant_lif(current, NeuronValues(beta, threshold), rule, time, (channels, width))
        return output._replace(spikes=Spikes(output.spikes.bits, constant))
    return ops.constant_lif(current, values, rule, time, (channels, width))


def _spiking(
    graph: Graph,
    stage: Stage,
    own: Weights,
    values: NeuronValues,
    before: Spikes,
    rule: Rule,
    scale: float,
    planes: int,
) -> LayerOutput:
    """A stage whose input is spikes, each multiplied by `scale`, or counts of `planes` bits."""
    channels = stage.channels
    extra = bits.padded(channels) - channels
    bias = jnp.pad(own.biases, (0, extra))
    kernel = own.kernel[...]
    if scale == 1:
        rule = rule._replace(weight_bits=weight_bits(stage.weights, planes))
    if planes > 1:
        kernel = bits.with_planes(kernel, planes)
    if stage.convolution:
        inputs = planes * stage.source.shape[-1]
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, bits.padded(inputs) - inputs), (0, extra)))
        after = reader(graph, stage)
        # Parts of the product settle only after a constant current, in a long window; the kernel skips them. Otherwise,
        # a product of all images at once is better: it reads the weights less often than the kernel's, image by image.
        settles = isinstance(before.port, ConstantCurrent) and before.bits.shape[1] > SETTLING
        product = bits.padded(after.channels) if settles and after and not after.convolution else None
        return ops.conv_lif(before, kernel, bias, values, rule, stage, product)
    # After a convolution, the channels of every position are padded.
    neurons = before.bits.shape[-1] * bits.LANES
    source = stage.source
    inputs = planes * (source.shape[-1] if source.operation else math.prod(source.shape))  # at each position
    if scale != 1:
        kernel = kernel * scale
    kernel = kernel.reshape(-1, inputs, channels)
    kernel = jnp.pad(kernel, ((0, 0), (0, bits.padded(inputs) - inputs), (0, extra))).reshape(neurons, -1)
    return ops.linear_lif(before, kernel, bias, values, rule, channels)


def weight_bits(node: WeightedNode, planes: int = 1) -> int:
    """Bits of a node's weights, without the sign, if kernels add them as integers; 0 if they add floats."""
    bits = node.grid.finest + planes - 1
    worth = node.grid.most is not None or not node.is_convolution  # with more bits, int16 can add up only a few
    return bits if worth and bits <= library.limits().weight_bits else 0


def _values(own: NeuronParameters, mask: Array | None) -> NeuronValues:
    """The parameters of neurons: clipped beta and threshold, as float32 scalars."""
    beta, threshold = (jnp.asarray(own.in_use[name], jnp.float32) for name in ("beta", "threshold"))
    return NeuronValues(clip(beta), threshold, mask)


def _rule(own: NeuronParameters, keep: bool) -> Rule:
    name, slope = surrogate.named(own.derivative)
    return Rule(own.node.operation.reset, name or own.derivative, slope, keep)


def _unpadded(membranes: Array, shape: tuple[int, ...]) -> Array:
    """[batch, padded neurons] to [batch, *shape]."""
    return membranes.reshape(membranes.shape[0], *shape[:-1], bits.padded(shape[-1]))[..., : shape[-1]]


def _refusing(gradient: str, values: T, model: CSNN, x: Array) -> T:
    """The values; asking for their gradient with respect to the model or x raises `Unsupported`, instead of giving 0.

    `gradient` says what isn't differentiable, and what to use instead.
    """
    sources = [parameter[...] for parameter in model.parameters.values()]
    return _refused(gradient, values, [*sources, x] if jnp.issubdtype(x.dtype, jnp.floating) else sources)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _refused(gradient: str, values: Any, sources: list[Array]) -> Any:
    del gradient, sources
    return values


def _refused_forward(gradient: str, values: Any, sources: Any) -> tuple[Any, None]:
    del gradient, sources
    return jax.tree.map(lambda leaf: leaf.value, values, is_leaf=lambda leaf: isinstance(leaf, CustomVJPPrimal)), None


def _refused_backward(gradient: str, saved: None, cotangents: Any) -> tuple[None, None]:
    del saved
    if all(isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(cotangents)):
        return None, None
    raise Unsupported(f"the event engine has no gradient through {gradient}")


_refused.defvjp(_refused_forward, _refused_backward, symbolic_zeros=True)
