"""The time loop as a `jax.lax.scan`, which runs anywhere and is the reference for the other engine.

`x` is either an image [batch, H, W, C], presented at every step (the first convolution and pooling are then computed
once), or a sequence [time, batch, H, W, C].
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from csnn_jax.config.graph import IMAGE, Edge, Graph, Node
from csnn_jax.config.network import Readout
from csnn_jax.config.operations import Linear
from csnn_jax.engine.segments import Segment, segments
from csnn_jax.network import inputs
from csnn_jax.network.library import Jax
from csnn_jax.network.model import CSNN, States, advance, scaled_input, with_rounded_weights
from csnn_jax.network.surrogate import reverse_mode_only
from csnn_jax.neurons.neuron import MEMBRANE, State
from csnn_jax.window import Carry, Dropped, SpikeCounts, Step, Trace, constants, output

# On the CPU, XLA uses YNNPACK for matrix products and convolutions by default; for the default network's convolution,
# its own Eigen code takes less than half the time (4.6 vs. 10.9 ms per step).
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}

_SAVED = jax.checkpoint_policies.save_only_these_names("membrane", "winner", "activity")


def jit(function: Callable, **options: Any) -> Callable:
    """`jax.jit` with the XLA options that run the time loop fastest on the current platform.

    Args:
        function: as for `jax.jit`.
        options: other arguments of `jax.jit`.
    """
    if jax.default_backend() == "cpu":
        options["compiler_options"] = _CPU_OPTIONS
    return jax.jit(function, **options)


class Dropout(NamedTuple):
    """The hidden neurons whose spikes don't reach the next layer.

    Attributes:
        masks: for each linear layer with spikes as input, bool [batch, input neurons]: True where a neuron is kept.
        scale: factor for the neurons that are kept.
    """

    masks: tuple[Array, ...]
    scale: float


Known = dict[str, Array]
"""The outputs of nodes that are computed before a step."""

T = TypeVar("T")


def predict(scores: Array) -> Array:
    """The class with the highest score of [batch, classes]; ties go to the lowest class (snnTorch `accuracy_rate`)."""
    return scores.argmax(-1)


def check_input(model: CSNN, x: Array) -> None:
    """Raises ValueError unless the network can run on x, with what was given and expected."""
    if not isinstance(model, CSNN):
        raise ValueError(f"model is of type {type(model).__name__}, expected a CSNN, such as the `model` of a Trained")
    inputs.check_parameters(model.parameters)
    inputs.check(model.config, x)


def ready(model: CSNN, x: Array) -> tuple[CSNN, Array]:
    """The network and its input after rounding; raises the errors of `check_input`."""
    check_input(model, x)
    return with_rounded_weights(model), scaled_input(model, x)


def add_up(x: Array, axis: int | None = None) -> Array:
    """The sum of an array over an axis, or of all its values, in XLA's order."""
    return jnp.sum(x, axis)


def forward(model: CSNN, x: Array) -> tuple[States, Array]:
    """Runs the window and returns the last states and the output.

    Everything that it returns is differentiable twice, in reverse mode. `csnn_jax.engine.event.forward` does the same
    at a cost proportional to the number of spikes, if it supports the network.

    Args:
        model: the network.
        x: an image [batch, H, W, C], presented at every step, or a sequence [time, batch, H, W, C], which sets the
            number of steps. Bytes are divided by `config.entering.scale`, floats are rounded to multiples of 1 /
            `entering.scale`.

    Returns:
        (last states, output [time, batch, classes]): the spikes of the output layer, or its membranes with
            `output="integrator"`, whose neurons never spike.

    Raises:
        ValueError: x has the wrong shape or type, or is empty. Outside `jax.jit`, also if it has values outside the
            input's range, or if the model has NaN or infinity; inside, that makes the output and its gradient NaN.

    Examples:
        >>> import numpy as np
        >>> from csnn_jax import CSNN, ModelConfig, forward
        >>> model = CSNN(ModelConfig(conv_channels=(8,), hidden=(16,), time_steps=5))
        >>> states, spikes = forward(model, np.zeros((2, 28, 28, 1), np.uint8))
        >>> spikes.shape
        (5, 2, 10)
    """
    last, output, _ = _window(model, x)
    return last, inputs.nan_unless_finite(model.parameters, output)


def usual_output(model: CSNN) -> Readout:
    """The output that `forward` returns: spikes, or the membranes of neurons that never spike."""
    return "membrane" if model.config.output == "integrator" else "spikes"


def forward_with_densities(
    model: CSNN, x: Array, reads: Readout = "spikes", dropout: Dropout | None = None
) -> tuple[Array, Array]:
    """Runs the window for training and records the density of every layer.

    Args:
        model: the network.
        x: as in `forward`.
        reads: which output to return: spikes or membranes.
        dropout: neurons to drop; None: none.

    Returns:
        Output spikes or membranes [time, batch, classes] and densities, the fraction of neurons that spike at a step
            [layers]. Both are differentiable.

    Raises:
        ValueError: x has the wrong shape or type, or is empty.
    """
    _, output, densities = _window(model, x, reads, dropout)
    return output, jnp.stack(densities)


@reverse_mode_only()
def _window(
    model: CSNN, x: Array, reads: Readout | None = None, dropout: Dropout | None = None
) -> tuple[States, Array, list[Array]]:
    """(last states, output spikes or membranes, each layer's density); `reads` is `usual_output` if it's None.

    The convolutional blocks go through time together, step by step. Then each linear block multiplies the spikes of the
    whole window in one matrix product (its weights, 6 MB for the default fc1, would otherwise be read again at every
    step) before its neurons, and the nodes in a cycle with them, go through time.

    The forward pass keeps only the states and the winners of max-pools for the backward pass; spikes are recomputed
    from the membranes, which costs one comparison each.
    """
    model, x = ready(model, x)
    graph = model.config.graph
    return by_parts(model, x, Jax(graph, model.nodes), segments(graph), reads or usual_output(model), dropout)


def by_parts(
    model: CSNN, x: Array, library: Jax, parts: tuple[Segment, ...], reads: Readout, dropout: Dropout | None
) -> tuple[States, Array, list[Array]]:
    """Runs the parts of a graph through the window, one after the other; returns what `_window` does.

    Args:
        model: the network, with rounded weights.
        x: its input, rounded.
        library: computes nodes for all steps at once, and those that depend only on a constant image.
        parts: the parts.
        reads: which output to return.
        dropout: neurons to drop; None: none.
    """
    graph, steps = model.config.graph, len(x) if x.ndim == 5 else model.config.time_steps
    first, states = model.initial_states(x.shape[-4]), dict[str, State]()
    dropped = None if dropout is None else _factors(graph, dropout, model.dtype)
    held = constants(graph, library, library.parameters, x) if x.ndim == 4 else {}
    windows = {IMAGE: x} if x.ndim == 5 else {}
    outputs, shares, last = dict[str, Array](), dict[str, Array](), graph.neurons[-1].name

    def read(edge: Edge) -> Array:
        """The output of a node for all steps; without a delay, only for one if it's held."""
        if not edge.delay:
            return windows[edge.source] if edge.source in windows else held[edge.source]
        late = min(edge.delay, steps)
        whole = jnp.broadcast_to(read(Edge(edge.source)), (steps, *first_of(edge).shape))
        return jnp.concatenate([jnp.broadcast_to(first_of(edge), (late, *whole.shape[1:])), whole[: steps - late]])

    def first_of(edge: Edge) -> Array:
        """What a delayed input is before the first step."""
        zeros = jnp.zeros((x.shape[-4], *graph[edge.source].shape), model.dtype)
        if not graph.is_previous(edge):
            return zeros
        return library.spikes(graph[edge.source], library.parameters[edge.source], first.states[edge.source])

    for number, part in enumerate(parts):
        names = [node.name for node in part.steps.neurons]
        for node in (node for node in part.window if node.name not in held):
            windows[node.name] = _at_once(graph, node, library, read, dropped)
        wanted = {edge.source for other in parts[number + 1 :] for node in other.window for edge in node.inputs}
        wanted |= {edge.source for other in parts[number + 1 :] for edge in other.entering.values()}

        def together(
            carry: Carry, known: Known, part: Segment = part, names: list[str] = names, wanted: set[str] = wanted
        ) -> tuple[Carry, tuple[Known, Known, list[Array]]]:
            carry, after = advance(model, carry, held | known, part.steps, dropped)
            fired = {name: after.values[name] for name in names}
            read_later = {name: layer for name, layer in fired.items() if part is not parts[0] or name in wanted}
            read = after.states[last][MEMBRANE] if reads == "membrane" and last in fired else fired.get(last)
            means = [layer.mean() for layer in fired.values()] if part is parts[0] else []
            return carry, (read_later, {} if read is None else {last: read}, means)

        run = jax.checkpoint(together, policy=_SAVED, prevent_cse=False)
        start = Carry(
            {name: first.states[name] for name in names}, {name: first.past[name] for name in part.steps.delays}
        )
        entering = {name: read(edge) for name, edge in part.entering.items() if name not in held}
        carry, (read_later, seen, means) = lax.scan(run, start, entering, steps)
        if number == 0:
            shares |= {name: share.mean() for name, share in zip(names, means, strict=True)}
        else:
            shares |= {name: spikes.mean() for name, spikes in read_later.items()}
        states |= carry.states
        windows, outputs = windows | read_later, outputs | seen
    names = [node.name for node in graph.neurons]
    return tuple(states[name] for name in names), outputs[last], [shares[name] for name in names]


def _factors(graph: Graph, dropout: Dropout, dtype: np.dtype) -> Dropped:
    """Dropout's factors of spikes, for `csnn_jax.window.step`."""
    neurons = [node.name for node in graph.feeding(Linear)]
    masks = dict(zip(neurons, dropout.masks, strict=True))
    return {
        (reader, source): masks[source].reshape(-1, *graph[source].shape).astype(dtype) * dropout.scale
        for reader, source in graph.droppable
    }


def _at_once(graph: Graph, node: Node, library: Jax, read: Callable[[Edge], Array], dropped: Dropped | None) -> Array:
    """The output of a node without state for all steps [time, batch, ...]; `read` gives its inputs."""
    entering = []
    for edge in node.inputs:
        factors = None if dropped is None or edge.delay else dropped.get((node.name, edge.source))
        entering.append(read(edge) if factors is None else read(edge) * factors)
    x = functools.reduce(operator.add, entering)
    flat = library.evaluate(node, library.parameters.get(node.name, {}), x.reshape(-1, *x.shape[2:]))
    return flat.reshape(*x.shape[:2], *flat.shape[1:])


def trace(model: CSNN, x: Array) -> tuple[States, Trace]:
    """Runs the window and records everything.

    Args:
        model: the network.
        x: as in `forward`.

    Returns:
        (last states, trace): `trace.membranes` and `trace.spikes` have an array [time, batch, *shape] for each layer's
            neurons: `lif1`, `lif2`, ...

    Raises:
        ValueError: x has the wrong shape or type, or is empty.

    Examples:
        >>> import numpy as np
        >>> from csnn_jax import CSNN, ModelConfig, trace
        >>> model = CSNN(ModelConfig(conv_channels=(8,), hidden=(), time_steps=5))
        >>> states, traced = trace(model, np.zeros((2, 28, 28, 1), np.uint8))
        >>> {name: membranes.shape for name, membranes in traced.membranes.items()}
        {'lif1': (5, 2, 14, 14, 8), 'lif2': (5, 2, 10)}
    """
    model, x = ready(model, x)
    names = [node.name for node in model.config.graph.neurons]

    def everything(carry: Carry, known: Known) -> tuple[Carry, Trace]:
        carry, after = advance(model, carry, known)
        return carry, Trace(after.states, {name: after.values[name] for name in names})

    last, traced = _loop(model, x, everything, model.initial_states(x.shape[-4]))
    return tuple(last.states[name] for name in names), traced.ordered(model.config.graph)


def record(model: CSNN, x: Array, reads: Readout = "spikes") -> tuple[Array, dict[str, Array]]:
    """Runs the window and keeps the output and every neuron's spikes, for comparing two networks.

    Args:
        model: the network.
        x: as in `forward`.
        reads: which output to return: spikes or membranes.

    Returns:
        Output spikes or membranes [time, batch, classes], and unsigned integers by the name of the neurons, in whose
            bits each spike is a 1.

    Raises:
        ValueError: as in `forward`.
    """
    _, traced = trace(model, x)
    last = model.config.graph.neurons[-1].name
    output = traced.membranes[last] if reads == "membrane" else traced.spikes[last]
    return output, {name: spikes.astype(jnp.uint8) for name, spikes in traced.spikes.items()}


def count(model: CSNN, x: Array) -> SpikeCounts:
    """Runs the window and keeps only sums, which is all that evaluation needs.

    Args:
        model: the network.
        x: as in `forward`.

    Returns:
        `scores` per image and class [batch, classes]; `fired`, spikes per image and layer [batch, layers].

    Raises:
        ValueError: x has the wrong shape or type, or is empty.
    """

    def counted(after: Step) -> SpikeCounts:
        layers = (after.values[node.name] for node in model.config.graph.neurons)
        fired = [layer.reshape(x.shape[-4], -1).sum(1) for layer in layers]
        return SpikeCounts(output(model.config, after.states, after.values), jnp.stack(fired, axis=1))

    return _folded(model, x, counted, jnp.add)


def ever_fired(model: CSNN, x: Array) -> tuple[Array, ...]:
    """Returns which channels, or neurons of linear layers, ever spike in the window.

    Args:
        model: the network.
        x: as in `forward`.

    Returns:
        One bool array [batch, channels] for each layer.

    Raises:
        ValueError: x has the wrong shape or type, or is empty.
    """

    def fired(after: Step) -> tuple[Array, ...]:
        return tuple(by_channel(after.values[node.name] > 0) for node in model.config.graph.neurons)

    return _folded(model, x, fired, jnp.logical_or)


def by_channel(fired: Array) -> Array:
    """Returns whether any position of a channel fired: bool [batch, *positions, channels] to [batch, channels]."""
    return fired.any(tuple(range(1, fired.ndim - 1)))


def _folded(model: CSNN, x: Array, of_step: Callable[[Step], T], join: Callable) -> T:
    """of_step(step) of all steps, joined array by array, starting from zeros."""
    model, x = ready(model, x)
    start = model.initial_states(x.shape[-4])

    def body(carry: tuple[Carry, T], known: Known) -> tuple[tuple[Carry, T], None]:
        before, after = advance(model, carry[0], known)
        return (before, jax.tree.map(join, carry[1], of_step(after))), None

    first = {IMAGE: x if x.ndim == 4 else x[0]}
    results = jax.eval_shape(lambda: of_step(advance(model, start, first)[1]))
    empty = jax.tree.map(lambda result: jnp.zeros(result.shape, result.dtype), results)
    return _loop(model, x, body, (start, empty))[0][1]


@reverse_mode_only()
def _loop(model: CSNN, x: Array, body: Callable, carry):
    """Scans `body(carry, known outputs of nodes) -> (carry, output)` over the window, from `carry`."""
    if x.ndim == 5:
        return lax.scan(lambda carry, image: body(carry, {IMAGE: image}), carry, x)
    known = constants(model.config.graph, library := Jax(model.config.graph, model.nodes), library.parameters, x)
    return lax.scan(lambda carry, _: body(carry, known), carry, length=model.config.time_steps)
