"""The checks of a bundle's files against the trained network: `export` records their figures, `verify` repeats them.

A check looks at one file, or at one folder of files, and returns its figures and what is wrong with it.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import torch
from nir import NIRGraph

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.errors import UserError
from csnn_jax.runs.metrics import BATCH
from csnn_jax.runs.weights import Tensors
from csnn_jax.training.learner import Learner
from export import proof_graphs
from export.c import program as c_program
from export.graphs import onnx_facts
from export.parts import golden
from export.parts import nir as nir_file
from export.proof import equality as proof
from export.proof import network, runners
from export.proof.equality import Figures

FEW = 16
"""Images on which step_lif.onnx is compared before and after inlining."""
REFERENCE = 2
"""Images for onnx's reference evaluator, which takes up to 20 seconds for one of the default network."""


@dataclass(frozen=True)
class Subject:
    """A bundle and what its files are checked against.

    Attributes:
        folder: the bundle.
        config: the run's, see `for_data`.
        tensors: the trained parameters.
        split: test images and labels, for accuracy.
        images: how many of them, from the first on, spikes are compared on.
    """

    folder: Path
    config: Config
    tensors: Tensors
    split: Split
    images: int

    @cached_property
    def step(self) -> network.Step:
        """The reference."""
        return network.Step(self.config.model, self.tensors)

    def batches(self, count: int | None = None) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """(what the network is fed, see `network.inputs`; labels) of the first `count` images (None: all).

        In the batches in which csnn_jax evaluates, so that the rate encoding draws the same spikes.
        """
        total = len(self.split.labels)
        count = total if count is None else min(count, total)
        for number, rows in enumerate(data.eval_batches(total, min(BATCH, total))[0]):
            left = min(count - number * len(rows), len(rows))
            if left > 0:
                x = network.inputs(self.config.model, self.split.images[rows], (self.config.train.seed, 1, number))
                yield x.narrow(x.ndim - 4, 0, left), self.split.labels[rows[:left]]

    @property
    def compared(self) -> Iterator[torch.Tensor]:
        """The inputs that spikes are compared on, in batches."""
        return (x for x, _ in self.batches(self.images))

    def few(self, count: int) -> torch.Tensor:
        """The inputs of the first `count` images."""
        return next(self.batches(count))[0]

    @property
    def frames(self) -> bool:
        """Whether the data have a time axis of their own."""
        return self.split.images.ndim == 5

    @property
    def sequence(self) -> bool:
        """Whether the network is fed one frame per step, not one image for all."""
        return self.frames or self.config.model.encoding != "direct"

    @property
    def time_steps(self) -> int:
        """T."""
        return self.config.model.time_steps

    @cached_property
    def plain(self) -> onnx.ModelProto:
        """step.onnx, which other files are compared with."""
        return onnx_facts.load(self.folder / "step.onnx")

    def accuracy(self, count: proof_graphs.Counts) -> float:
        """Share of the test images that a graph classifies right."""
        return proof_graphs.accuracy(count, self.batches())


def for_data(config: Config, test: Split) -> Config:
    """The run's configuration, with the data's own T where the images have a time axis."""
    if test.images.ndim == 4:
        return config
    return replace(config, model=replace(config.model, time_steps=test.images.shape[1]))


@dataclass(frozen=True)
class Found:
    """What a check found.

    Attributes:
        proof: figures, for the manifest; JSON values.
        problems: what is wrong, one line each; none: the file is ok.
        graph: of an ONNX file, what it holds, see `onnx_facts.describe`.
    """

    proof: Figures = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    graph: Figures | None = None


def step(subject: Subject, name: str) -> Found:
    """A step graph in float: equal to torch in ONNX Runtime; step.onnx also in onnx's reference evaluator."""
    model = onnx_facts.load(subject.folder / name)
    runs: dict[str, tuple[runners.Runner, Iterable[torch.Tensor]]] = {
        "onnxruntime": (runners.OnnxRunner(model), subject.compared)
    }
    if name == "step.onnx":
        runs["reference_evaluator"] = (runners.ReferenceRunner(model), [subject.few(REFERENCE)])
    figures: Figures = {key: proof.equality(subject.step, runner, inputs) for key, (runner, inputs) in runs.items()}
    problems = [*onnx_facts.problems(model, subject.step)]
    problems += [problem for who, found in figures.items() for problem in _equality_problems(who, found)]
    figures["accuracy"] = subject.accuracy(proof_graphs.step_counts(model, subject.config.model))
    if name == "step_lif.onnx":
        inlining = proof_graphs.lif_inlining(model, subject.plain, subject.config.model, subject.few(FEW))
        figures["inlining"] = inlining
        problems += [] if inlining["ok"] else [f"differs from step.onnx: {inlining['different_numbers']}"]
    return Found(figures, problems, onnx_facts.describe(model))


def sequence(subject: Subject) -> Found:
    """sequence.onnx: equal to a loop over step.onnx, bit for bit."""
    model = onnx_facts.load(subject.folder / "sequence.onnx")
    loop = proof_graphs.sequence_equals_loop(model, subject.plain, subject.config.model, subject.compared)
    problems = [*onnx_facts.problems(model, subject.step)]
    if not loop["ok"]:
        different = f"{loop['different_spikes']:,} spikes and {loop['different_counts']:,} counts"
        problems.append(f"{different} differ from a loop over step.onnx")
    accuracy = subject.accuracy(proof_graphs.sequence_counts(model))
    return Found({"loop_over_step": loop, "accuracy": accuracy}, problems, onnx_facts.describe(model))


def int8(subject: Subject) -> Found:
    """step_int8.onnx: step.onnx but for its roundings, its int8 weights the trained ones, rounded; its accuracy."""
    model = onnx_facts.load(subject.folder / "step_int8.onnx")
    problems = [*onnx_facts.problems(model, subject.step), *onnx_facts.quantised_problems(model, subject.plain)]
    weights = {f"{layer.name}.weight_quantized" for layer in subject.config.model.layers}
    held = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and t.name in weights}
    problems += [f"holds no int8 {name}" for name in sorted(weights - held)]
    accuracy = subject.accuracy(proof_graphs.step_counts(model, subject.config.model))
    return Found({"accuracy": accuracy}, problems, onnx_facts.describe(model))


def csnn_jax(subject: Subject) -> Found:
    """weights.safetensors in csnn_jax: equal to step.onnx, but for membranes within rounding of their threshold."""
    found = proof_graphs.jax_equality(subject.step, subject.tensors, subject.plain, subject.compared)
    config = replace(subject.config, train=replace(subject.config.train, dtype="float32", engine="auto"))
    result = Learner(config, tensors=subject.tensors, frames=subject.frames).evaluate(subject.split)
    assert result is not None
    figures = {"csnn_jax": found, "accuracy": result.accuracy, "densities": result.densities}
    return Found(figures, _free_running_problems("csnn_jax", found))


def program(subject: Subject) -> Found:
    """c/: compiled, equal to torch, with the trained parameters; what it prints equals what step.onnx counts."""
    model = subject.config.model
    with tempfile.TemporaryDirectory() as scratch:
        expected, built = Path(scratch) / "expected", Path(scratch) / "built"
        c_program.write(expected, model, subject.tensors, subject.time_steps if subject.frames else None)
        other = [x for x in c_program.FILES if (subject.folder / "c" / x).read_bytes() != (expected / x).read_bytes()]
        if other:  # and nothing of it is built or run
            return Found({}, [f"{', '.join(other)}: not what this version writes for the trained parameters"])
        built.mkdir()
        try:
            binary = c_program.build(subject.folder / "c", built)
        except UserError as error:
            return Found({}, [f"not checked: {error}"])
        library = c_program.Library(built / "libcsnn.so", model)
        equality = proof.equality(subject.step, library, subject.compared)

        def printed(x: torch.Tensor) -> np.ndarray:
            return c_program.counts(binary, c_program.samples(model, x.numpy()))[1]

        counted = proof_graphs.step_counts(subject.plain, model)
        pairs = [(printed(x), counted(x)) for x in subject.compared]
        different, counts = sum(int((a != b).sum()) for a, b in pairs), sum(a.size for a, _ in pairs)
        accuracy = subject.accuracy(printed)
    problems = _equality_problems("the library", equality)
    if different and equality["free_running"]["ok"] and not equality["free_running"]["different_counts"]:
        problems.append(f"{different:,} of the counts that the program prints differ from step.onnx's")
    memory = {"constant_bytes": c_program.weight_bytes(model), "state_bytes": library.state_bytes}
    figures: Figures = {"library": equality, "program": {"counts": counts, "different_counts": different}}
    return Found(figures | {"memory": memory, "accuracy": accuracy}, problems)


def nir(subject: Subject, name: str) -> Found:
    """A NIR file: the trained parameters; read by `nir` and run in snnTorch's importer, every spike as in torch."""
    found, expected = nir_file.read(subject.folder / name), nir_file.graph(subject.config.model, subject.tensors)
    problems = list(_graph_problems(found, expected))
    if problems:
        return Found({}, problems)
    spikes = different = 0
    for _, x in proof.pieces(subject.compared, 32):
        theirs = nir_file.run(found, x, subject.time_steps)
        ours = network.trace(subject.step, x, subject.time_steps).spikes
        spikes += sum(layer.numel() for layer in ours)
        different += sum(int((a != b).sum()) for a, b in zip(ours, theirs, strict=True))
    if different:
        problems.append(f"{different:,} spikes differ from torch's when snnTorch runs it")

    def counts(x: torch.Tensor) -> np.ndarray:
        return nir_file.run(found, x, subject.time_steps, last=True)[-1].sum(0).numpy()

    nodes = {key: type(node).__name__ for key, node in found.nodes.items()}
    snntorch = {"spikes": spikes, "different_spikes": different}
    return Found({"nodes": nodes, "snntorch": snntorch, "accuracy": subject.accuracy(counts)}, problems)


def golden_tensors(subject: Subject) -> Found:
    """golden/: the test images, and what torch makes of them."""
    shown = golden.images(subject.folder)
    count = len(shown.labels)
    problems = golden.check(subject.folder, subject.step, shown.images, subject.time_steps)
    for kept, original in ((shown.images, subject.split.images), (shown.labels, subject.split.labels)):
        if not np.array_equal(kept[: len(original)], original[:count]):
            problems.append(f"{golden.IMAGES} does not hold the first images of the test set")
    counts = [int(count) for count in golden.first_counts(subject.folder)]
    first = {"label": int(shown.labels[0]), "class": int(np.argmax(counts)), "counts": counts}
    return Found({"images": count, "sets": golden.count(subject.folder), "first": first}, problems)


def _graph_problems(found: NIRGraph, expected: NIRGraph) -> Iterator[str]:
    """Where two NIR graphs differ."""
    if list(found.nodes) != list(expected.nodes) or set(found.edges) != set(expected.edges):
        yield "is another graph than the network's"
        return
    if found.metadata != expected.metadata:
        yield f"its metadata are {found.metadata}, expected {expected.metadata}"
    for name, node in expected.nodes.items():
        for key, value in vars(node).items():
            other = vars(found.nodes[name]).get(key)
            if isinstance(value, np.ndarray) and not np.array_equal(value, np.asarray(other)):
                yield f"{name}.{key} is not the trained network's"


def _equality_problems(who: str, found: Figures) -> list[str]:
    stepwise, problems = found["stepwise"], _free_running_problems(who, found["free_running"])
    if stepwise["beyond_limit"]:
        problems.append(
            f"in {who}, {stepwise['beyond_limit']:,} membranes differ from torch's by more than {proof.LIMIT:g} "
            f"(1 + |U|), the largest by {stepwise['max_difference']:.3g} (1 + |U|)"
        )
    if stepwise["unexplained_flips"]:
        problems.append(f"in {who}, {stepwise['unexplained_flips']:,} spikes differ from torch's away from a threshold")
    return problems


def _free_running_problems(who: str, found: Figures) -> list[str]:
    if found["ok"]:
        return []
    return [f"in {who}, the spikes of {found['images_that_differ']:,} images differ from torch's"]
