"""`network.nir`, the network as NIR defines it, and a file for each program that can't read that one unchanged.

snnTorch, the first reader of network.nir, runs it for the proof. It doesn't read Delay nodes: a file with those is run
in torch by NIR's definition. The other programs aren't dependencies, so their files are run in torch with the
arithmetic measured for each (docs/coming-from-nir.md). The scripts in benchmarks/targets run the files in the programs
themselves.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nir
import torch
from torch import Tensor

from csnn_jax.config.graph import Node
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.nodes import Nodes
from csnn_jax.document.blocks import Code, Listing, Paragraph
from csnn_jax.neurons.neuron import MEMBRANE, State, Values
from csnn_jax.runs.equality import Comparison
from csnn_jax.runs.layouts import Tensors
from csnn_torch.foreign import nir_file, nir_network
from csnn_torch.foreign.nir_layers import Layers
from csnn_torch.library import Torch
from csnn_torch.programs import PROGRAMS, snntorch
from csnn_torch.programs.program import Leaky, Program
from export import reference
from export.bundle import Manifest
from export.graphs import nir_graph
from export.network import Bundle
from export.parts.part import Advice, CheckResult, Part, Usage
from export.proof.equality import CheckImages, problems, spikes_equality
from export.report import snippets

NAME = nir_graph.DEFINED.file
DEFINITION = "definition"
"""The key of network.nir's comparison if snnTorch can't run it."""
FIRST = 7
"""Position of network.nir's row and paragraphs in the report; those of the other files follow."""


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
    importer = snntorch.PROGRAM.importer
    steps = importer.run(importer.load(network), reference.frames(x, time_steps))
    spikes = [[one for one, _ in layers[-1 if last else 0 :]] for layers in steps]
    return tuple(map(torch.stack, zip(*spikes, strict=True)))


@torch.no_grad()
def run_defined(path: Path, like: ModelConfig, x: Tensor, time_steps: int) -> list[Tensor]:
    """Runs one of our files in torch by NIR's definition, see `run`; `like`: the network that it was made from."""
    network = nir_network.read(str(path))
    library, graph = Torch(), network.config.graph
    steps = library.run(graph, library.parameters(graph, network.tensors), x, time_steps)
    names, read = ([node.name for node in one.neurons] for one in (like.graph, graph))
    order = names if sorted(names) == sorted(read) else read  # a name may be changed on the way
    by_layer = zip(*([one.values[name] for name in order] for one in steps), strict=True)
    return [torch.stack(layer) for layer in by_layer]


class _Arithmetic(Torch):
    """Torch with the neurons of a file as a program computes them.

    Args:
        program: the program.
        leaky: its arithmetic, or a variant.
        nodes: the file's nodes of neurons, by the names of ours.
    """

    def __init__(self, program: Program, leaky: Leaky, nodes: dict[str, nir_file.Node]):
        super().__init__()
        self._program, self._leaky, self._nodes = program, leaky, nodes
        self._values = {
            name: {key: torch.as_tensor(value) for key, value in node.values.items()} for name, node in nodes.items()
        }

    def fire(self, node: Node, own: Values, state: State, currents: tuple[Tensor, ...]) -> tuple[State, Tensor]:
        """The program's step of neurons."""
        (current,) = currents
        kind, values, leaky = self._nodes[node.name].kind, self._values[node.name], self._leaky
        synapse, membrane, by_factors = state["syn"], state[MEMBRANE], self._program.target.by_factors
        if kind == "CubaLIF":
            synapse = leaky(kind, values["tau_syn"], synapse, values["w_in"] * current if by_factors else current)
            current = values["r"] * synapse if by_factors else synapse
        if kind == "IF":
            membrane = membrane + current
        else:
            membrane = leaky(kind, values["tau_mem" if kind == "CubaLIF" else "tau"], membrane, current)
        above = membrane - values["v_threshold"]
        fired = above >= 0 if self._program.rules.includes else above > 0
        return {"syn": synapse, MEMBRANE: torch.where(fired, 0.0, membrane)}, fired.float()


@torch.no_grad()
def simulate(path: Path, program: Program, x: Tensor, time_steps: int, like_ours: bool = False) -> list[Tensor]:
    """Runs one of our files with a program's arithmetic.

    Args:
        path: the file.
        program: the program.
        x: see `reference.inputs`.
        time_steps: length of the window if `x` is one image.
        like_ours: whether to round like our neurons, if the program doesn't.

    Returns:
        The spikes [time, batch, *shape] of every layer.
    """
    stored = nir_file.read(str(path))
    network = nir_file.ordered(stored, str(path))
    layers = Layers(network, network.shape, network.shape, str(path))
    channels, height, width = network.shape
    fields: dict[str, Any] = nir_network.of_metadata(stored.metadata, str(path))
    fields.pop("dt", None)
    nodes = nir_network.described(layers, {part.name: ("synaptic", {}) for part in layers.neurons})
    graph = ModelConfig(input_shape=(height, width, channels), network=Nodes(tuple(nodes)), **fields).graph
    tensors: Tensors = {}
    for part in layers.layers:
        tensors |= {f"{part.name}.weight": part.weight, f"{part.name}.bias": part.bias}
    neurons = {part.name: part.node for part in layers.neurons if part.node}
    leaky = (program.target.like_ours if like_ours else None) or program.target.leaky
    assert leaky is not None
    library = _Arithmetic(program, leaky, neurons)
    steps = library.run(graph, library.parameters(graph, tensors), x, time_steps)
    by_layer = zip(*([one.values[node.name] for node in graph.neurons] for one in steps), strict=True)
    return [torch.stack(layer) for layer in by_layer]


def part(place: int, program: Program) -> Part:
    """The part for a program's file; `place`: position in the report."""
    target = program.target
    is_definition = target.leaky is None
    others: dict[str, str] = {}
    form, run_by = f"NIR ({program.title})", f"{program.title}'s arithmetic, in torch"
    what, key, have = f"the same for {program.title}", "arithmetic", program.title
    if is_definition:
        form, run_by, key = "NIR", program.title, program.name
        what = "the network in the Neuromorphic Intermediate Representation, for nir 1.0.8 and later"
        have = "neuromorphic hardware or its simulator"
        others = {DEFINITION: "NIR's definition, in torch"}

    def reason_against(config: ModelConfig, tensors: Tensors) -> str | None:
        return nir_graph.reason_against(config, tensors, target)

    def write(bundle: Bundle) -> None:
        nir_graph.write(bundle.folder / target.file, bundle.network.model, bundle.network.tensors, target)

    def check(bundle: Bundle, images: CheckImages) -> Iterator[CheckResult]:
        path, steps = bundle.folder / target.file, images.network.time_steps
        network, model = nir_graph.read(path, target), bundle.network.model
        if is_definition:
            delayed = nir_graph.has_delays(model.graph)

            def layers(x: Tensor, last: bool = False) -> Sequence[Tensor]:
                return run_defined(path, model, x, steps) if delayed else run(network, x, steps, last)

            comparison = spikes_equality(model, images.compared, layers)
            accuracy = images.accuracy(lambda x: layers(x, last=True)[-1].sum(0).numpy())
            nodes = {key: type(node).__name__ for key, node in network.nodes.items()}
            ran = DEFINITION if delayed else key
            proof = {"nodes": nodes, ran: comparison.figures(), "accuracy": accuracy}
            yield CheckResult(proof, problems((others | {key: run_by})[ran], comparison))
            return

        def compared(like_ours: bool) -> Comparison:
            return spikes_equality(
                bundle.network.model, images.compared, lambda x: simulate(path, program, x, steps, like_ours)
            )

        comparison = compared(False)
        exact = compared(True) if target.like_ours else comparison
        yield CheckResult({key: comparison.figures()}, problems(run_by, exact))

    def describe(manifest: Manifest) -> Iterable[Advice | Usage]:
        written = manifest[form.lower()]["written"]
        if written or is_definition:
            yield Advice(place, have, Code(target.file) if written else "none, see above")
        if written:
            semantics = manifest["semantics"]
            values = {"meaning": semantics["input"]["meaning"], "steps": semantics["time_steps"]}
            texts = [Paragraph(text.format(**values)) for text in target.usage]
            if DEFINITION in manifest["files"][target.file]:
                unread = "Its Delay nodes, in seconds, are read by `csnn_torch.convert`, but not by snnTorch."
                yield Usage(place, (texts[0], Paragraph(unread)))
                return
            mark, code = "nir" if is_definition else program.name, snippets.nir(program, semantics)
            yield Usage(place, (*texts, Listing(code, "An example", "python", mark)))

    return Part(
        what={target.file: what},
        write=write,
        check=check,
        same=nir_graph.file_differences,
        reason_against=reason_against,
        form=form,
        run_by={key: run_by} | others,
        describe=describe,
    )


PART = tuple(part(FIRST + number, program) for number, program in enumerate(PROGRAMS.values()))
