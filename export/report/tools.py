"""The table of tools and chips in report.md: which file of a bundle fits, how exactly, and how that is known.

What was tried was run by a script of benchmarks/targets on a bundle; its output is under results/targets. The other
statements rest on the documentation that `source` names.
"""

from typing import TYPE_CHECKING, Literal, NamedTuple

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors
from export import parts

if TYPE_CHECKING:
    from export.parts.part import Part

Fit = Literal["exact", "approximate", "not supported"]
NOT_TRIED = "not tried"


class Tool(NamedTuple):
    """One row of the table; all text.

    Attributes:
        name: the tool or the chip.
        files: files of the bundle that it takes, or would take.
        fit: exact: the same spikes; approximate: it runs, with other numbers; not supported: it does not run.
        reason: why, in a sentence.
        source: address of what the reason rests on; empty where that is the tool's own output alone.
        tried: path of that output in the repository, or "not tried".
    """

    name: str
    files: str
    fit: Fit
    reason: str
    source: str
    tried: str = NOT_TRIED


def tools(config: ModelConfig, tensors: Tensors) -> list[Tool]:
    """The table for one network; what reads nothing but a format that it can't have is not supported."""
    rows = list(_ROWS)
    for part in parts.every():
        if reason := part.reason_against(config, tensors):
            rows = [
                _without(part, reason, row) if any(name in row.files for name in part.what) else row for row in rows
            ]
    return rows


def _without(part: "Part", reason: str, row: Tool) -> Tool:
    """A row for a network that can't have the part. The output is not linked: it is of a network that has it."""
    return row._replace(files="-", fit="not supported", reason=f"reads {part.form} only, and {reason}", tried=NOT_TRIED)


def _result(tool: str) -> str:
    return f"results/targets/{tool}.json"


_NIR_SUPPORT = "https://github.com/neuromorphs/NIR/blob/04ae593fb1d3a0283666011a17a31f0b9c025b27/docs/source/support.md"
_LAVA = "https://github.com/lava-nc/lava/blob/f2a3ba918353845eba44fb1715b394b707796847/src/lava/proc/lif/models.py"
_XYLO = (
    "https://github.com/synsense/rockpool/blob/e84019abdb9544d3670033ab5cadea885f4e39c5/rockpool/devices/xylo/"
    "syns61201/xa2_devkit_utils.py"
)
_SPINNAKER2 = (
    "https://github.com/neuromorphs/NIR/blob/0ac0b0ed6334a57da2bdaa4710d671f6d900c5f0/docs/source/examples/"
    "spinnaker2/import.ipynb"
)
_SPECK = (
    "https://github.com/synsense/sinabs/blob/19f952226d064bd61ca16f706a3c2dff00fbb472/docs/speck/faqs/"
    "available_algorithmic_operation.md"
)
_FINN = "https://github.com/Xilinx/finn/blob/07a79f1695928f776e0a9887d2d763d8025d18e1/docs/finn/brevitas_export.rst"
_ONNX_MLIR = (
    "https://github.com/onnx/onnx-mlir/blob/0205281902a3f71e3c66f6da4bb48e0280fdae44/docs/SupportedONNXOps-cpu.md"
)

_ROWS = (
    Tool(
        "ONNX Runtime Mobile",
        "step.onnx, sequence.onnx (step_int8.onnx: approximate)",
        "exact",
        "plain operators; converted to ORT format and run in the desktop's runtime, not on a phone; a package can be "
        "reduced to the operators that manifest.json lists",
        "https://onnxruntime.ai/docs/build/custom.html",
        _result("ort_mobile"),
    ),
    Tool(
        "ONNX Runtime Web",
        "step.onnx, sequence.onnx (step_int8.onnx: approximate)",
        "exact",
        "the WebAssembly build runs every ONNX file of the bundle, the local functions of step_lif.onnx included; "
        "WebGPU was not tried",
        "https://onnxruntime.ai/docs/build/custom.html",
        _result("ort_web"),
    ),
    Tool(
        "TVM",
        "step.onnx, step_b1.onnx (step_int8.onnx: approximate)",
        "exact",
        "compiled for the CPU with LLVM, looped by the caller; its ONNX front end refuses Loop (sequence.onnx) and "
        "local functions (step_lif.onnx)",
        "",
        _result("tvm"),
    ),
    Tool(
        "onnx-mlir",
        "step_b1.onnx",
        "not supported",
        "its table has every operator of step_b1.onnx but limits Cast to float and double, and a spike is a Cast from "
        "bool; no package in the index to try whether it does so anyway",
        _ONNX_MLIR,
    ),
    Tool(
        "onnx2c, ONNX-to-C compilers",
        "step_b1.onnx (or c/, which needs no compiler of models)",
        "exact",
        "tried with emmtrix's emx-onnx-cgen: C99 without heap; onnx2c itself is in no package index, its operators "
        "are partly implemented",
        "https://github.com/kraiskil/onnx2c",
        _result("emx"),
    ),
    Tool(
        "ST Edge AI (STM32)",
        "c/; step_b1.onnx, step_int8.onnx",
        "exact",
        "c/ is C99 without heap or library and runs where its weights fit; the tool itself imports a part of ONNX up "
        "to opset 20, of which Greater and Cast were not confirmed",
        "https://stedgeai-dc.st.com/assets/embedded-docs/supported_ops_onnx.html",
    ),
    Tool(
        "Hailo",
        "step_b1.onnx",
        "approximate",
        "its compiler makes weights int8, and what it can't parse is to be cropped and run in ONNX Runtime: the "
        "convolutions on the chip, the neurons on the host; the compiler is in no package index",
        "https://community.hailo.ai/t/handling-unsupported-operations-with-onnxruntime/17956",
    ),
    Tool(
        "Akida",
        "-",
        "not supported",
        "quantizeml refuses step_b1.onnx (only single input models: membranes are inputs) and sequence.onnx (a loop)",
        "https://doc.brainchipinc.com/",
        _result("akida"),
    ),
    Tool(
        "hls4ml",
        "-",
        "not supported",
        "refuses Greater (step_b1.onnx) and QuantizeLinear (step_int8.onnx) after QONNX's clean-up",
        "https://fastmachinelearning.org/hls4ml/frontend/qonnx.html",
        _result("hls4ml"),
    ),
    Tool(
        "FINN",
        "-",
        "not supported",
        "wants a network quantised in training (Brevitas); its front end QONNX reads step_b1.onnx and runs it with "
        "the same spikes, but can't convert step_int8.onnx",
        _FINN,
        _result("qonnx"),
    ),
    Tool(
        "Speck (Sinabs)",
        "network_nir104.nir",
        "approximate",
        "the chip has integrate-and-fire neurons with a constant leak, no beta; Sinabs' simulator gives the same "
        "spikes, but its importer needs sum pooling and loses tau and the reset, which the script mends",
        _SPECK,
        _result("sinabs"),
    ),
    Tool(
        "Xylo (Rockpool)",
        "network.nir",
        "not supported",
        "Rockpool's importer has no convolution, and a Xylo has 1,000 hidden neurons",
        _XYLO,
        _result("rockpool"),
    ),
    Tool(
        "Loihi 2 (Lava)",
        "network.nir",
        "approximate",
        "the same spikes in Lava's floating-point simulation, from processes that the script builds; on the chip, "
        "weights and neurons are fixed-point (12-bit decay, 24-bit state in Lava's model of it)",
        _LAVA,
        _result("lava"),
    ),
    Tool(
        "SpiNNaker2",
        "network.nir",
        "approximate",
        "py-spinnaker2 reads NIR with Euler's method and a reset to zero, but scales weights to the chip's range, and "
        "takes sum pooling only; it is in no package index",
        _SPINNAKER2,
    ),
    Tool(
        "snn-mlir",
        "network.nir",
        "exact",
        "converts the whole network, with our betas and thresholds; what lowers its dialect, snn-opt, is in no package "
        "index, so nothing was run",
        "https://github.com/INTERA-GROUP/snn-mlir",
        _result("snn_mlir"),
    ),
    Tool(
        "SpikingJelly",
        "network.nir",
        "exact",
        "its importer runs the file as it is; its neurons spike at the threshold too, ours above it only",
        "",
        _result("spikingjelly"),
    ),
    Tool(
        "Norse",
        "network.nir",
        "exact",
        "after two exact changes of the graph that the script makes: sum pooling, and r = 1 with the weights times r",
        _NIR_SUPPORT,
        _result("norse"),
    ),
    Tool(
        "snnTorch with nir 1.0.4",
        "network_nir104.nir",
        "exact",
        "its importer runs the file as it is",
        _NIR_SUPPORT,
        _result("nir104"),
    ),
)
