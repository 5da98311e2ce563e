"""Where the C program keeps a network's spikes and currents, and what each layer reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from csnn_jax.config.graph import IMAGE, Graph, NeuronNode, Node, WeightedNode
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.operations import Flatten, Pooling
from csnn_jax.runs.layouts import Tensors


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


@dataclass
class Copy:
    """A `struct copy`: spikes that are pooled, or would be overwritten before they're read.

    Attributes:
        reader: the layer that reads them.
        before: the layer before whose turn they're copied.
        layer: the layer that they come from.
        pool: None: they're copied as they are.
        copied: the copy.
    """

    reader: int
    before: int
    layer: int
    pool: Pooling | None
    copied: Map

    @property
    def events(self) -> int:
        """The largest number of its events."""
        return self.copied.size * (1 if self.pool is None or self.pool.kind == "max" else self.pool.window)


class Source(NamedTuple):
    """A `struct source`: weights that give the neurons of a layer a current.

    Attributes:
        node: the node with the weights.
        map: the neurons whose spikes it reads, or the frame.
        copy: the copy of these spikes that it reads instead.
        drive: where its currents start in `csnn_state.drive` if it reads the frame; -1 if it reads spikes.
        after: the pool of its sums.
    """

    node: WeightedNode
    map: Map
    copy: Copy | None
    drive: int
    after: Pooling | None

    @property
    def reads(self) -> Map:
        """What it reads."""
        return self.copy.copied if self.copy else self.map


class Layout(NamedTuple):
    """The program's tables.

    Attributes:
        maps: the neurons of each layer.
        sources: of each layer, in the order of its neurons' inputs.
        driven: length of `csnn_state.drive`.
        events: length of `csnn_state.event`, which ends with copies.
        cells: length of `csnn_state.begin`.
    """

    maps: list[Map]
    sources: list[list[Source]]
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
    def copies(self) -> list[Copy]:
        """The copies of spikes."""
        return [source.copy for source in self.each if source.copy]


class _Path(NamedTuple):
    """What leads to an input of neurons.

    Attributes:
        node: the node with the weights.
        origin: the neurons whose spikes it reads, or the image.
        before: the nodes that pool these spikes, the last one first.
        after: the nodes that pool its sums, the last one first.
    """

    node: WeightedNode
    origin: Node
    before: list[Node]
    after: list[Node]


def _paths(graph: Graph, neurons: NeuronNode) -> Iterator[_Path]:
    """The paths to the inputs of neurons."""
    for edge in neurons.inputs:
        node, after = _unpooled(graph, graph[edge.source])
        assert isinstance(node, WeightedNode)
        yield _Path(node, *_unpooled(graph, graph.source(node)), after)


def _unpooled(graph: Graph, node: Node) -> tuple[Node, list[Node]]:
    """The node before a node's pools and flattening, and these pools."""
    pools = []
    while isinstance(node.operation, Pooling | Flatten):
        pools += [node] if isinstance(node.operation, Pooling) else []
        node = graph.source(node)
    return node, pools


def _pool(nodes: list[Node]) -> Pooling | None:
    """The operation of the only pool, if there is one."""
    (pool,) = (node.operation for node in nodes) if nodes else (None,)
    assert isinstance(pool, Pooling | None)
    return pool


def reason_against(config: ModelConfig, tensors: Tensors) -> str | None:
    """Why there's no C program for this network, in one line; None if there is one."""
    del tensors
    graph = config.graph
    for path in (path for neurons in graph.neurons for path in _paths(graph, neurons)):
        pooled = path.after[:-1] + (path.before if path.origin.name == IMAGE else path.before[:-1])
        if pooled:
            source = graph.source(pooled[0])
            return f"{pooled[0].name} pools {source.name}, and the C program pools only currents and neurons' spikes"
    return None


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
    for node in graph.neurons:
        maps.append(_map(node.shape, *end))
        end = end[0] + maps[-1].size, end[1] + maps[-1].cells
    numbers = {node.name: number for number, node in enumerate(graph.neurons)}
    sources, copies, driven = list[list[Source]](), list[Copy](), 0
    for number, neurons in enumerate(graph.neurons):
        sources.append([])
        for path in _paths(graph, neurons):
            entering, copy, drive = _map(graph.unflattened(path.node)), None, -1
            if path.origin.name == IMAGE:
                drive, driven = driven, driven + maps[number].size
            else:
                layer = numbers[path.origin.name]
                entering, copy = maps[layer], _copy(graph, path, maps[number], number, layer)
                copies += [copy] if copy else []
            sources[-1].append(Source(path.node, entering, copy, drive, _pool(path.after)))
    end = _place([copy for copy in copies if copy.before < copy.reader], end)  # these last for the whole step
    ends = [_place([copy for copy in copies if copy.before == copy.reader == one], end) for one in range(len(maps))]
    return Layout(maps, sources, driven, *map(max, zip(*ends, strict=True)))


def _copy(graph: Graph, path: _Path, neurons: Map, reader: int, layer: int) -> Copy | None:
    """The copy of a layer's spikes that `neurons`, those of layer `reader`, read on a path; None: they need none.

    Before its turn, a layer's list has the spikes of the step before, and a layer of one pixel reads them before it
    writes any.
    """
    late = graph.delay(path.node)
    overwritten = late and (layer < reader or (layer == reader and neurons.cells > 2))
    if not path.before and not overwritten:
        return None
    shape = path.before[0].shape if path.before else path.origin.shape
    return Copy(reader, min(layer, reader) if late else reader, layer, _pool(path.before), _map(shape))


def _place(copies: list[Copy], end: tuple[int, int]) -> tuple[int, int]:
    """Places copies one after another; returns where the last one ends."""
    for copy in copies:
        copy.copied = copy.copied._replace(first=end[0], begin=end[1])
        end = end[0] + copy.events, end[1] + copy.copied.cells
    return end
