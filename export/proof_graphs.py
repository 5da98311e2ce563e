"""Whether the files of a bundle agree with one another and with csnn_jax, and how accurate each is."""

import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import torch

from csnn_jax.config import ModelConfig
from csnn_jax.runs.weights import Tensors
from export.parts.step_lif import DOMAIN
from export.proof.equality import Figures, FreeRunning, pieces, thresholds
from export.proof.network import Step
from export.proof.runners import OnnxRunner, ReferenceRunner, Window, counts, session, usable_cores, window

Counts = Callable[[torch.Tensor], np.ndarray]
"""From `network.inputs` to output spikes per image and class [batch, classes]."""


def lif_inlining(step_lif: onnx.ModelProto, step: onnx.ModelProto, config: ModelConfig, x: torch.Tensor) -> Figures:
    """Runs `step_lif.onnx` as it is and inlined, and counts the numbers that differ in any bit from `step.onnx`.

    onnx's reference evaluator calls the functions; ONNX Runtime inlines them on loading.

    Args:
        step_lif: the graph with `csnn::LIF` nodes.
        step: the plain graph.
        config: their stack.
        x: input of a few images, see `network.inputs`.

    Returns:
        Different spikes and membranes over the window in ONNX Runtime before its inlining (that is, of the file),
        after it (of the graph that it wrote out), of the graph that onnx inlined, and in the reference evaluator;
        nodes `csnn::LIF` of each file; and "ok".
    """
    by_runtime, by_onnx = inlined_by_runtime(step_lif), onnx.inliner.inline_local_functions(step_lif)
    plain = window(OnnxRunner(step), config, x)
    few, steps = x[..., :1, :, :, :], min(3, config.time_steps)
    called = window(ReferenceRunner(step_lif), config, few, steps)
    differ = {
        "file": different_numbers(plain, window(OnnxRunner(step_lif), config, x)),
        "inlined_by_onnxruntime": different_numbers(plain, window(OnnxRunner(by_runtime), config, x)),
        "inlined_by_onnx": different_numbers(plain, window(OnnxRunner(by_onnx), config, x)),
        "reference_evaluator": different_numbers(window(ReferenceRunner(step), config, few, steps), called),
    }
    nodes = {"file": lif_nodes(step_lif), "inlined_by_onnxruntime": lif_nodes(by_runtime)}
    ok = not any(differ.values()) and nodes == {"file": len(config.layers), "inlined_by_onnxruntime": 0}
    return {"different_numbers": differ, "lif_nodes": nodes, "ok": ok}


def inlined_by_runtime(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph that ONNX Runtime makes of a model by inlining its functions, without optimising further."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inlined.onnx"
        none = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session(model, graph_optimization_level=none, optimized_model_filepath=str(path))
        return onnx.load(path)


def lif_nodes(model: onnx.ModelProto) -> int:
    """Number of `csnn::LIF` nodes."""
    return sum(node.domain == DOMAIN and node.op_type == "LIF" for node in model.graph.node)


def different_numbers(a: Window, b: Window) -> int:
    """Spikes and membranes of two windows that are not equal."""
    pairs = [(a.spikes, b.spikes), *zip(a.membranes, b.membranes, strict=True)]
    return sum(int((mine != theirs).sum()) for mine, theirs in pairs)


def sequence_equals_loop(
    sequence: onnx.ModelProto, step: onnx.ModelProto, config: ModelConfig, inputs: Iterable[torch.Tensor]
) -> Figures:
    """Counts the spikes and counts of `sequence.onnx` that differ from looping `step.onnx` over the window."""
    runner, whole = OnnxRunner(step), SequenceRunner(sequence)
    spikes = different_spikes = different_counts = 0
    for _, x in pieces(inputs, 32):
        looped = window(runner, config, x).spikes
        found_counts, found = whole.run(x)
        spikes += looped.size
        different_spikes += int((looped != found).sum()) if looped.shape == found.shape else looped.size
        different_counts += int((looped.sum(0) != found_counts).sum())
    return {
        "spikes": spikes,
        "different_spikes": different_spikes,
        "different_counts": different_counts,
        "ok": different_spikes == 0 and different_counts == 0,
    }


class SequenceRunner:
    """A sequence graph in ONNX Runtime."""

    def __init__(self, model: onnx.ModelProto, threads: int = 0):
        self._session = session(model, threads)

    def run(self, x: torch.Tensor, time_steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(counts [batch, classes], spikes [time, batch, classes]) of an image or a sequence, see `network.inputs`.

        Args:
            x: the input.
            time_steps: length of the window where `x` is one image; None: the file's default.
        """
        feed = {self._session.get_inputs()[0].name: x.numpy()}
        if time_steps is not None:
            feed["time_steps"] = np.array(time_steps, np.int64)
        found_counts, spikes = self._session.run(None, feed)
        return found_counts, spikes


def jax_equality(network: Step, tensors: Tensors, step: onnx.ModelProto, inputs: Iterable[torch.Tensor]) -> Figures:
    """Compares csnn_jax (scan engine) with `step.onnx`, both free-running.

    Returns:
        See `proof.FreeRunning.figures`: every difference must begin at a membrane within rounding of its threshold.
    """
    import jax
    from flax import nnx

    from csnn_jax.engine import scan
    from csnn_jax.network.model import CSNN, load_tensors

    config = network.config
    model = CSNN(config)
    load_tensors(model, tensors)
    graph, parameters = nnx.split(model)
    trace = scan.jit(lambda parameters, x: scan.trace(nnx.merge(graph, parameters), x)[1])
    runner, free = OnnxRunner(step), FreeRunning(thresholds(network))
    for first, x in pieces(inputs, 32):
        found = jax.device_get(trace(parameters, x.movedim(-3, -1).numpy()))
        membranes = [np.moveaxis(layer, -1, 2) for layer in found.membranes]
        free.add(first, Window(found.spikes[-1], membranes), window(runner, config, x))
    return free.figures()


def accuracy(count: Counts, batches: Iterable[tuple[torch.Tensor, np.ndarray]]) -> float:
    """Share of images that a graph classifies right: the most output spikes, the lowest class on ties.

    Args:
        count: runs the graph, see `step_counts`.
        batches: (what the network is fed, see `network.inputs`; true classes).
    """
    right = [count(x).argmax(1) == labels for x, labels in batches]
    return float(np.concatenate(right).mean())


def step_counts(model: onnx.ModelProto, config: ModelConfig, threads: int = 0) -> Counts:
    """Runs a step graph over the window in ONNX Runtime."""
    runner = OnnxRunner(model, threads)
    if not runner.one_by_one:
        return lambda x: counts(runner, config, x)

    def by_image(x: torch.Tensor) -> np.ndarray:
        with ThreadPoolExecutor(threads or usable_cores()) as pool:
            return np.concatenate([*pool.map(lambda image: counts(runner, config, image), x.split(1, x.ndim - 4))])

    return by_image


def sequence_counts(model: onnx.ModelProto, threads: int = 0) -> Counts:
    """Runs a sequence graph in ONNX Runtime."""
    runner = SequenceRunner(model, threads)
    return lambda x: runner.run(x)[0]
