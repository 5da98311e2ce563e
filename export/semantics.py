"""What the network computes, in words: for the metadata of ONNX files, and for the manifest and report.

Both tell the same facts to different readers, and their wording stands in files that are compared to the byte.
"""

import json
from typing import Any

from csnn_jax.config import ModelConfig, Reset
from export.reference import Step, membrane_shapes

MEMBRANE: dict[Reset, str] = {
    "subtract": "U[t] = beta * U[t-1] + I[t] - R[t] * threshold",
    "zero": "U[t] = beta * (1 - R[t]) * U[t-1] + I[t]",
    "none": "U[t] = beta * U[t-1] + I[t]",
}
FIRES, FIRED = "U[t] > threshold", "U[t-1] > threshold"
"""Where S[t] is 1, and where R[t] is."""
HELD = "the same image at every step"


def _over(scale: float) -> str:
    """A pixel divided by a scale."""
    return "pixel" if scale == 1 else f"pixel / {scale:g}"


def _chance(config: ModelConfig) -> str:
    return f"at each step with probability {_over(config.brightest)}"


def _moment(config: ModelConfig) -> str:
    return f"round((1 - {_over(config.brightest)}) * (T - 1))"


def _multiples(config: ModelConfig) -> str:
    """Of what the direct input consists, and up to where no sum of it rounds."""
    scale = config.input_scale
    unit = f"1/{scale:g}" if scale > 1 else f"{1 / scale:g}"
    return f"whole multiples of {unit} from 0 to {2**config.entering_bits / scale:g}"


def terse(equation: str) -> str:
    """An equation as ONNX files give it, without signs of multiplication."""
    return equation.replace(" * ", " ")


def _heaviside(condition: str) -> str:
    return f"H({condition.replace('>', '-')})"


def of_graph(step: Step) -> dict[str, str]:
    """What a reader of an ONNX file must know and can't see in its graph, as texts for `metadata_props`.

    `beta` and `threshold` are JSON lists of one float32 number per layer.
    """
    config = step.config
    reset = "" if config.reset == "none" else f", R[t] = {_heaviside(FIRED)}"
    pixels = f"{_over(config.input_scale)}: {_multiples(config)}, with which no sum rounds"
    image = pixels if config.encoding == "direct" else "spikes of the step, 0 or 1"
    encodings = {
        "direct": f"{HELD}, or its own frame where the data have a time axis",
        "rate": f"a pixel spikes {_chance(config)}",
        "latency": f"one spike per pixel at step {terse(_moment(config))}, none for a pixel of 0",
    }
    return {
        "neuron": "leaky integrate-and-fire (snnTorch Leaky with its delayed reset)",
        "equation": f"{terse(MEMBRANE[config.reset])}{reset}; S[t] = {_heaviside(FIRES)}; H(x) = 1 where x > 0, else 0",
        "beta": json.dumps([neurons.beta.item() for neurons in step.neurons]),
        "threshold": json.dumps([neurons.threshold.item() for neurons in step.neurons]),
        "spike_condition": "U > threshold (strict)",
        "reset": config.reset,
        "membranes": "U[t], before the reset that the spike of step t causes",
        "initial_membranes": "0",
        "image": f"float32 [N, channels, height, width], {image}",
        "encoding": f"{config.encoding}: {encodings[config.encoding]}",
        "time_steps": str(config.time_steps),
        "time_layout": "time first: [T, N, ...]",
        "readout": "class = argmax of the spike counts of the outputs over the window; the lowest index on ties",
    }


def of_bundle(step: Step, time_steps: int, sequence: bool) -> dict[str, Any]:
    """For somebody who has only the bundle: the manifest's `semantics`.

    Args:
        step: the reference network.
        time_steps: T, length of the window.
        sequence: the input is one frame per step, not one image for all.
    """
    config = step.config
    return {
        "layers": [
            {
                "layer": layer.name,
                "operation": layer.operation,
                "neurons": f"lif{number}",
                "shape": list(shape),
                "beta": neurons.beta.item(),
                "threshold": neurons.threshold.item(),
            }
            for number, (layer, shape, neurons) in enumerate(
                zip(config.layers, membrane_shapes(config), step.neurons, strict=True), 1
            )
        ],
        "equations": {
            "reset": "none" if config.reset == "none" else f"R[t] = 1 where {FIRED}, else 0",
            "membrane": MEMBRANE[config.reset],
            "spike": f"S[t] = 1 where {FIRES}, else 0",
        },
        "reset": config.reset,
        "comparison": "strict >: a membrane equal to the threshold does not spike",
        "membranes": "before the reset that their own spike causes; that reset comes with the next step",
        "initial_membranes": 0.0,
        "pooling": _pooling(config),
        "input": _input(step, sequence),
        "time_layout": "time first: T, N, ...",
        "time_steps": time_steps,
        "readout": "the class with the most output spikes over the window",
        "ties": "the lowest class",
        "classes": config.num_classes,
    }


def _pooling(config: ModelConfig) -> str:
    """What follows the convolutions, before the neurons."""
    pools = {layer.name: str(layer.pool or "none") for layer in config.layers if layer.kind == "conv"}
    if not any(layer.pool for layer in config.layers):
        return "none"
    if len(set(pools.values())) == 1:
        return f"{next(iter(pools.values()))}, before the neurons"
    return ", ".join(f"{pool} after {name}" for name, pool in pools.items()) + ", before the neurons"


def _input(step: Step, sequence: bool) -> dict[str, Any]:
    config = step.config
    height, width, channels = config.input_shape
    meanings = {
        "direct": "the frames of the data, one per step" if sequence else HELD,
        "rate": f"each pixel spikes (1, else 0) {_chance(config)}",
        "latency": f"each pixel above 0 spikes once (1, else 0), at step {_moment(config)}",
    }
    return {
        "layout": "T, N, C, H, W" if sequence else "N, C, H, W",
        "shape": [channels, height, width],
        "range": _range(config),
        "encoding": config.encoding,
        "meaning": meanings[config.encoding],
    }


def _range(config: ModelConfig) -> str:
    if config.encoding != "direct":
        return "spikes: float32, 0 or 1"
    return f"{_over(config.input_scale)}: float32, {_multiples(config)}"
