"""The tools that run a bundle's files, for report.md; docs/deploy.md also lists tools that reject them.

Each was run on a bundle by a script in benchmarks/targets; its output is in results/targets.
"""

from collections.abc import Container
from typing import NamedTuple

from csnn_jax.document.blocks import Paragraph, Section, Table, coded
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_torch.programs import PROGRAMS
from export.bundle import Manifest


class Tool(NamedTuple):
    """One row of the table.

    Attributes:
        name: the tool or the chip.
        files: the files that it accepts.
        fit: exact: the same spikes; approximate: it runs, with different numbers.
        note: how it was run, or what is approximate.
        tried: path of its output in csnn-jax's repository.
    """

    name: str
    files: str
    fit: str
    note: str
    tried: str


_STEPS, _ORT = "step.onnx, step_b1.onnx", "step.onnx, step_b1.onnx, sequence.onnx"
_ROWS = (
    ("ONNX Runtime Mobile", _ORT, "exact", "in the desktop's runtime, not on a phone", "ort_mobile"),
    ("ONNX Runtime Web", _ORT, "exact", "the WebAssembly build; WebGPU was not tried", "ort_web"),
    ("TVM", _STEPS, "exact", "compiled for the CPU; refuses Loop (sequence.onnx)", "tvm"),
    ("emx-onnx-cgen (ONNX to C)", _STEPS, "exact", "C99 without heap; c/ needs no model compiler", "emx"),
    *((one.title, one.target.file, "exact", one.target.note, one.name) for one in PROGRAMS.values()),
    ("Speck", "network_sinabs.nir", "approximate", "through Sinabs; its neurons leak a constant amount", "sinabs"),
)


_WITHOUT_INT4 = ("ort_mobile", "tvm", "emx")


def running(files: Container[str], bits: int | None = None) -> list[Tool]:
    """The tools that run one of these files; `bits`: bits of integers in ONNX files, 8 or 4; None: floats."""
    rows = [row for row in _ROWS if not (bits == 4 and row[-1] in _WITHOUT_INT4)]
    few = f"_{bits}bits" if bits else ""
    tools = [Tool(*row[:-1], f"results/targets/{row[-1]}{few * ('onnx' in row[1])}.json") for row in rows]
    return [tool for tool in tools if tool.files.partition(",")[0] in files]


def section(manifest: Manifest) -> Section:
    """The report's section on tools."""
    rows, meaning = [tuple(tool.values()) for tool in manifest["targets"]], manifest["semantics"]
    chain = "currents" not in meaning["equations"]
    usual = meaning["output"] == "spikes" and [*meaning["states"]] == [MEMBRANE] and chain
    tried = "" if usual else " They were tried on chains of leaky neurons with spike readout."
    lead = coded(
        'Exact: the same spikes. Approximate: it runs, with different numbers. "Tried" is the output of a run of the '
        f"tool, in csnn-jax's repository, where {{}} also lists tools that reject the files.{tried}",
        "docs/deploy.md",
    )
    table = Table("Tools and chips", ("target", "files", "fit", "how", "tried"), rows, stacks=True)
    return Section("Where they run", (Paragraph(lead), table))
