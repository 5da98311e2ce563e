"""Runs a network one step at a time in various programs, through one interface, and times calls of files."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx.reference import ReferenceEvaluator

from csnn_jax import machine
from csnn_jax.config import ModelConfig
from csnn_jax.window import Trace
from export.graphs import few_bits
from export.reference import Scores, Step, frames, state_shapes

Arrays = list[np.ndarray]
CALLS = 1000
"""Maximum number of calls that are timed."""


Runner = Callable[[Sequence[np.ndarray], np.ndarray], tuple[Arrays, np.ndarray]]
"""Runs one time step in torch's layouts and float32: (states after the last step, image or spikes [batch, C, H, W]) ->
(states after the step, output spikes or membranes [batch, classes]). States are as in `reference.state_shapes`."""


def torch_runner(network: Step) -> Runner:
    """Runs the reference network."""

    def run(states: Sequence[np.ndarray], x: np.ndarray) -> tuple[Arrays, np.ndarray]:
        output, *after = network(torch.from_numpy(x), *map(torch.from_numpy, states))
        return [u.numpy() for u in after], output.numpy()

    return run


def has_one_image(model: onnx.ModelProto) -> bool:
    """Whether a graph's batch is fixed at 1."""
    return model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def onnx_runner(model: onnx.ModelProto, dequantize_once: bool = True) -> Runner:
    """Runs a step graph in ONNX Runtime; image by image, on one thread, if its batch is fixed at 1."""
    single = has_one_image(model)
    runtime = session(model, int(single), dequantize_once)
    names = [value.name for value in runtime.get_inputs()]

    def run(states: Sequence[np.ndarray], x: np.ndarray) -> tuple[Arrays, np.ndarray]:
        output, *after = runtime.run(None, dict(zip(names, (x, *states), strict=True)))
        return after, output

    def one_by_one(states: Sequence[np.ndarray], x: np.ndarray) -> tuple[Arrays, np.ndarray]:
        each = [run([u[i : i + 1] for u in states], x[i : i + 1]) for i in range(len(x))]
        after = [np.concatenate(layer) for layer in zip(*(after for after, _ in each), strict=True)]
        return after, np.concatenate([output for _, output in each])

    return one_by_one if single else run


def reference_runner(model: onnx.ModelProto) -> Runner:
    """Runs a step graph in onnx's reference evaluator, which is slow but follows the specification closely."""
    evaluator = ReferenceEvaluator(model)

    def run(states: Sequence[np.ndarray], x: np.ndarray) -> tuple[Arrays, np.ndarray]:
        results: Any = evaluator.run(None, dict(zip(evaluator.input_names, (x, *states), strict=True)))
        return list(results[1:]), results[0]

    return run


def zeros(config: ModelConfig, batch: int) -> Arrays:
    """The states before the first step."""
    return [np.zeros((batch, *shape), np.float32) for shape in state_shapes(config).values()]


def window(runner: Runner, network: Step, x: torch.Tensor, time_steps: int | None = None) -> Trace:
    """Runs the window from zero states; arguments as for `reference.trace`, which computes spikes from the states.

    Returns:
        NumPy arrays. Output membranes are another state of the last neurons, `output`.
    """
    config = network.config
    states = zeros(config, x.shape[-4])
    outputs, recorded = [], []
    for frame in frames(x, time_steps or config.time_steps):
        states, now = runner(states, frame.numpy())
        outputs.append(now)
        recorded.append([torch.from_numpy(state) for state in states])
    trace, last = network.trace(recorded), config.graph.neurons[-1].name
    by_node = {node: {name: x.numpy() for name, x in state.items()} for node, state in trace.states.items()}
    spikes = {node: layer.numpy() > 0 for node, layer in trace.spikes.items()}
    if config.readout == "spikes":
        spikes[last] = np.stack(outputs)
    else:
        by_node[last]["output"] = np.stack(outputs)
    return Trace(by_node, spikes)


def scores(runner: Runner, config: ModelConfig, x: torch.Tensor) -> np.ndarray:
    """The scores [batch, classes] over the window; keeps no states."""
    states = zeros(config, x.shape[-4])
    total = np.zeros((x.shape[-4], config.num_classes), np.float32)
    for frame in frames(x, config.time_steps):
        states, now = runner(states, frame.numpy())
        total += now
    return total


def step_scores(model: onnx.ModelProto, config: ModelConfig) -> Scores:
    """Runs a step graph over the window in ONNX Runtime."""
    runner = onnx_runner(model)
    if not has_one_image(model):
        return lambda x: scores(runner, config, x)

    def by_image(x: torch.Tensor) -> np.ndarray:
        with ThreadPoolExecutor(machine.cpus()) as pool:
            return np.concatenate([*pool.map(lambda image: scores(runner, config, image), x.split(1, x.ndim - 4))])

    return by_image


def session(model: onnx.ModelProto, threads: int = 0, dequantize_once: bool = True) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, without the warning that the input `time_steps` has a default.

    `threads`: 0: one per core. `dequantize_once` converts low-bit weights to floats now, instead of at every call (ONNX
    Runtime's default).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or machine.cpus()  # ONNX Runtime's default counts cores it can't run on
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave idle cores to others
    options.add_session_config_entry("session.disable_quant_qdq", str(int(dequantize_once)))
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def latency(call: Callable[[], object], seconds: float) -> dict[str, Any]:
    """Median and 99th percentile of up to `CALLS` calls within `seconds`, after a tenth of that time as warm-up."""
    times: list[float] = []
    warm = time.perf_counter() + seconds / 10
    while time.perf_counter() < warm:
        call()
    end = time.perf_counter() + seconds
    while len(times) < CALLS and (time.perf_counter() < end or not times):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    median, p99 = np.percentile(times, (50, 99)) * 1e3
    return {"median_ms": round(float(median), 4), "p99_ms": round(float(p99), 4), "calls": len(times)}


def onnx_latency(path: Path, inputs: Sequence[np.ndarray], seconds: float) -> dict[str, Any]:
    """Latency of one call of an ONNX file in ONNX Runtime, with its first inputs set to `inputs`.

    For low-bit weights, this includes `dequantizing_ms`, the median if they are dequantized at every call.
    """
    model = onnx.load(path)

    def measured(dequantize_once: bool) -> dict[str, Any]:
        runtime = session(model, 1, dequantize_once)
        feed = dict(zip([value.name for value in runtime.get_inputs()], inputs, strict=False))
        return latency(lambda: runtime.run(None, feed), seconds)

    figures = measured(dequantize_once=True)
    if few_bits.is_packed(model):
        figures["dequantizing_ms"] = measured(dequantize_once=False)["median_ms"]
    return figures
