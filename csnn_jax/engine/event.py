"""The event engine: runs the window layer by layer on the CPU, at a cost proportional to the number of spikes.

It computes the same membranes and spikes as engine/scan.py, with the operations of csnn_jax/ops, whose kernels are in
C++ (native/). It raises `Unsupported` for networks that it doesn't cover. All outputs are differentiable once, in
reverse mode; docs/python.md says what composes.
"""

from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from csnn_jax import ops
from csnn_jax.config.graph import WeightedNode
from csnn_jax.config.network import Readout
from csnn_jax.config.operations import Linear
from csnn_jax.engine import library
from csnn_jax.engine.fixed import add_up
from csnn_jax.engine.library import Unsupported
from csnn_jax.engine.reading import Reader
from csnn_jax.engine.scan import Dropout, by_channel, check_input, usual_output
from csnn_jax.engine.stages import Stage, lacking, passes_to, planes_of, stages
from csnn_jax.network import inputs, surrogate
from csnn_jax.network.model import CSNN, States, scaled_input, with_rounded_weights
from csnn_jax.network.rounding import rounded
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.ops.spikes import dense, ever
from csnn_jax.window import SpikeCounts, Trace


def forward(model: CSNN, x: Array) -> tuple[States, Array]:
    """Runs the window for training and returns the last states and the output, as `scan.forward` does.

    Both are differentiable once, in reverse mode, with respect to the model's parameters and x.

    Args:
        model: a float32 network.
        x: bytes or floats, see `scan.forward`: an image [batch, H, W, C], presented at every step, or a sequence [time,
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
    layers = _layers(model, x, reads)
    return _last(layers), inputs.nan_unless_finite(model.parameters, _output(layers, reads))


def forward_with_densities(
    model: CSNN, x: Array, reads: Readout = "spikes", dropout: Dropout | None = None
) -> tuple[Array, Array]:
    """Runs the window for training and records the density of every layer.

    Args:
        model: a float32 network.
        x: as in `forward`.
        reads: which output to return: spikes or membranes.
        dropout: neurons to drop; None: none.

    Returns:
        Output spikes or membranes [time, batch, classes], and densities, the fraction of neurons that spike at a step
            [layers]. Both are differentiable.

    Raises:
        Unsupported: the engine doesn't support the network; the message says why.
    """
    model, x = _ready(model, x)
    layers = _layers(model, x, reads, dropout=dropout)
    output = _output(layers, reads)
    time, batch = output.shape[:2]
    parts = jnp.asarray([1 / (node.size * time * batch) for node in model.config.graph.neurons], jnp.float32)
    return output, rounded(add_up(_fired(layers), 0) * parts)


def trace(model: CSNN, x: Array) -> tuple[States, Trace]:
    """Runs the window and records everything: (last states, every layer's trace). Raises the errors of `forward`.

    States and spikes are differentiable.
    """
    model, x = _ready(model, x)
    layers = _layers(model, x, membranes=True)
    names = [node.name for node in model.config.graph.neurons]
    states = {name: {MEMBRANE: layer.membranes} for name, layer in zip(names, layers, strict=True)}
    spikes = {name: ops.unpack(layer.spikes) for name, layer in zip(names, layers, strict=True)}
    return _last(layers), Trace(states, spikes).ordered(model.config.graph)


def record(model: CSNN, x: Array, reads: Readout = "spikes") -> tuple[Array, dict[str, Array]]:
    """Runs the window and keeps the output and every neuron's spikes, as packed bits, for comparing two networks.

    Arguments and result: see `scan.record`. Errors: see `forward`.
    """
    model, x = _ready(model, x)
    layers = _layers(model, x, reads)
    names = [node.name for node in model.config.graph.neurons]
    return _output(layers, reads), {name: one.spikes.arrays.bits for name, one in zip(names, layers, strict=True)}


def count(model: CSNN, x: Array) -> SpikeCounts:
    """Runs the window and keeps only sums. Arguments and errors: see `forward`."""
    model, x = _ready(model, x)
    reads = model.config.readout
    layers = _layers(model, x, reads)
    output = _output(layers, reads)
    # In time order, like the scan engine, because sums of membranes round.
    scores, _ = jax.lax.scan(lambda sums, step: (sums + step, None), jnp.zeros_like(output[0]), output)
    return SpikeCounts(scores, _fired(layers))


def ever_fired(model: CSNN, x: Array) -> tuple[Array, ...]:
    """Returns which channels, or neurons of linear layers, ever spike in the window: bool [batch, channels] by layer.

    See `forward` for the arguments and errors.
    """
    model, x = _ready(model, x)
    words = [(layer.layout, ever(layer.spikes.arrays.bits)) for layer in _layers(model, x)]
    return tuple(by_channel(layout.gathered(dense(bits)) > 0) for layout, bits in words)


def _ready(model: CSNN, x: Array) -> tuple[CSNN, Array]:
    """The rounded network and input; counts and spikes that are bytes stay bytes. Raises the errors of `forward`."""
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
def _layers(
    model: CSNN,
    x: Array,
    reads: Readout = "spikes",
    membranes: bool = False,
    dropout: Dropout | None = None,
) -> list[ops.Layer]:
    """Runs every layer over the window.

    `reads`: what the caller reads from the output layer. `membranes`: whether it reads every layer's membranes.
    """
    reader = Reader(model, x, *(({}, 1.0) if dropout is None else (_masks(model, dropout), dropout.scale)))
    for stage in stages(model.config.graph):
        name, neurons = stage.neurons.name, model.neurons[stage.neurons.name]
        source, kernel, planes = reader.inputs(stage)
        settings = _conv_settings(model, stage, membranes) if stage.convolution else {}
        if stage.shortcuts:
            settings["added"] = reduce(jnp.add, (_shortcut(reader, stage, node) for node in stage.shortcuts))
        bias = reduce(jnp.add, (model.weights[node.name].biases for node in stage.weighted))
        layer = ops.conv_lif if stage.convolution else ops.linear_lif
        if stage.recurrent:
            again = model.weights[stage.recurrent.name]
            bias, layer = bias + again.biases, partial(ops.recurrent_lif, recurrent=again.kernel[...])
        reader.layers[name] = layer(
            source,
            kernel,
            bias=bias,
            beta=neurons.in_use["beta"],
            threshold=neurons.in_use["threshold"],
            reset=neurons.node.operation.reset,
            surrogate=neurons.derivative,
            membranes=membranes or (reads == "membrane" and stage.neurons is model.config.graph.neurons[-1]),
            stays=reader.stays(stage.neurons),
            weight_bits=0 if planes is None else weight_bits(stage.weights, planes),
            **settings,
        )
    return list(reader.layers.values())


def _shortcut(reader: Reader, stage: Stage, node: WeightedNode) -> Array:
    """The current of one of a stage's shortcuts."""
    source, kernel, planes = reader.shortcut(stage, node)
    return ops.pointwise(source, kernel, weight_bits=0 if planes is None else weight_bits(node, planes))


def _conv_settings(model: CSNN, stage: Stage, membranes: bool) -> dict[str, Any]:
    """The settings of a convolution. The next layer is its only reader, unless the caller wants all `membranes`."""
    assert stage.convolution is not None
    settings = {"padding": stage.convolution.padding, "pool": stage.pool and stage.pool.kind}
    before, after = stage.direct and model.neurons.get(stage.direct.name), passes_to(model.config.graph, stage)
    learned = before and before.node.operation.learned
    if after and not after.convolution and not learned and not membranes:
        settings["feeds"] = after.channels
    return settings


def _masks(model: CSNN, dropout: Dropout) -> dict[str, Array]:
    """Which neurons dropout keeps [batch, neurons], by node."""
    nodes = model.config.graph.feeding(Linear)
    return {node.name: stays for node, stays in zip(nodes, dropout.masks, strict=True)}


def _output(layers: list[ops.Layer], reads: Readout) -> Array:
    """Output spikes or membranes [time, batch, classes]."""
    return layers[-1].membranes if reads == "membrane" else ops.unpack(layers[-1].spikes)


def _fired(layers: list[ops.Layer]) -> Array:
    """Spikes of each image and layer [batch, layers]."""
    return jnp.stack([layer.counts for layer in layers], axis=1)


def _last(layers: list[ops.Layer]) -> States:
    return tuple({MEMBRANE: layer.last} for layer in layers)


def weight_bits(node: WeightedNode, planes: int = 1) -> int:
    """Bits of a node's weights, without the sign, if kernels add them as integers; 0 if they add floats."""
    bits = node.grid.finest + planes - 1
    worth = node.grid.most is not None or not node.is_convolution  # with more bits, int16 can add up only a few
    return bits if worth and bits <= library.limits().weight_bits else 0
