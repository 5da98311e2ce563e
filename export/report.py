"""report.md: a bundle explained to somebody who deploys it and has not read our code. Rendered from the manifest alone."""

from collections.abc import Iterable, Sequence
from typing import Any

from export.manifest import Manifest

NAME = "report.md"
"""Not in the manifest that it is rendered from: its hash is added afterwards."""


def render(manifest: Manifest) -> str:
    """The whole report as Markdown."""
    parts = [
        _title(manifest),
        _files(manifest),
        _call(manifest),
        _network(manifest),
        _proof(manifest),
        _numbers(manifest),
        _targets(manifest),
        _verify(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; numbers are shown with thousands separated, None as a dash."""
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def size(count: int) -> str:
    """A number of bytes for a reader."""
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def percent(share: float | None) -> str:
    """A share of 0 to 1 for a reader."""
    return "-" if share is None else f"{share:.2%}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def snippets(manifest: Manifest) -> list[str]:
    """The Python examples of the report: one time step at a time, and the whole window in one call."""
    meaning = manifest["semantics"]["input"]
    steps = manifest["semantics"]["time_steps"]
    channels, height, width = meaning["shape"]
    if meaning["layout"] == "N, C, H, W":
        argument, comment = "image", f"float32 [{channels}, {height}, {width}]: pixel / 255"
        blank, frame = f"np.zeros(({channels}, {height}, {width}), np.float32)", "image"
        loop, whole = f"for _ in range({steps}):", "image[None]"
    else:
        argument, comment = "frames", f"float32 [{steps}, {channels}, {height}, {width}]: {meaning['range']}"
        blank, frame = f"np.zeros(({steps}, {channels}, {height}, {width}), np.float32)", "frame"
        loop, whole = "for frame in frames:", "frames[:, None]"
    step = f"""\
import numpy as np
import onnxruntime as ort

session = ort.InferenceSession("step.onnx")
image_name, *states = session.get_inputs()


def classify({argument}):  # {comment}
    membranes = [np.zeros((1, *state.shape[1:]), np.float32) for state in states]
    counts = 0
    {loop}
        inputs = zip(states, membranes, strict=True)
        feed = {{image_name.name: {frame}[None], **{{state.name: value for state, value in inputs}}}}
        spikes, *membranes = session.run(None, feed)
        counts = counts + spikes[0]
    return int(counts.argmax()), counts  # the lowest class on ties


print(classify({blank}))"""
    sequence = f"""\
import numpy as np
import onnxruntime as ort

session = ort.InferenceSession("sequence.onnx")


def classify({argument}):  # {comment}
    counts, spikes = session.run(None, {{session.get_inputs()[0].name: {whole}}})
    return int(counts[0].argmax()), counts[0]  # spikes is [time, batch, classes]


print(classify({blank}))"""
    return [step, sequence]


def _title(m): return "# bundle"
def _files(m): return ""
def _call(m): return ""
def _network(m): return ""
def _proof(m): return ""
def _numbers(m): return ""
def _targets(m): return ""
def _verify(m): return ""
