"""Describes in words what the network computes: in the metadata of ONNX files, and in the manifest and report.

The wording is part of files that are compared byte by byte.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from csnn_jax.config import NEVER, ModelConfig
from csnn_jax.config.graph import Graph, WeightedNode
from csnn_jax.config.operations import Convolution
from export.reference import Step


def _over(scale: float) -> str:
    """A pixel divided by a scale."""
    return "pixel" if scale == 1 else f"pixel / {scale:g}"


def metadata(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts as strings, for the `metadata_props` of an ONNX file; what isn't text is JSON."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}


def of_bundle(step: Step, sequence: bool, names: Sequence[str]) -> dict[str, Any]:
    """The results' `semantics`, for readers who have only the bundle or an ONNX file.

    `sequence`: whether the input is one frame per step, instead of one image for all steps. `names`: of the classes.
    """
    config = step.config
    resets = [*dict.fromkeys(config.resets)]
    last = "; those of the last layer never spike" if config.output == "integrator" else ""
    return {
        "neuron": config.kind.description + last,
        "layers": [
            {
                "layer": config.graph.weights(neurons).name,
                "operation": _operation(config.graph, config.graph.weights(neurons)),
                "neurons": neurons.name,
                "shape": list(neurons.channels_first),
                "reset": neurons.operation.reset,
                **{name: _value(step, neurons.name, name) for name in config.kind.parameters},
            }
            for neurons in config.graph.neurons
        ],
        "equations": {
            "reset": "none" if resets == ["none"] else "R[t] = 1 where U[t-1] > threshold, else 0",
            "membrane": _equations(config),
            "spike": "S[t] = 1 where U[t] > threshold, else 0",
        },
        "reset": resets[0] if len(resets) == 1 else ", ".join(config.resets),
        "comparison": "strict >: a membrane equal to the threshold does not spike",
        "membranes": "before the reset caused by their own spike, which comes with the next step",
        "initial_membranes": 0.0,
        "states": _symbols(config),
        "pooling": _pooling(config),
        "input": _input(step, sequence),
        "time_layout": "time first: T, N, ...",
        "time_steps": config.time_steps,
        "output": config.readout,
        "readout": f"the class with the {_BEST[config.readout]} over the window",
        "ties": "the lowest class",
        "classes": config.num_classes,
        "class_names": list(names),
    }


_BEST = {"spikes": "most output spikes", "membrane": "largest sum of output membranes, added step by step,"}


def _operation(graph: Graph, node: WeightedNode) -> str:
    """A convolution or linear layer with its pools, in words."""
    operation, before, after = node.operation, graph.pool_before(node), graph.pool_after(node)
    bias, pooled = "" if node.bias else ", no bias", f"pool {before}, " if before else ""
    if not isinstance(operation, Convolution):
        return f"{pooled}linear{bias}"
    padded = f"padding {operation.padding}" if operation.padding else "no padding"
    pool = f"pool {after}" if after else "no pool"
    return f"{pooled}kernel {operation.kernel}, stride {operation.stride}, {padded}, {pool}{bias}"


def _value(step: Step, neurons: str, name: str) -> float | list[float] | None:
    """The value of a parameter, or a list for all channels; None for the threshold of neurons that never spike."""
    value = step.parameters[neurons][name]
    if value.ndim:
        return value.flatten().tolist()
    return None if name == "threshold" and value == NEVER else value.item()


def _symbols(config: ModelConfig) -> dict[str, str]:
    """The equations' symbol for each state after a step, by its name: {"mem": "U[t]"}."""
    lines = config.kind.equations[config.resets[0]]
    return {name: line.partition(" = ")[0] for name, line in zip(config.kind.states, lines, strict=True)}


def _equations(config: ModelConfig) -> str:
    """The equations of the states; if layers have different resets, equations that depend on them name theirs."""
    resets = dict.fromkeys(config.resets)
    owners: dict[str, list[str]] = {}
    for reset in resets:
        for line in config.kind.equations[reset]:
            owners.setdefault(line, []).append(reset)
    named = {line: "" if len(own) == len(resets) else f" (reset {', '.join(own)})" for line, own in owners.items()}
    return "; ".join(line + name for line, name in named.items())


def _pooling(config: ModelConfig) -> str:
    """The pools after the convolutions, before or after their neurons."""
    graph = config.graph
    pairs = ((graph.weights(neurons), neurons) for neurons in graph.neurons)
    pools = {
        node.name: str(graph.pool_after(node) or graph.pool_after(neurons) or "none")
        for node, neurons in pairs
        if node.is_convolution
    }
    if set(pools.values()) <= {"none"}:
        return "none"
    where = f"{'after' if config.pool_after else 'before'} the neurons"
    if len(set(pools.values())) == 1:
        return f"{next(iter(pools.values()))}, {where}"
    return ", ".join(f"{pool} after {name}" for name, pool in pools.items()) + f", {where}"


def _input(step: Step, sequence: bool) -> dict[str, Any]:
    config = step.config
    height, width, channels = config.input_shape
    bright, scale = _over(config.pixels.brightest), config.entering.scale
    meanings = {
        "direct": "the frames of the data, one per step" if sequence else "the same image at every step",
        "rate": f"each pixel spikes (1, else 0) at each step with probability {bright}",
        "latency": f"each pixel above 0 spikes once (1, else 0), at step round((1 - {bright}) * (T - 1))",
    }
    values = "spikes: float32, 0 or 1"
    if config.encoding == "direct":
        unit = f"1/{scale:g}" if scale > 1 else f"{1 / scale:g}"
        most = 2**config.entering.bits / scale
        values = f"{_over(scale)}: float32, whole multiples of {unit} from 0 to {most:g}"
    return {
        "layout": "T, N, C, H, W" if sequence else "N, C, H, W",
        "shape": [channels, height, width],
        "range": values,
        "encoding": config.encoding,
        "meaning": meanings[config.encoding],
    }
