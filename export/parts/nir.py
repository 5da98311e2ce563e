"""`network.nir`: the network as NIR defines it, proven in the first of its readers, snnTorch."""

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import nir
import torch
from torch import Tensor

from export import reference
from export.bundle import Manifest
from export.graphs import hdf5, nir_graph
from export.graphs.nir_dialect import DEFINITION
from export.network import Bundle, Inputs
from export.parts.part import Advice, CheckResult, Compare, ComparedRow, Part, Usage
from export.proof import Figures
from export.proof.equality import problems, spikes_equality
from export.proof.evidence import Evidence
from export.report import snippets

NAME = DEFINITION.file


def write(bundle: Bundle, inputs: Inputs) -> None:
    nir_graph.write(bundle.folder / NAME, bundle.network.model, bundle.network.tensors)


def check(bundle: Bundle, evidence: Evidence) -> Iterator[CheckResult]:
    """Reads the file with `nir` and runs it in snnTorch's importer, where its spikes must equal torch's."""
    network = nir_graph.read(bundle.folder / NAME)
    steps = evidence.network.time_steps
    comparison = spikes_equality(bundle.network.model, evidence.compared, lambda x: run(network, x, steps))
    accuracy = evidence.accuracy(lambda x: run(network, x, steps, last=True)[-1].sum(0).numpy())
    nodes = {key: type(node).__name__ for key, node in network.nodes.items()}
    proof = {"nodes": nodes, "snntorch": comparison.figures(), "accuracy": accuracy}
    yield CheckResult(proof, problems("snnTorch", comparison))


def same(bundle: Bundle, received: Path) -> Compare:
    """How a received file's HDF5 objects or values differ from those written here."""
    return hdf5.in_folders(bundle.folder, received)


@torch.no_grad()
def run(network: nir.NIRGraph, x: Tensor, time_steps: int, last: bool = False) -> tuple[Tensor, ...]:
    """Runs a NIR graph in snnTorch, through its importer (`snntorch.import_nir`, which resets to zero).

    Args:
        network: one of our graphs, as returned by `nir.read`.
        x: see `reference.inputs`.
        time_steps: length of the window if `x` is one image.
        last: whether to keep only the last layer's spikes.

    Returns:
        The spikes [time, batch, *shape] of every layer.
    """
    from snntorch.import_nir import import_from_nir

    with contextlib.redirect_stdout(io.StringIO()):  # it prints a line for each of its passes
        reader = import_from_nir(network)
    neurons = [name for name, node in network.nodes.items() if isinstance(node, (nir.LIF, nir.CubaLIF))]
    spikes: dict[str, list[Tensor]] = {name: [] for name in (neurons[-1:] if last else neurons)}
    for name, collected in spikes.items():
        reader.get_submodule(name).register_forward_hook(lambda _, __, out, to=collected: to.append(out))
    for frame in reference.frames(x, time_steps):
        reader(frame)
    stacked = tuple(torch.stack(layer) for layer in spikes.values())
    for collected in spikes.values():
        collected.clear()  # the hooks would keep gigabytes alive until the next garbage collection
    return stacked


def _comparisons(proof: Figures) -> Iterator[ComparedRow]:
    yield ComparedRow("snnTorch", proof["snntorch"])


def _advice(manifest: Manifest) -> Iterable[Advice]:
    take = f"`{NAME}`" if manifest["nir"]["written"] else "none, see above"
    yield Advice(7, "neuromorphic hardware or its simulator", take)


def _usage(manifest: Manifest) -> Iterable[Usage]:
    if not manifest["nir"]["written"]:
        return
    text = f"""\
`{NAME}` is for readers with a time step of 1e-4 s. With Euler's method, their neurons then multiply a membrane by beta
at every step. Present {manifest["semantics"]["input"]["meaning"]}, for {manifest["semantics"]["time_steps"]} steps. NIR
resets a neuron in the step of its spike, not at the start of the next one as described below. The spikes are the same,
but membranes after a spike aren't.

In snnTorch, whose neurons keep their membranes from one image to the next unless the network is imported again:

<!-- nir -->
```python
{snippets.nir(manifest["semantics"])}
```"""
    yield Usage(6, text)


PART = Part(
    what={
        NAME: "the network in the Neuromorphic Intermediate Representation, for nir 1.0.8 and later",
    },
    write=write,
    check=check,
    same=same,
    reason_against=nir_graph.reason_against,
    form="NIR",
    comparisons=_comparisons,
    advice=_advice,
    usage=_usage,
)
