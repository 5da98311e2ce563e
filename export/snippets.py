"""The Python examples of report.md: complete programs that need ONNX Runtime and NumPy alone."""

from typing import Any


def snippets(semantics: dict[str, Any]) -> list[str]:
    """Programs that classify with step.onnx and with sequence.onnx, for what a manifest states as semantics."""
    channels, height, width = semantics["input"]["shape"]
    steps = semantics["time_steps"]
    if semantics["input"]["layout"] == "N, C, H, W":
        given = f"image: float32 [{channels}, {height}, {width}], pixel / 255"
        return [
            _step("image", given, f"({channels}, {height}, {width})", f"for _ in range({steps})", "image"),
            _sequence("image", given, f"({channels}, {height}, {width})", "image[None]"),
        ]
    given = f"frames: float32 [{steps}, {channels}, {height}, {width}], {semantics['input']['range'].split(': ')[-1]}"
    shape = f"({steps}, {channels}, {height}, {width})"
    return [
        _step("frames", given, shape, "for frame in frames", "frame"),
        _sequence("frames", given, shape, "frames[:, None]"),
    ]


def _step(argument: str, given: str, shape: str, loop: str, frame: str) -> str:
    return f"""\
import numpy as np
import onnxruntime as ort

session = ort.InferenceSession("step.onnx")
first, *states = session.get_inputs()


def classify({argument}):  # {given}
    membranes = [np.zeros((1, *state.shape[1:]), np.float32) for state in states]
    counts = 0
    {loop}:
        feed = {{state.name: value for state, value in zip(states, membranes)}}
        spikes, *membranes = session.run(None, {{first.name: {frame}[None], **feed}})
        counts = counts + spikes[0]
    return counts.argmax(), counts


print(classify(np.zeros({shape}, np.float32)))"""


def _sequence(argument: str, given: str, shape: str, value: str) -> str:
    return f"""\
import numpy as np
import onnxruntime as ort

session = ort.InferenceSession("sequence.onnx")
first = session.get_inputs()[0].name


def classify({argument}):  # {given}
    counts, spikes = session.run(None, {{first: {value}}})
    return counts[0].argmax(), counts[0]


print(classify(np.zeros({shape}, np.float32)))"""
