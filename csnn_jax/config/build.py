"""Makes a graph from a description of its nodes: checks and orders them, and derives their shapes and grids."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from csnn_jax.config.graph import (
    IMAGE,
    Current,
    Currents,
    Edge,
    Graph,
    NeuronNode,
    Node,
    Operation,
    Signal,
    WeightedNode,
    added,
    loops,
)
from csnn_jax.config.grid import BIAS, LEAST, MANTISSA, Grid, Group
from csnn_jax.config.operations import Flatten, Linear, OneToOne, Pooling, Weighted
from csnn_jax.config.order import in_order, neighbors, reached
from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import Neurons


class Misfit(UserError):
    """A node doesn't fit its inputs, or has too many of them.

    Attributes:
        node: the node.
        reason: the rest of the message.
    """

    def __init__(self, node: Node, reason: str):
        super().__init__(f"{node.name} {reason}")
        self.node, self.reason = node, reason


class NoOutput(Misfit):
    """A node's window doesn't fit into its input."""


class InexactPool(Misfit):
    """A pool divides by, or adds, a number of pixels that isn't a power of two."""


class TooManyInputs(Misfit):
    """A node adds so many inputs that too few bits are left for exact weights."""


def graph(
    shape: tuple[int, ...],
    values: Signal,
    nodes: Iterable[tuple[str, Operation, tuple[Edge, ...]]],
    weight_bits: int | None = None,
) -> Graph:
    """Orders nodes, and derives their shapes and grids.

    Args:
        shape: of an image: (rows, columns, channels).
        values: the grid of its pixels.
        nodes: (name, operation, inputs), in any order.
        weight_bits: maximum bits of a weight, including its sign; None: as many as stay exact.

    Raises:
        Misfit: a node has no output, or no input that it can read, or there are too few bits for its weights, or the
            nodes aren't a network with one output.
    """
    image = Node(IMAGE, None, (), shape, values)
    described = {IMAGE: image}
    for name, operation, inputs in nodes:
        node = Node(name, operation, inputs)
        if name in described:
            raise Misfit(node, "has the name of another node")
        described[name] = node
    made = _with_values(_with_shapes(_ordered(described)))
    _check_reached(made)
    most, sums = None if weight_bits is None else weight_bits - 1, _sums(made)
    together = _together(made, sums)
    specific = {name: _specific(node, made, together, sums, most) for name, node in made.items()}
    return Graph(specific, _groups(specific, together, sums))


def _ordered(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes with each after its inputs, unless a delay closes a cycle, otherwise in the given order."""
    for node in nodes.values():
        if twice := [edge for number, edge in enumerate(node.inputs) if edge in node.inputs[:number]]:
            raise Misfit(node, f"reads {twice[0]} twice, expected different inputs")
        for edge in node.inputs:
            if edge.source not in nodes:
                raise Misfit(node, f"reads {edge.source}, expected one of {_some(nodes)}")
    cycle_of = loops(nodes)
    edges = [
        (edge.source, node.name)
        for node in nodes.values()
        for edge in node.inputs
        if not edge.delay or cycle_of[edge.source] != cycle_of[node.name]
    ]
    ordered = {name: nodes[name] for name in in_order(nodes, edges)}
    if len(ordered) < len(nodes):
        before, _ = neighbors(nodes, edges)
        path = [next(name for name in nodes if name not in ordered)]
        while path[-1] not in path[:-1]:
            path.append(next(source for source in before[path[-1]] if source not in ordered))
        cycle = path[path.index(path[-1]) :][::-1]
        late = next((name for name in cycle if isinstance(nodes[name].operation, Neurons)), cycle[0])
        raise Misfit(nodes[cycle[0]], f"is in the cycle {' -> '.join(cycle)}, expected a delay in it, as in {late}@1")
    return ordered


def _some(names: Iterable[str], most: int = 12) -> str:
    """Names in a message, without the end of a long list."""
    shown = list(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _with_shapes(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes with their shapes. Through a delay, a shape may depend on a later node's."""
    shapes: dict[str, tuple[int, ...]] = {IMAGE: nodes[IMAGE].shape}
    while len(shapes) < len(nodes):
        before = len(shapes)
        for node in nodes.values():
            if node.name not in shapes and (shape := _shape(node, shapes)):
                shapes[node.name] = shape
        if len(shapes) == before:
            node = next(node for node in nodes.values() if node.name not in shapes)
            raise Misfit(node, "has a shape that depends on itself, expected an input that comes from the image")
    made = {name: replace(node, shape=shapes[name]) for name, node in nodes.items()}
    for node in made.values():
        sources = [made[source] for source, _ in node.inputs]
        if len({source.shape for source in sources}) > 1:
            listed = " and ".join(f"{source.name} of shape {source.shape}" for source in sources)
            raise Misfit(node, f"adds {listed}, expected equal shapes")
        if isinstance(node.operation, Weighted | Pooling | Flatten):
            _check_rank(node, sources[0].name, sources[0].shape)
        _check_features(node, made)
    return made


def _check_features(node: Node, nodes: Mapping[str, Node]) -> None:
    """Raises Misfit if torch's order of flattened features would make a difference."""
    sources = [nodes[source] for source, _ in node.inputs]
    flattened = [source for source in sources if isinstance(source.operation, Flatten)]
    before = {nodes[flatten.inputs[0].source].shape for flatten in flattened}
    for flatten, (*pixels, channels) in zip(flattened, before, strict=False):
        if channels == 1 or math.prod(pixels) == 1:
            continue
        if isinstance(node.operation, OneToOne):
            raise Misfit(node, f"reads {flatten.name} of several pixels and channels, expected one pixel or channel")
        if len(before) > 1 or len(flattened) < len(sources):
            listed = " and ".join(source.name for source in sources)
            raise Misfit(node, f"adds {listed}, whose features have different orders, expected flattened equal shapes")


def _shape(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shape of a node's output; None: it isn't known yet."""
    operation = node.operation
    known = [(edge.source, shapes[edge.source]) for edge in node.inputs if edge.source in shapes]
    if not node.inputs:
        raise Misfit(node, "has no inputs, expected one or more")
    if isinstance(operation, Linear | OneToOne):
        return operation.shape(())
    if not known:
        return None
    source, entering = known[0]
    if isinstance(operation, Neurons):
        return entering
    assert operation is not None
    _check_rank(node, source, entering)
    shape = operation.shape(entering)
    if 0 in shape:
        raise NoOutput(node, f"has no output for {'x'.join(map(str, entering[:2]))} inputs")
    return shape


def _check_rank(node: Node, source: str, entering: tuple[int, ...]) -> None:
    operation = node.operation
    rank = 1 if isinstance(operation, Linear | OneToOne) else 3
    if rank != len(entering):
        remedy = "; put a flatten node before it" if isinstance(operation, Linear) else ""
        expected = "(features,)" if rank == 1 else "(rows, columns, channels)"
        raise Misfit(node, f"reads {source} of shape {entering}, expected {expected}{remedy}")
    if isinstance(operation, OneToOne) and (operation.channels,) != entering:
        raise Misfit(node, f"reads {source} of shape {entering}, expected {operation.channels} features")


def _with_values(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes with the grids of signals and the parts of currents."""
    made = {name: replace(node, values=Signal()) for name, node in nodes.items() if isinstance(node.operation, Neurons)}
    made[IMAGE] = nodes[IMAGE]
    left = {name: node for name, node in nodes.items() if name not in made}
    while left:  # through a delay, values may depend on a later node's
        ready = [node for node in left.values() if all(edge.source in made for edge in node.inputs)]
        if not ready:
            node = next(iter(left.values()))
            raise Misfit(node, "is in a cycle without neurons, expected neurons in every cycle")
        for node in ready:
            made[node.name] = replace(node, values=_values(node, [made[edge.source] for edge in node.inputs]))
            del left[node.name]
    for node in nodes.values():
        if isinstance(node.operation, Neurons):
            _check_reads(node, [made[edge.source] for edge in node.inputs])
    return {name: made[name] for name in nodes}


def _check_reads(node: Node, sources: Sequence[Node]) -> None:
    """Raises Misfit unless a node can read others."""
    signals = [source.name for source in sources if isinstance(source.values, Signal)]
    currents = [source.name for source in sources if source.name not in signals]
    if isinstance(node.operation, Neurons) and signals:
        raise Misfit(node, f"reads {signals[0]}, expected a current: a convolution, a linear node, or a pool of one")
    if isinstance(node.operation, Weighted | Flatten) and currents:
        raise Misfit(node, f"reads the current {currents[0]}, expected spikes or the image")
    if signals and currents:
        raise Misfit(node, f"adds the signal {signals[0]} and the current {currents[0]}, expected one kind")


def _values(node: Node, sources: Sequence[Node]) -> Signal | Currents:
    """The grid of a node other than neurons."""
    _check_reads(node, sources)
    operation = node.operation
    if isinstance(operation, Weighted):
        return (Current(node.name),)
    entering = added([source.values for source in sources])
    bits = entering.bits if isinstance(entering, Signal) else max(part.added for part in entering)
    if bits > MANTISSA:
        raise TooManyInputs(node, f"adds up to 2^{bits} multiples of a value, expected at most 2^{MANTISSA}")
    if not isinstance(operation, Pooling):
        return entering
    if not operation.is_exact:
        raise InexactPool(node, f"has windows of {operation.window} pixels, which isn't exact for {operation.kind}")
    if isinstance(entering, Signal):
        return Signal(entering.bits + operation.bits, entering.step * operation.step)
    divided = operation.bits if operation.kind == "avg" else 0
    return tuple(Current(part.source, part.added + operation.bits, part.divided + divided) for part in entering)


def _check_reached(nodes: Mapping[str, Node]) -> None:
    """Raises Misfit unless every node leads from the image to the only output, the last neurons."""
    read = {edge.source for node in nodes.values() for edge in node.inputs}
    for node in nodes.values():
        if node.name not in read and not isinstance(node.operation, Neurons):
            raise Misfit(node, "isn't read by any node, expected one that reads it; only the last neurons aren't read")
    *_, last = (node for node in nodes.values() if isinstance(node.operation, Neurons))
    before, after = neighbors(nodes, [(edge.source, node.name) for node in nodes.values() for edge in node.inputs])
    several = f"doesn't lead to {last.name}, expected one output"
    for start, edges, reason in ((IMAGE, after, "isn't connected to the image"), (last.name, before, several)):
        connected = reached(start, edges)
        if left := [name for name in nodes if name not in connected]:
            raise Misfit(nodes[left[-1 if reason == several else 0]], reason)


Sums = tuple[Currents, ...]
"""What each exact sum that neurons read consists of."""


def _sums(nodes: Mapping[str, Node]) -> Sums:
    """The exact sums in a network: those of all inputs of neurons, or each input of neurons that add one by one."""
    sums: dict[Currents, None] = {}
    for node in nodes.values():
        if isinstance(node.operation, Neurons):
            inputs = [nodes[edge.source].values for edge in node.inputs]
            currents = [parts for parts in inputs if not isinstance(parts, Signal)]
            sums |= dict.fromkeys(currents if node.operation.separate else [sum(currents, ())])
    return tuple(sums)


def _together(nodes: Mapping[str, Node], sums: Sums) -> dict[str, tuple[str, ...]]:
    """For each weighted node, the names of all whose products meet in sums with its own, directly or through others."""
    together = {name: {name} for name, node in nodes.items() if isinstance(node.operation, Weighted)}
    for parts in sums:
        merged = set().union(*(together[part.source] for part in parts))
        together |= dict.fromkeys(merged, merged)
    return {one: tuple(name for name in nodes if name in names) for one, names in together.items()}


def _times(parts: Currents) -> list[int]:
    """How often each part's values count in a sum, in units of the smallest multiple that the sum can have."""
    most = max(part.divided for part in parts)
    return [2 ** (part.added + most - part.divided) for part in parts]


def _signal(node: Node, nodes: Mapping[str, Node]) -> Signal:
    """What a weighted node multiplies."""
    signal = added([nodes[edge.source].values for edge in node.inputs])
    assert isinstance(signal, Signal)
    return signal


def _inputs(node: Node, nodes: Mapping[str, Node]) -> int:
    """Number of products that a weighted node adds."""
    assert isinstance(node.operation, Weighted)
    return math.prod(node.operation.kernel_shape(nodes[node.inputs[0].source].shape)[:-1])


def _specific(
    node: Node, nodes: Mapping[str, Node], together: Mapping[str, tuple[str, ...]], sums: Sums, most: int | None
) -> Node:
    """A node of its class, with the grid of its weights."""
    operation = node.operation
    if isinstance(operation, Neurons):
        operation = replace(operation, channels=node.shape[-1])
        return NeuronNode(node.name, operation, node.inputs, node.shape, node.values)
    if not isinstance(operation, Weighted):
        return node
    names = together[node.name]
    own = [parts for parts in sums if parts[0].source in names]
    signals = {name: _signal(nodes[name], nodes) for name in names}
    fewest, total = None, 0
    extra = max(part.added for parts in own for part in parts if part.source == node.name)
    if any(len(parts) > 1 for parts in own):
        counts = [
            sum((_inputs(nodes[part.source], nodes) + BIAS) * n for part, n in zip(parts, _times(parts), strict=True))
            for parts in own
        ]
        total = max(counts)
        fewest = Grid(1, max(signal.bits for signal in signals.values()), total=total).room
    shape = operation.kernel_shape(nodes[node.inputs[0].source].shape)
    grid = Grid(_inputs(node, nodes), *signals[node.name], extra, most, total, fewest)
    if grid.room < LEAST:
        inputs = f"{grid.terms:,} inputs of {grid.input_bits} bits" if grid.input_bits else f"{grid.terms:,} spikes"
        others = f" together with {_some(name for name in names if name != node.name)}" * (len(names) > 1)
        bits = max(0, grid.room)
        room = f"{bits} bit{'s' * (bits != 1)} for weights, not at least {LEAST}"
        raise TooManyInputs(node, f"adds {inputs}{others}, which leave {room}")
    fields = (node.name, operation, node.inputs, node.shape, node.values)
    return WeightedNode(*fields, kernel_shape=shape, grid=grid)


def _groups(
    nodes: Mapping[str, Node], together: Mapping[str, tuple[str, ...]], sums: Sums
) -> dict[tuple[str, ...], Group]:
    """The weighted nodes whose products meet in sums, and their common grids."""
    groups: dict[tuple[str, ...], Group] = {}
    for names in dict.fromkeys(together.values()):
        counted: dict[tuple[int, ...], None] = {}
        for parts in (parts for parts in sums if parts[0].source in names):
            count = dict.fromkeys(names, 0)
            for part, times in zip(parts, _times(parts), strict=True):
                count[part.source] += times
            counted[tuple(count.values())] = None
        grids = tuple(node.grid for name in names if isinstance(node := nodes[name], WeightedNode))
        groups[names] = Group(grids, tuple(counted))
    return groups
