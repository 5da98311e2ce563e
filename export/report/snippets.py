"""The Python examples in report.md: complete programs that need only NumPy and the runtime for the file."""

import math
from textwrap import indent
from typing import Any

from csnn_torch.programs.program import Program

_NAMES = {"spikes": ("spikes", "counts"), "membrane": ("membrane", "scores")}
"""Names of a step's output and of its sum over the window, by the output of step.onnx."""


def step(semantics: dict[str, Any]) -> str:
    """A program that classifies with step.onnx, from a manifest's semantics.

    It ends by classifying the first golden image, whose values are the last bytes of its tensor file.
    """
    output, total = _NAMES[semantics["output"]]
    body = f"""\
states = [np.zeros((1, *value.shape[1:]), np.float32) for value in inputs[1:]]
{total} = 0
for {{loop}}:
    feed = {{{{value.name: x for value, x in zip(inputs, [{{frame}}[None], *states])}}}}
    {output}, *states = session.run(None, feed)
    {total} = {total} + {output}[0]
{_answer(semantics, f"{total}.argmax()", total)}"""
    setup = f"{_session('step.onnx')}\ninputs = session.get_inputs()"
    return _program(semantics, ("import onnxruntime as ort",), setup, body)


def sequence(semantics: dict[str, Any]) -> str:
    """The example with sequence.onnx."""
    total, image = _NAMES[semantics["output"]][1], _takes_image(semantics)
    answer = _answer(semantics, f"{total}[0].argmax()", f"{total}[0]")
    body = f"""\
{total}, _ = session.run(None, {{{{session.get_inputs()[0].name: {"image[None]" if image else "frames[:, None]"}}}}})
{answer}"""
    return _program(semantics, ("import onnxruntime as ort",), _session("sequence.onnx", quiet=image), body)


def nir(program: Program, semantics: dict[str, Any]) -> str:
    """The example with a program's NIR file."""
    target = program.target
    body = f"{target.counts}\n{_answer(semantics, 'counts.argmax().item()', 'counts.numpy()')}"
    return _program(semantics, ("import torch", *target.imports), target.setup, body, "@torch.no_grad()\n")


def _answer(semantics: dict[str, Any], best: str, scores: str) -> str:
    """The lines that return the class, None if it's unknown, and the scores."""
    if (margin := semantics["margin"]) is None:
        return f"return {best}, {scores}"
    return f"""\
second, first = np.sort({scores})[-2:]
return {best} if first - second >= {margin} else None, {scores}  # None: unknown"""


def _program(semantics: dict[str, Any], imports: tuple[str, ...], setup: str, body: str, decorator: str = "") -> str:
    """A program, see `Target.counts` for the words in `body` that are replaced."""
    shape, values = semantics["input"]["shape"], semantics["input"]["range"].split(": ")
    steps = semantics["time_steps"]
    if _takes_image(semantics):
        name, frame, loop, described = "image", "image", f"_ in range({steps})", values[0]
        frames = f"torch.tensor(image).expand({steps}, -1, -1, -1)"
    else:
        name, frame, loop, described = "frames", "frame", "frame in frames", values[-1]
        shape, frames = [steps, *shape], "torch.tensor(frames)"
    lines = "\n".join(sorted(("import numpy as np", *imports), key=lambda line: (line.startswith("from"), line)))
    path = "golden/sequence/test_data_set_0/input_0.pb"
    return f"""\
{lines}

{setup}


{decorator}def classify({name}):  # {name}: float32 {shape}, {described}
{indent(body.format(loop=loop, frame=frame, frames=frames), "    ")}


{name} = np.fromfile("{path}", np.uint8)[-{4 * math.prod(shape)}:].view(np.float32)
print(*classify({name}.reshape({", ".join(map(str, shape))})))"""


def _takes_image(semantics: dict[str, Any]) -> bool:
    """Whether the network gets the same image at every step."""
    return semantics["input"]["layout"] == "N, C, H, W"


def _session(name: str, quiet: bool = False) -> str:
    """A session; `quiet`: without the warning about `time_steps`, an optional input."""
    silent = "options.log_severity_level = 3  # no warning that the input time_steps has a default\n" if quiet else ""
    return f"""\
options = ort.SessionOptions()
options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become floats once, not at each call
{silent}session = ort.InferenceSession("{name}", options)"""
