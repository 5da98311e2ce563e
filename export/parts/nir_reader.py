"""NIR files for readers that can't use `network.nir` unchanged: the interface of their modules, and their proof.

The readers' programs aren't dependencies, so a file is read back and run in torch with the arithmetic measured for its
program (docs/coming-from-nir.md). The scripts in benchmarks/targets run the files in the programs themselves.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import nir
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors
from export import reference
from export.bundle import Manifest
from export.graphs import hdf5, nir_graph
from export.graphs.nir_dialect import Dialect
from export.network import Bundle, Inputs
from export.parts.part import Advice, CheckResult, ComparedRow, Part, Usage
from export.proof import Figures
from export.proof.equality import Comparison, problems
from export.proof.evidence import Evidence

Values = dict[str, Tensor]
"""A node's parameters by name."""
State = tuple[Tensor, ...]
Rule = Callable[[nir.NIRNode, Values, Tensor, State], tuple[Tensor, State]]
"""One step of a program's neurons: (node, its values, input, state, initially two zeros) -> (spikes, state)."""


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


@torch.no_grad()
def run(graph: nir.NIRGraph, rule: Rule, x: Tensor, time_steps: int) -> list[Tensor]:
    """Runs one of our graphs with a program's rule.

    Args:
        graph: the graph from `nir_graph.read`.
        rule: the neurons.
        x: see `reference.inputs`.
        time_steps: length of the window if `x` is one image.

    Returns:
        The spikes [time, batch, *shape] of every layer.
    """
    follows, name, chain = dict(graph.edges), "input", []
    while (name := follows[name]) != "output":
        chain.append((name, graph.nodes[name]))
    arrays = {name: {k: torch.as_tensor(v) for k, v in _arrays(node).items()} for name, node in chain}
    states: dict[str, State] = {name: (torch.zeros(()), torch.zeros(())) for name, _ in chain}
    spikes: dict[str, list[Tensor]] = {name: [] for name, node in chain if _fires(node)}
    for value in reference.frames(x, time_steps):
        for name, node in chain:
            if _fires(node):
                fired, states[name] = rule(node, arrays[name], value, states[name])
                value = fired.float()
                spikes[name].append(value)
            else:
                value = _stateless(node, arrays[name], value)
    return [torch.stack(layer) for layer in spikes.values()]


def _fires(node: nir.NIRNode) -> bool:
    return isinstance(node, (nir.IF, nir.LIF, nir.CubaLIF))


def _arrays(node: nir.NIRNode) -> dict:
    return {name: value for name, value in vars(node).items() if isinstance(value, (np.ndarray, np.generic))}


def _stateless(node: nir.NIRNode, values: Values, x: Tensor) -> Tensor:
    if isinstance(node, nir.Conv2d):
        stride, padding = (tuple(map(int, size)) for size in (node.stride, node.padding))
        return functional.conv2d(x, values["weight"], values["bias"], stride, padding)
    if isinstance(node, nir.Affine):
        return functional.linear(x, values["weight"], values["bias"])
    if isinstance(node, nir.Flatten):
        return x.flatten(int(node.start_dim), int(node.end_dim))
    size, stride = (tuple(values[name].tolist()) for name in ("kernel_size", "stride"))
    if isinstance(node, nir.AvgPool2d):
        return functional.avg_pool2d(x, size, stride)
    assert isinstance(node, nir.SumPool2d)
    return functional.lp_pool2d(x, 1, size, stride)


def _compared(evidence: Evidence, graph: nir.NIRGraph, rule: Rule) -> Figures:
    found = Comparison()
    for one in evidence.compared:
        layers = [layer.numpy() for layer in run(graph, rule, one.x, evidence.network.time_steps)]
        found.add(one, layers[-1], layers)
    return found.figures()


def part(reader: Reader) -> Part:
    """The part for a reader's file."""
    dialect = reader.dialect
    form, run_by = f"NIR ({dialect.reader})", f"{dialect.reader}'s arithmetic, in torch"

    def reason_against(config: ModelConfig, tensors: Tensors) -> str | None:
        return nir_graph.reason_against(config, tensors, dialect)

    def write(bundle: Bundle, inputs: Inputs) -> None:
        nir_graph.write(bundle.folder / dialect.file, bundle.network.model, bundle.network.tensors, dialect)

    def check(bundle: Bundle, evidence: Evidence) -> Iterator[CheckResult]:
        compared = partial(_compared, evidence, nir_graph.read(bundle.folder / dialect.file, dialect))
        figures = compared(reader.rule)
        exact = figures if reader.same_as_ours is None else compared(reader.same_as_ours)
        yield CheckResult({"arithmetic": figures}, problems(run_by, exact))

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
