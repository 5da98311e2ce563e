"""Where the C program keeps a network's spikes and currents, what each layer reads, and how much work it is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from csnn_jax.config.graph import IMAGE, Edge, Graph, NeuronNode, Node, Signal, WeightedNode
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.operations import Convolution, Flatten, OneToOne, Pooling


class Map(NamedTuple):
    """A `struct map`: neurons, or what a source reads.

    Attributes:
        height, width, channels: its shape; a linear layer is one pixel.
        first: where its spikes start in `csnn_state.event`.
        begin: where its pixels start in `csnn_state.begin`.
    """

    height: int
    width: int
    channels: int
    first: int = 0
    begin: int = 0

    @property
    def size(self) -> int:
        """How many values it has."""
        return self.height * self.width * self.channels

    @property
    def cells(self) -> int:
        """Its pixels, and the end."""
        return self.height * self.width + 1


@dataclass(eq=False)
class Events:
    """A list of events: the spikes of a layer, or a `struct copy`.

    Copies are spikes that are added or pooled, would be overwritten before they're read, or are read in later steps.

    Attributes:
        map: its shape and place.
        signal: the grid of its values; an event stands for one step.
        before: the layer before whose turn it's made; the number of layers: at the end of a step; -1: it isn't a copy.
        until: the last layer that reads it, or the number of layers.
        inputs: what is copied.
        pool: None: it's copied as it is.
    """

    map: Map
    signal: Signal = Signal()
    before: int = -1
    until: int = -1
    inputs: "list[Events]" = field(default_factory=list)
    pool: Pooling | None = None

    @property
    def size(self) -> int:
        """The largest number of its events."""
        return self.map.size * 2**self.signal.bits


def counted(inputs: Sequence[Events]) -> list[tuple[Events, int]]:
    """Lists that are added, with the steps of their sum that an event of each stands for."""
    smallest = min((one.signal.step for one in inputs), default=1.0)
    return [(one, int(one.signal.step / smallest)) for one in inputs]


class Source(NamedTuple):
    """A `struct source`: weights that give the neurons of a layer a current.

    Attributes:
        node: the node with the weights.
        map: the shape of what it reads.
        inputs: the lists that it adds; none if it reads the frame.
        drive: where its currents start in `csnn_state.drive` if it reads the frame; -1 if it reads spikes.
        after: the pool of its sums.
    """

    node: WeightedNode
    map: Map
    inputs: list[Events]
    drive: int
    after: Pooling | None


class Layout(NamedTuple):
    """The program's tables.

    Attributes:
        maps: the neurons of each layer.
        sources: of each layer, in the order of its neurons' inputs.
        copies: in the order in which they're made; the last ones are the outputs of earlier steps.
        past: how many of these there are, in the opposite order of `reference.state_shapes`.
        driven: length of `csnn_state.drive`.
        events: length of `csnn_state.event`, which ends with copies.
        cells: length of `csnn_state.begin`.
    """

    maps: list[Map]
    sources: list[list[Source]]
    copies: list[Events]
    past: int
    driven: int
    events: int
    cells: int

    @property
    def neurons(self) -> int:
        """The neurons of all layers."""
        return self.maps[-1].first + self.maps[-1].size

    @property
    def each(self) -> list[Source]:
        """The sources of all layers, in order."""
        return [source for sources in self.sources for source in sources]

    @property
    def added(self) -> list[list[Events]]:
        """The lists that each source and each copy reads."""
        return [*(source.inputs for source in self.each), *(copy.inputs for copy in self.copies)]


def reason_against(config: ModelConfig) -> str | None:
    """Why there's no C program for this network, in one line; None if there is one."""
    graph = config.graph
    for node in graph:
        pools, several = isinstance(node.operation, Pooling), len(node.inputs) > 1
        for edge in node.inputs:
            source = graph[edge.source]
            is_current, is_image = not isinstance(source.values, Signal), _is_image(graph, source)
            if edge.delay and (is_current or is_image):
                return f"{node.name} reads {edge}, and the C program delays only spikes"
            if pools and (is_image or (is_current and isinstance(source.operation, Pooling))):
                return f"{node.name} pools {source.name}, and the C program pools only currents and neurons' spikes"
            if several and is_image:
                listed = " and ".join(map(str, node.inputs))
                return f"{node.name} adds {listed}, and the C program adds only spikes and currents"
            if pools and several and is_current and (_is_max(node) or _is_separate(graph, node)):
                return f"{node.name} pools a sum with {source.name}, and the C program pools each current alone"
        if isinstance(node, WeightedNode) and len({_shape(graph, edge) for edge in _reads(graph, node)}) > 1:
            return f"{node.name} adds features of different shapes, and the C program adds only equal ones"
    return None


def _is_image(graph: Graph, node: Node) -> bool:
    """Whether a node is the image, perhaps pooled or flattened."""
    images = (edge.source == IMAGE for edge in graph.reads(node))
    return node.name == IMAGE or (isinstance(node.values, Signal) and not isinstance(node, NeuronNode) and any(images))


def _is_max(pool: Node) -> bool:
    return isinstance(pool.operation, Pooling) and pool.operation.kind == "max"


def _is_separate(graph: Graph, pool: Node) -> bool:
    """Whether neurons that add their inputs one by one read a pool."""
    return any(isinstance(reader, NeuronNode) and reader.operation.separate for reader in graph.readers(pool))


def _paths(graph: Graph, neurons: NeuronNode) -> Iterator[tuple[WeightedNode, Pooling | None]]:
    """The weights that make the currents of neurons, each with the pool of its sums."""
    for edge in neurons.inputs:
        node = graph[edge.source]
        pool = node.operation if isinstance(node.operation, Pooling) else None
        for source in [graph[one.source] for one in node.inputs] if pool else [node]:
            assert isinstance(source, WeightedNode)
            yield source, pool


def _is_list(graph: Graph, node: Node) -> bool:
    """Whether a node of signals has a list of its own: pools, and flattened signals that are delayed."""
    flat = isinstance(node.operation, Flatten) and node.name in graph.delays
    return flat or (isinstance(node.operation, Pooling) and isinstance(node.values, Signal))


def _reads(graph: Graph, node: Node) -> Iterator[Edge]:
    """The lists whose sum a node reads."""
    for edge in node.inputs:
        source = graph[edge.source]
        if isinstance(source.operation, Flatten) and not _is_list(graph, source):
            yield from _reads(graph, source)
        else:
            yield edge


def _shape(graph: Graph, edge: Edge) -> tuple[int, ...]:
    """The shape of a list."""
    node = graph[edge.source]
    return graph.entering(node) if isinstance(node.operation, Flatten) else node.shape


def states(config: ModelConfig) -> list[str]:
    """The names of all neurons' states, in the order of `csnn_state.value`."""
    return list(dict.fromkeys(name for kind in config.kinds for name in kind.states))


def per_channel(config: ModelConfig) -> list[str]:
    """The parameters that have a value for each channel in some layer, and so in all of them."""
    return list(dict.fromkeys(name for node in config.graph.neurons for name in node.operation.per_channel))


def _map(shape: tuple[int, ...], *places: int) -> Map:
    height, width, channels = shape if len(shape) == 3 else (1, 1, *shape)
    return Map(height, width, channels, *places)


def layout(config: ModelConfig) -> Layout:
    """The tables for a network without a `reason_against` it."""
    graph, maps, end = config.graph, list[Map](), (0, 0)
    for layer in graph.neurons:
        maps.append(_map(layer.shape, *end))
        end = end[0] + maps[-1].size, end[1] + maps[-1].cells
    lists, sources, driven = _Lists(graph, maps), list[list[Source]](), 0
    for number, neurons in enumerate(graph.neurons):
        sources.append([])
        for node, after in _paths(graph, neurons):
            inputs, drive = list[Events](), -1
            if _is_image(graph, graph[node.inputs[0].source]):
                drive, driven = driven, driven + maps[number].size
            else:
                inputs = lists.read(node, number, maps[number].cells > 2)
            sources[-1].append(Source(node, _map(graph.unflattened(node)), inputs, drive, after))
    copies, past = lists.copies()
    end = _place([one for one in copies if one.before < one.until], end)  # these last for the whole step, or longer
    ends = [_place([one for one in copies if one.before == one.until == turn], end) for turn in range(len(maps) + 1)]
    return Layout(maps, sources, copies, past, driven, *map(max, zip(*ends, strict=True)))


class _Lists:
    """The lists that a network's layers read."""

    def __init__(self, graph: Graph, maps: Sequence[Map]):
        self._graph = graph
        self._numbers = {node.name: number for number, node in enumerate(graph.neurons)}
        self._now = {node.name: Events(one) for node, one in zip(graph.neurons, maps, strict=True)}
        self._copies = dict[str, Events]()
        end = len(maps)
        self._past = {name: [self._copy(name, end, end + 1) for _ in range(n)] for name, n in graph.delays.items()}
        self._pools = [node for node in graph if _is_list(graph, node)]
        self._add_pools({name: [end] for name in graph.delays})
        for pool in self._pools:
            made = self._now[pool.name]
            made.inputs = self.read(pool, made.before, slowly=False)
            made.pool = pool.operation if isinstance(pool.operation, Pooling) else None
        for name, past in self._past.items():
            for one, later in zip(past, [self._now[name], *past], strict=False):
                one.inputs = [later]

    def _add_pools(self, turns: dict[str, list[int]]) -> None:
        """Adds the lists of pools. `turns`: of nodes that are copied, the number of layers."""

        def note(reader: Node, turn: int) -> None:
            for edge in _reads(self._graph, reader):
                if not edge.delay:
                    turns.setdefault(edge.source, []).append(turn)

        for number, neurons in enumerate(self._graph.neurons):
            for node, _ in _paths(self._graph, neurons):
                note(node, number)
        for pool in reversed(self._pools):
            edges, before = [*_reads(self._graph, pool)], min(turns[pool.name])
            if all(edge.delay for edge in edges):  # before what they read is overwritten
                late = (self._numbers[edge.source] for edge in edges if self._graph.is_previous(edge))
                before = min([before, *late])
            note(pool, before)
            self._now[pool.name] = self._copy(pool.name, before, max(turns[pool.name]))

    def _copy(self, name: str, before: int, until: int) -> Events:
        node = self._graph[name]
        assert isinstance(node.values, Signal)
        return Events(_map(_shape(self._graph, Edge(name))), node.values, before, until)

    def read(self, node: Node, turn: int, slowly: bool) -> list[Events]:
        """The lists that a node reads.

        Args:
            node: the node.
            turn: the layer before or in whose turn it reads.
            slowly: whether it reads while that layer's list is overwritten.
        """
        return [self._list(edge, turn, slowly) for edge in _reads(self._graph, node)]

    def _list(self, edge: Edge, turn: int, slowly: bool) -> Events:
        """A list. Before its turn, a layer's list has the spikes of the step before."""
        name, delay = edge
        if not self._graph.is_previous(edge):
            return self._past[name][delay - 1] if delay else self._now[name]
        number = self._numbers[name]
        if number > turn or (number == turn and not slowly):
            return self._now[name]
        copy = self._copies.setdefault(name, self._copy(name, number, turn))
        copy.inputs, copy.until = [self._now[name]], max(copy.until, turn)
        return copy

    def copies(self) -> tuple[list[Events], int]:
        """All copies in the order in which they're made, and how many at the end are outputs of earlier steps."""
        pools = [self._now[pool.name] for pool in self._pools]
        past = [one for past in self._past.values() for one in past]
        return [*self._copies.values(), *pools, *reversed(past)], len(past)


def _place(copies: list[Events], end: tuple[int, int]) -> tuple[int, int]:
    """Places copies one after another; returns where the last one ends."""
    for copy in copies:
        copy.map = copy.map._replace(first=end[0], begin=end[1])
        end = end[0] + copy.size, end[1] + copy.map.cells
    return end


class Operations(NamedTuple):
    """The most operations of a call.

    Attributes:
        present: of `csnn_present`.
        step: of `csnn_step`.
    """

    present: int
    step: int


def most_operations(made: Layout, padded: Callable[[int], int]) -> Operations:
    """The most operations of a program: if every neuron fires, and no byte of a frame is 0.

    An operation adds a weight to a sum, copies or counts an event, or is a neuron's step. Rows of weights are padded,
    and zeros count, too.

    Args:
        made: its tables.
        padded: from a number of channels to the weights in a row.
    """
    present, step = 0, made.neurons
    for out, sources in zip(made.maps, made.sources, strict=True):
        for source in sources:
            count = _additions(source, out, padded)
            present, step = (present, step + count) if source.drive < 0 else (present + count, step)
    for copy in made.copies:
        places = copy.pool.window if copy.pool else 1
        step += copy.map.height * copy.map.width * places * copy.map.channels * _each(copy.inputs)
    return Operations(present, step)


def _additions(source: Source, out: Map, padded: Callable[[int], int]) -> int:
    """The weights that a source adds to its layer's sums."""
    operation, values = source.node.operation, 1 if source.drive >= 0 else _each(source.inputs)
    if isinstance(operation, OneToOne):  # it counts an event once, whatever it stands for
        return source.map.size * (1 if source.drive >= 0 else sum(_most(one) for one in source.inputs))
    if not isinstance(operation, Convolution):
        return source.map.size * values * padded(out.channels)
    rows, columns = (
        _visits(positions, size, operation, source)
        for positions, size in ((out.height, source.map.height), (out.width, source.map.width))
    )
    return rows * columns * source.map.channels * values * padded(out.channels)


def _visits(positions: int, size: int, operation: Convolution, source: Source) -> int:
    """How often a convolution reads a row of its input, or a column, at all positions and for all of their pools."""
    pool, apart = (source.after.size, source.after.stride) if source.after else (1, 1)
    starts = (
        (position * apart + place) * operation.stride - operation.padding
        for position in range(positions)
        for place in range(pool)
    )
    return sum(max(0, min(size, start + operation.kernel) - max(0, start)) for start in starts)


def _each(inputs: Sequence[Events]) -> int:
    """The most rows or events for one value of a sum of lists."""
    return sum(often * _most(one) for one, often in counted(inputs))


def _most(one: Events) -> int:
    """The most events of a list for one of its values."""
    if one.before < 0:
        return 1
    return _each(one.inputs) * (1 if one.pool is None or one.pool.kind == "max" else one.pool.window)
