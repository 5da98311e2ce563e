"""Describes in words what the network computes: in the metadata of ONNX files, and in the manifest and report.

The wording is part of files that are compared byte by byte.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from csnn_jax.config import NEVER, ModelConfig
from csnn_jax.config.graph import Edge, Graph, NeuronNode, WeightedNode
from csnn_jax.config.operations import Convolution, Linear, Pooling
from csnn_jax.neurons.neuron import Neuron, Reset
from export.reference import Step


def _over(scale: float) -> str:
    """A pixel divided by a scale."""
    return "pixel" if scale == 1 else f"pixel / {scale:g}"


def metadata(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts as strings, for the `metadata_props` of an ONNX file; what isn't text is JSON."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}


def of_bundle(step: Step, sequence: bool, names: Sequence[str], margin: float | None = None) -> dict[str, Any]:
    """The results' `semantics`, for readers who have only the bundle or an ONNX file.

    `sequence`: whether the input is one frame per step, instead of one image for all steps. `names`: of the classes.
    `margin`: the smallest difference of the two highest scores for an answer.
    """
    config, graph = step.config, step.config.graph
    resets = [*dict.fromkeys(config.resets)]
    described = " and ".join(kind.description for kind in config.kinds)
    last = "; those of the last layer never spike" if config.output == "integrator" else ""
    return {
        "neuron": described + last,
        "layers": [
            {
                "layer": graph.label(neurons),
                "operation": _operation(config, neurons),
                "neurons": neurons.name,
                **({"kind": neurons.operation.kind.name} if len(config.kinds) > 1 else {}),
                "shape": list(neurons.channels_first),
                "reset": neurons.operation.reset,
                **{name: _value(step, neurons.name, name) for name in neurons.operation.kind.parameters},
            }
            for neurons in graph.neurons
        ],
        "equations": {
            **({} if graph.is_chain else {"currents": _currents(graph)}),
            "reset": "none" if resets == ["none"] else "R[t] = 1 where U[t-1] > threshold, else 0",
            "membrane": _equations(graph),
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
        "margin": margin,
        "classes": config.num_classes,
        "class_names": list(names),
    }


_BEST = {"spikes": "most output spikes", "membrane": "largest sum of output membranes, added step by step,"}


def _operation(config: ModelConfig, neurons: NeuronNode) -> str:
    """What makes the current of neurons, in words."""
    graph = config.graph
    if not _is_plain(config):
        return " + ".join(_inflow(graph, edge) for edge in neurons.inputs)
    node = graph.weights(neurons)
    before, after = graph.pool_before(node), graph.pool_after(node)
    pooled = f"pool {before}, " if before else ""
    pool = f", pool {after}" if after else ", no pool"
    return f"{pooled}{_weights(node)}{pool if node.is_convolution else ''}{'' if node.bias else ', no bias'}"


def _is_plain(config: ModelConfig) -> bool:
    """Whether it's a chain with at most one pool for each layer, as flags describe it."""
    return config.network is None and config.graph.is_chain


def _weights(node: WeightedNode) -> str:
    """An operation with weights, in words."""
    operation = node.operation
    if not isinstance(operation, Convolution):
        return "linear" if isinstance(operation, Linear) else "one weight for each feature"
    padded = f"padding {operation.padding}" if operation.padding else "no padding"
    return f"kernel {operation.kernel}, stride {operation.stride}, {padded}"


def _inflow(graph: Graph, edge: Edge) -> str:
    """An input of a node and what it reads, down to the image or spikes: `lif1[t-1] -> rec1 (linear, no bias)`."""
    node = graph[edge.source]
    name = node.name + (f"[t-{edge.delay}]" if edge.delay else "")
    if node.operation is None or isinstance(node, NeuronNode):
        return name
    words = str(node.operation) if isinstance(node.operation, Pooling) else ""
    if isinstance(node, WeightedNode):
        words = _weights(node) + ("" if node.bias else ", no bias")
    entering = " + ".join(_inflow(graph, edge) for edge in node.inputs)
    return f"{f'({entering})' if len(node.inputs) > 1 else entering} -> {name}{f' ({words})' if words else ''}"


def _currents(graph: Graph) -> str:
    """How neurons add their inputs, in words."""
    apart = [node.name for node in graph.neurons if node.operation.separate and len(node.inputs) > 1]
    several = any(len(node.inputs) > 1 for node in graph if not isinstance(node, NeuronNode))
    lines = ["I[t] = the sum of a layer's inputs, exact in any order" + ", as sums in parentheses are" * several]
    if apart:
        lines.append(f"in {', '.join(apart)}, + I[t] adds the inputs one by one, in order, and rounds each sum")
    if any(graph.is_previous(edge) for node in graph.recurrent for edge in node.inputs):
        lines += ["NAME[t-1] = the spikes S[t-1] of layer NAME", "S[-1] = 1 where 0 > threshold, else 0"]
    if graph.delays:
        others = "other " if len(lines) > 1 + bool(apart) else ""
        lines.append(f"{others}NAME[t-d] = the output of NAME d steps before, 0 before the first (NAME@d in step.onnx)")
    return "; ".join(lines)


def _value(step: Step, neurons: str, name: str) -> float | list[float] | None:
    """The value of a parameter, or a list for all channels; None for the threshold of neurons that never spike."""
    value = step.parameters[neurons][name]
    if value.ndim:
        return value.flatten().tolist()
    return None if name == "threshold" and value == NEVER else value.item()


def _symbols(config: ModelConfig) -> dict[str, str]:
    """The equations' symbol for each state after a step, by its name: {"mem": "U[t]"}."""
    return {
        name: line.partition(" = ")[0]
        for kind in config.kinds
        for name, line in zip(kind.states, kind.equations[kind.resets[0]], strict=True)
    }


def _equations(graph: Graph) -> str:
    """The equations of the states; those that not all layers have name their neurons or resets."""
    resets: dict[Neuron, dict[Reset, None]] = {}
    for node in graph.neurons:
        resets.setdefault(node.operation.kind, {})[node.operation.reset] = None
    owners: dict[str, list[str]] = {}
    for kind, used in resets.items():
        for line in dict.fromkeys(line for reset in used for line in kind.equations[reset]):
            those = [reset for reset in used if line in kind.equations[reset]]
            named = [kind.name] if len(resets) > 1 else []
            named += [f"reset {', '.join(those)}"] if len(those) < len(used) else []
            owners.setdefault(line, []).append(", ".join(named))
    return "; ".join(f"{line} ({' or '.join(names)})" if any(names) else line for line, names in owners.items())


def _pooling(config: ModelConfig) -> str:
    """The pools after the convolutions, before or after their neurons, or by name."""
    graph = config.graph
    if not _is_plain(config):
        named = [f"{node.name} {node.operation}" for node in graph if isinstance(node.operation, Pooling)]
        return ", ".join(named) or "none"
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
