"""NIR files for readers that can't use `network.nir` unchanged: the interface of their modules, and their proof.

The readers' programs aren't dependencies, so a file is read back and run in torch with the arithmetic measured for its
program (docs/coming-from-nir.md). The scripts in benchmarks/targets run the files in the programs themselves.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import nir
import numpy as np
import torch
from torch import Tensor

from csnn_jax.config import ModelConfig, Neurons, Pooling
from csnn_jax.config.graph import IMAGE, Convolution, Flatten, Graph, Linear, Node, Operation, Signal, graph
from csnn_jax.neurons.neuron import Neuron, State, Values
from csnn_jax.runs.equality import Comparison
from csnn_jax.runs.layouts import Tensors
from csnn_torch.library import Torch
from export.bundle import Manifest
from export.graphs import hdf5, nir_graph
from export.graphs.nir_dialect import Dialect
from export.network import Bundle, Inputs
from export.parts.part import Advice, CheckResult, ComparedRow, Part, Usage
from export.proof import Figures
from export.proof.equality import problems, spikes_equality
from export.proof.evidence import Evidence

States = tuple[Tensor, ...]
Rule = Callable[[nir.NIRNode, Values, Tensor, States], tuple[Tensor, States]]
"""One step of a program's neurons: (node, its values, input, state, initially two zeros) -> (spikes, state)."""
_NEURON = Neuron(
    "nir", "neurons with a program's rule", ("first", "second"), {}, lambda ops, values, state, *_: state, {}
)
"""Its step is never used."""


class Reader(NamedTuple):
    """A program that reads NIR in its own way.

    Attributes:
        dialect: how to write its file.
        rule: its neurons.
        place: position of its row and its paragraphs in the report.
        usage: maps a manifest's semantics to the report's text on how to call it, Markdown.
        same_as_ours: a variant of `rule` that rounds like our neurons; None: `rule` does.
    """

    dialect: Dialect
    rule: Rule
    place: int
    usage: Callable[[Figures], str]
    same_as_ours: Rule | None = None


def reset(fired: Tensor, membrane: Tensor) -> Tensor:
    """A membrane after the step: 0 if it spiked."""
    return torch.where(fired, 0.0, membrane)


class _Program(Torch):
    """Torch with a program's neurons.

    Args:
        rule: the neurons.
        nodes: the file's nodes by name.
    """

    def __init__(self, rule: Rule, nodes: dict[str, nir.NIRNode]):
        super().__init__()
        self._rule, self._nodes = rule, nodes

    def fire(self, node: Node, own: Values, state: State, current: Tensor) -> tuple[State, Tensor]:
        """The program's step of neurons."""
        fired, after = self._rule(self._nodes[node.name], dict(own), current, tuple(state.values()))
        return dict(zip(state, after, strict=True)), fired.float()


@torch.no_grad()
def run(read: nir.NIRGraph, rule: Rule, x: Tensor, time_steps: int) -> list[Tensor]:
    """Runs one of our graphs with a program's rule.

    Args:
        read: the graph from `nir_graph.read`.
        rule: the neurons.
        x: see `reference.inputs`.
        time_steps: length of the window if `x` is one image.

    Returns:
        The spikes [time, batch, *shape] of every layer.
    """
    network, parameters = _network(read)
    steps = _Program(rule, read.nodes).run(network, parameters, x, time_steps)
    layers = zip(*([one.values[node.name] for node in network.neurons] for one in steps), strict=True)
    return [torch.stack(layer) for layer in layers]


def _network(read: nir.NIRGraph) -> tuple[Graph, dict[str, dict[str, Tensor]]]:
    """The network that a file describes, whose neurons have no step of their own, and its arrays as tensors."""
    sources = {reader: source for source, reader in read.edges}
    channels, *size = read.nodes["input"].input_type["input"].tolist()
    wide, name = channels, "output"
    nodes: list[str] = []
    while (name := sources[name]) != "input":
        nodes.insert(0, name)
    described = []
    for name in nodes:
        node = read.nodes[name]
        wide = len(node.weight) if isinstance(node, nir.Conv2d | nir.Affine) else wide
        source = IMAGE if sources[name] == "input" else sources[name]
        described.append((name, _operation(node, name, wide), source))
    arrays = {
        name: {
            key: torch.as_tensor(v)
            for key, v in vars(read.nodes[name]).items()
            if isinstance(v, np.ndarray | np.generic)
        }
        for name in nodes
    }
    pools = {
        name: {"pixels": torch.tensor(float(one.window))} for name, one, _ in described if isinstance(one, Pooling)
    }
    return graph((*size, channels), Signal(), described), arrays | pools


def _operation(node: nir.NIRNode, name: str, channels: int) -> Operation:
    match node:
        case nir.Conv2d():
            (stride, _), (padding, _) = (tuple(map(int, sizes)) for sizes in (node.stride, node.padding))
            return Convolution(channels, node.weight.shape[-1], stride, padding)
        case nir.Affine():
            return Linear(channels)
        case nir.Flatten():
            return Flatten()
        case nir.AvgPool2d():
            return Pooling("avg", int(node.kernel_size[0]), int(node.stride[0]))
        case nir.SumPool2d():
            return Pooling("sum", int(node.kernel_size[0]), int(node.stride[0]))
    return Neurons(name, _NEURON, "none", channels, ())


def part(reader: Reader) -> Part:
    """The part for a reader's file."""
    dialect = reader.dialect
    form, run_by = f"NIR ({dialect.reader})", f"{dialect.reader}'s arithmetic, in torch"

    def reason_against(config: ModelConfig, tensors: Tensors) -> str | None:
        return nir_graph.reason_against(config, tensors, dialect)

    def write(bundle: Bundle, inputs: Inputs) -> None:
        nir_graph.write(bundle.folder / dialect.file, bundle.network.model, bundle.network.tensors, dialect)

    def check(bundle: Bundle, evidence: Evidence) -> Iterator[CheckResult]:
        read, steps = nir_graph.read(bundle.folder / dialect.file, dialect), evidence.network.time_steps

        def compared(rule: Rule) -> Comparison:
            return spikes_equality(bundle.network.model, evidence.compared, lambda x: run(read, rule, x, steps))

        comparison = compared(reader.rule)
        exact = comparison if reader.same_as_ours is None else compared(reader.same_as_ours)
        yield CheckResult({"arithmetic": comparison.figures()}, problems(run_by, exact))

    def comparisons(proof: Figures) -> Iterator[ComparedRow]:
        yield ComparedRow(run_by, proof["arithmetic"])

    def written(manifest: Manifest) -> bool:
        return manifest[form.lower()]["written"]

    def advice(manifest: Manifest) -> Iterable[Advice]:
        return [Advice(reader.place, dialect.reader, f"`{dialect.file}`")] if written(manifest) else []

    def usage(manifest: Manifest) -> Iterable[Usage]:
        return [Usage(reader.place, reader.usage(manifest["semantics"]))] if written(manifest) else []

    return Part(
        what={dialect.file: f"the same for {dialect.reader}"},
        write=write,
        check=check,
        same=lambda bundle, received: hdf5.in_folders(bundle.folder, received),
        reason_against=reason_against,
        form=form,
        comparisons=comparisons,
        advice=advice,
        usage=usage,
    )
