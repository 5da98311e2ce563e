"""The network in the Neuromorphic Intermediate Representation, for the program of a `Target`.

NIR can't express max-pooling, or resets that subtract or do nothing. (nir 1.0.4, which has no v_reset, documents a
subtracting reset, but snnTorch, which reads it, resets to zero.)
"""

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from csnn_jax.config.graph import IMAGE, Edge, Graph, NeuronNode, Node, WeightedNode
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.operations import Convolution, Flatten, Linear, OneToOne, Pooling
from csnn_jax.config.order import in_order
from csnn_jax.errors import first_line
from csnn_jax.files import write_atomic
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors, bias_of
from csnn_torch.foreign import hdf5, nir_file
from csnn_torch.programs import snntorch
from csnn_torch.programs.program import Inexact, Layer, Target, Written

DEFINED = snntorch.PROGRAM.target
"""network.nir, which follows NIR's definition, and is read by snnTorch."""
_RESETS = {"leaky": "zero", "synaptic": "clear"}
"""The reset of NIR's neurons, by the kind of our neurons."""


def reason_against(config: ModelConfig, tensors: Tensors, target: Target = DEFINED) -> str | None:
    """Why this network can't be written as such a file with the same spikes, and the remedy; None: it can."""
    wanted = []
    network, by_flags = config.graph, config.network is None
    if not network.is_chain and target.file != DEFINED.file:
        after = zip(network, network.nodes, strict=False)
        odd = next(node for node, before in after if node.inputs != (Edge(before),))
        return f"{target.file} is only written for chains, and {odd.name} reads {', '.join(map(str, odd.inputs))}"
    if "max" in {pool.kind for pool in network.pools}:
        wanted.append(("has no max-pooling", "--pool avg"))
    for kind in config.kinds:
        if reason := kind.lacks("nir"):
            wanted.append((reason.removeprefix("NIR "), "--neuron leaky"))
        reset = _RESETS.get(kind.name, "zero")
        nodes = [node for node in network.spiking if node.operation.kind is kind]
        if others := [one for one in nodes if one.operation.reset != reset]:
            resets = " or ".join(sorted({one.operation.reset for one in others}))
            as_ours = f"not as --reset {resets}" if by_flags else f"not as reset {resets} of {others[0].name}"
            synapse = ", and keeps the synaptic current" if kind.name == "synaptic" else ""
            wanted.append((f"resets a neuron to a value{synapse}, {as_ours}", f"--reset {reset}"))
    if config.readout == "membrane":
        flag = "--output spiking" if config.output == "integrator" else "--readout spikes"
        wanted.append(("is only written for networks with spike readout", flag))
    if wanted:
        reasons, flags = zip(*wanted, strict=True)
        joined = " and ".join(reasons) if len(reasons) < 3 else f"{', '.join(reasons[:-1])}, and {reasons[-1]}"
        remedy = f"; train with {' '.join(flags)} for a network.nir" if by_flags else ""
        return f"NIR {joined}{remedy}"
    if wide := [node.name for node in network.neurons if node.operation.per_channel]:
        which = "without --per-channel" if by_flags else f"{wide[0]} without per_channel"
        return (
            f"snnTorch, which reads NIR, supports one value for all neurons of a layer; train {which} for a network.nir"
        )
    for neurons in network.neurons:
        layer = _layer(neurons, tensors)
        if (threshold := layer.values["threshold"]) < 0:
            return (
                f"NIR's readers start at 0, above {neurons.name}'s learned threshold of {threshold:.6g}, and "
                "reset there first; train without --learn-threshold for a network.nir"
            )
        try:
            DEFINED.neurons(layer)
            target.neurons(layer)
        except Inexact as error:
            return str(error)
    return None if network.is_chain else _reason_against_edges(config, tensors)


def _reason_against_edges(config: ModelConfig, tensors: Tensors) -> str | None:
    """The same for the edges of a network that isn't a chain."""
    network = config.graph
    for node in network.neurons:
        if node.operation.separate and len(node.inputs) > 1:
            return (
                f"NIR's readers add all inputs of {node.name} to each other, and it adds them to its state one by one"
            )
    moved = _with_biases_moved(network, tensors)
    if moved is None:
        return "NIR's readers leave out a bias within a cycle in the first step, and it can't be moved to another node"
    rounded = layouts.on_grid(config, moved)
    if any(not np.array_equal(rounded[name], value) for name, value in moved.items()):
        return "NIR's readers leave out a bias within a cycle in the first step, and elsewhere it exceeds its grid"
    return None


def _undelayed(network: Graph) -> list[tuple[str, str]]:
    """All (from, to) edges, with and without a delay."""
    return [*dict.fromkeys((source, node.name) for node in network for source, _ in node.inputs)]


def has_delays(network: Graph) -> bool:
    """Whether a file needs Delay nodes: readers only delay what closes a cycle, by one step."""
    edges = {(node.name, edge) for node in network for edge in node.inputs if edge.delay}
    try:
        closing = nir_file.closing_edges(network.nodes, _undelayed(network))
    except nir_file.Entered:
        return True
    implied = set[tuple[str, Edge]]()
    for start, _ in closing:
        path = (*network.path(network[start]), network[start])
        if isinstance(path[-1], NeuronNode) or any(len(network.readers(node)) > 1 for node in path):
            return True
        names = [node.name for node in path]
        implied |= {(node.name, Edge(one, 1)) for node in path for one, _ in node.inputs if one not in names}
    return edges != implied


def _with_biases_moved(network: Graph, tensors: Tensors) -> Tensors | None:
    """The parameters with the biases of layers that close cycles added to others of the same sum; None: it can't be.

    The importers of snnTorch and nirtorch delay the output of such a layer, so its bias would lack in the first step.
    After a Delay node, it doesn't.
    """
    moved = dict(tensors)
    if has_delays(network):
        return moved
    late = {node.name for node in network.weighted if any(edge.delay for edge in network.reads(node))}
    for node in network.weighted:
        bias = bias_of(node, tensors)
        if node.name not in late or not bias.any():
            continue
        readers = network.readers(node)
        if len(readers) > 1 or not isinstance(readers[0], NeuronNode):
            return None
        others = [one for one in network.sources(readers[0]) if one.name not in late and one.bias]
        other = next((one for one in others if network.readers(one) == readers), None)
        if other is None:
            return None
        total = np.float64(bias) + moved[f"{other.name}.bias"]
        moved |= {f"{node.name}.bias": np.zeros_like(bias), f"{other.name}.bias": total.astype(np.float32)}
    return moved


def graph(config: ModelConfig, tensors: Tensors, target: Target = DEFINED) -> nir.NIRGraph:
    """The network as NIR nodes: input, layer1_conv, layer1_pool, layer1_spikes, ..., output; others keep their names.

    Shapes have no batch: the input is [channels, height, width]. Sizes have two elements, because some readers reject
    scalars. The names sort in the order of execution, because HDF5 loses any other order and nirtorch 2.0 needs it.
    Flattening counts its axes from the end, so it works with a batch axis in front (as in snnTorch's importer) and
    without.
    """
    height, width, channels = config.input_shape
    network = config.graph
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array([channels, height, width])})}
    written = {node.name: target.neurons(_layer(node, tensors)) for node in network.neurons}
    gains = {one.name: written[node.name].gain for node in network.neurons for one in network.sources(node)}
    delayed = has_delays(network)
    order = list(network) if network.is_chain or delayed else _executed(network)
    names = {IMAGE: "input"} | (_blocks(network) if _is_blocks(config) else _numbered(order))
    tensors = tensors if network.is_chain else _with_biases_moved(network, tensors) or {}
    edges = []
    for node in order:
        name = names[node.name]
        if isinstance(node.operation, Pooling):
            made = _pool(node.operation, target)
        elif isinstance(node.operation, Flatten):
            flat = np.array(network[node.inputs[0].source].channels_first)
            made = nir.Flatten({"input": flat}, start_dim=-3, end_dim=-1)
        elif isinstance(node, WeightedNode):
            after = network.pool_after(node)
            pools = network.pool_before(node), after
            weight = _scaled(tensors[f"{node.name}.weight"], gains[node.name], target, *pools)
            bias = _scaled(bias_of(node, tensors), gains[node.name], target, after)
            if isinstance(node.operation, Convolution):
                made = _conv(node.operation, network.entering(node)[:2], weight, bias)
            else:
                made = nir.Affine(np.diag(weight) if isinstance(node.operation, OneToOne) else weight, bias)
        else:
            made = as_node(written[node.name], (1,) if target.legacy else node.channels_first)
        for edge in node.inputs:
            start = names[edge.source]
            if edge.delay and delayed:
                shape = network[edge.source].channels_first
                assert target.dt is not None
                nodes[f"{start}_{edge.delay}"] = nir.Delay(np.full(shape, edge.delay * target.dt))
                edges.append((start, f"{start}_{edge.delay}"))
                start = f"{start}_{edge.delay}"
            elif edge.delay and isinstance(node.operation, Linear | OneToOne):
                # snnTorch's importer makes a module of a layer and neurons that feed each other, which nirtorch refuses
                nodes[f"{name}_in"] = nir.Flatten({"input": np.array(network[edge.source].channels_first)}, -1, -1)
                edges.append((start, f"{name}_in"))
                start = f"{name}_in"
            edges.append((start, name))
        nodes[name] = made
    edges = [*dict.fromkeys(edges)]
    nodes["output"] = nir.Output({"output": np.array([config.num_classes])})
    edges.append((names[network.neurons[-1].name], "output"))
    metadata: dict[str, Any] = {"time_steps": config.time_steps, "encoding": config.encoding}
    metadata |= {"scale": config.pixels.scale, "input_bits": config.pixels.bits, "file": target.file}
    if target.dt is not None:
        metadata["dt"] = target.dt
    return nir.NIRGraph(nodes, edges, metadata, type_check=not target.legacy)


def _is_blocks(config: ModelConfig) -> bool:
    return config.network is None and config.graph.is_chain


def _blocks(network: Graph) -> dict[str, str]:
    """The names of a chain's nodes in a file."""
    digits, names = len(str(len(network.neurons))), dict[str, str]()
    for number, neurons in enumerate(network.neurons, 1):
        prefix = f"layer{number:0{digits}}_"
        for node in (*network.path(neurons), neurons):
            match node.operation:
                case Pooling():
                    before = network.source(node)
                    after = isinstance(before, NeuronNode)
                    names[node.name] = f"{names[before.name]}_pool" if after else f"{prefix}pool"
                case Flatten():
                    names[node.name] = f"{prefix}flatten"
                case Convolution():
                    names[node.name] = f"{prefix}conv"
                case Linear():
                    names[node.name] = f"{prefix}linear"
                case _:
                    names[node.name] = f"{prefix}spikes"
    return names


def _executed(network: Graph) -> list[Node]:
    """The nodes in an order in which those that close cycles come after what they read."""
    edges = _undelayed(network)
    names = in_order(network.nodes, edges, nir_file.closing_edges(network.nodes, edges))
    return [network[name] for name in names if name != IMAGE]


def _numbered(nodes: Sequence[Node]) -> dict[str, str]:
    """The names of nodes with a number in front, which our reader drops."""
    digits = len(str(len(nodes)))
    return {node.name: f"{number:0{digits}}_{node.name}" for number, node in enumerate(nodes, 1)}


def _layer(node: NeuronNode, tensors: Tensors) -> Layer:
    return Layer(node.name, {name: np.float32(value) for name, value in node.operation.values(tensors).items()})


def as_node(written: Written, shape: tuple[int, ...]) -> nir.NIRNode:
    """Neurons at rest at 0. Parameters are arrays of the layer's full shape: some readers reject scalars."""
    values = written.values | {"v_reset": np.float32(0)}
    if written.kind != "IF":
        values["v_leak"] = np.float32(0)
    return getattr(nir, written.kind)(**{name: np.full(shape, value) for name, value in values.items()})


def _scaled(values: np.ndarray, gain: float, target: Target, *pools: Pooling | None) -> np.ndarray:
    """Weights or biases for a reader, multiplied by `gain` and, if the reader only sums, divided by the size of these
    average pools. Both are powers of two."""
    pixels = [pool.window for pool in pools if pool and pool.kind == "avg" and target.sums]
    return np.asarray(values, np.float32) * np.float32(gain / math.prod(pixels))


def _pool(pool: Pooling, target: Target) -> nir.NIRNode:
    kind = nir.SumPool2d if target.sums or pool.kind == "sum" else nir.AvgPool2d
    return kind(kernel_size=np.full(2, pool.size), stride=np.full(2, pool.stride), padding=np.array([0, 0]))


def _conv(operation: Convolution, size: tuple[int, ...], weight: np.ndarray, bias: np.ndarray) -> nir.Conv2d:
    return nir.Conv2d(
        input_shape=size,
        weight=weight,
        stride=(operation.stride, operation.stride),
        padding=(operation.padding, operation.padding),
        dilation=(1, 1),
        groups=1,
        bias=bias,
    )


def write(path: Path, config: ModelConfig, tensors: Tensors, target: Target = DEFINED) -> None:
    """Writes the network as a NIR file (HDF5), the same bytes for the same network.

    Args:
        path: the file to create.
        config: the stack, without a `reason_against` it.
        tensors: its parameters as returned by `weights.load`.
        target: the file's program.

    Raises:
        ValueError: there is a `reason_against` this network.
        UserError: the file can't be written.
    """
    if reason := reason_against(config, tensors, target):
        raise ValueError(reason)
    file = io.BytesIO()
    nir.write(file, graph(config, tensors, target))
    if target.legacy:
        with h5py.File(file, "r+") as stored:
            stored["version"][()] = "1.0.4"
            for node in stored["node/nodes"].values():
                if "v_reset" in node:
                    del node["v_reset"]
    write_atomic(path, file.getvalue())


def read(path: Path, target: Target = DEFINED) -> nir.NIRGraph:
    """Reads such a file; checks shapes unless parameters have one value for a whole layer."""
    return nir.read(path, type_check=not target.legacy)


MOST_OBJECTS = 10_000
"""How many objects of a group are tried."""
Item = Any
"""A group or a dataset; h5py has no type hints."""


def file_differences(expected: Path, received: Path) -> Iterator[str]:
    """How a received file differs from `expected`, one line for each difference."""
    most = 2 * expected.stat().st_size
    if (size := received.stat().st_size) > most:
        yield f"has {size:,} bytes, expected at most {most:,}"
        return
    if problem := hdf5.damage(received, MOST_OBJECTS):
        yield f"isn't an HDF5 file: {problem}"
        return
    try:
        with h5py.File(expected) as one, h5py.File(received) as other:
            if one.userblock_size != other.userblock_size:
                yield "doesn't begin with HDF5's signature"
            yield from differences(one, other)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        yield f"isn't an HDF5 file: {first_line(error)}"


def differences(expected: h5py.Group, received: h5py.Group) -> Iterator[str]:
    """How a group's objects, attributes or values differ from `expected`, one line for each difference.

    Only objects that `expected` has are opened, so links to other places, extra objects and compressed or external
    data are reported but never followed.
    """
    yield from _attributes(expected, received)
    for name in sorted(expected.keys() | received.keys()):
        place = f"{expected.name.rstrip('/')}/{name}"
        if name not in expected or name not in received:
            yield f"{place} is {'missing' if name in expected else 'unexpected'}"
            continue
        item, problem = hdf5.member(received, name)
        if problem:
            yield f"{place} {problem}"
        else:
            yield from _items(expected[name], item, place)


def _items(expected: Item, received: Item, place: str) -> Iterator[str]:
    if isinstance(expected, h5py.Group) and isinstance(received, h5py.Group):
        yield from differences(expected, received)
    elif isinstance(expected, h5py.Dataset) and isinstance(received, h5py.Dataset):
        forms = [(one.shape, one.dtype, *_storage(one)) for one in (expected, received)]
        if forms[0] != forms[1]:
            yield f"{place} has a different shape, type or storage"
            return
        yield from _attributes(expected, received)
        if not _equal(expected[()], received[()]):
            yield f"{place} doesn't match what this version makes from the weights"
    else:
        yield f"{place} is a {type(received).__name__}, expected a {type(expected).__name__}"


def _storage(data: h5py.Dataset) -> tuple[int, int, int]:
    """How values are stored: layout, number of filters, number of external files."""
    how = data.id.get_create_plist()
    return how.get_layout(), how.get_nfilters(), how.get_external_count()


def _attributes(expected: Item, received: Item) -> Iterator[str]:
    for name in sorted(expected.attrs.keys() | received.attrs.keys()):
        if name not in expected.attrs or name not in received.attrs:
            yield f"{expected.name}: attribute {name} is {'missing' if name in expected.attrs else 'unexpected'}"
        elif not _equal(expected.attrs[name], received.attrs[name]):
            yield f"{expected.name}: attribute {name} differs"


def _equal(expected: object, received: object) -> bool:
    one, two = np.asarray(expected), np.asarray(received)
    return one.dtype == two.dtype and one.shape == two.shape and bool(np.array_equal(one, two))
