"""`step_lif.onnx`: the step with each layer of neurons as one node `csnn::LIF`, an ONNX local function.

A tool that maps networks to neuromorphic hardware finds the neurons by the node; any runtime inlines the function and
runs plain operators.
"""

from collections.abc import Iterable
from dataclasses import replace

import onnx
import onnx.inliner
import onnxruntime
import torch
from onnx import numpy_helper, parser

from csnn_jax.config import ModelConfig
from csnn_jax.files import Scratch
from export import semantics
from export.graphs import onnx_file
from export.graphs.onnx_file import current_name, finish, membrane_names, metadata_of, spikes_name
from export.manifest import Manifest
from export.parts import step
from export.parts.part import Advice, Found, Part
from export.proof import Figures
from export.proof.runners import OnnxRunner, Recording, ReferenceRunner, session, window
from export.subject import ExportInputs, Subject

NAME = "step_lif.onnx"
FEW = 16
"""Images on which it is compared before and after inlining."""

DOMAIN = "csnn"
RESETS = {"subtract": 0, "zero": 1, "none": 2}
"""Values of the attribute `reset`; snnTorch numbers its reset mechanisms alike (`reset_mechanism_val`)."""

# One body for every reset: the factors are 0 or 1, so that they change no bit of the result.
_LIF = """
<domain: "csnn", opset_import: ["" : OPSET]>
LIF <beta, threshold, reset> (current, membrane) => (spikes, membrane_next) {
    decay = Constant <value_float: float = @beta> ()
    theta = Constant <value_float: float = @threshold> ()
    kind = Constant <value_int: int = @reset> ()
    subtract = Constant <value_int: int = 0> ()
    zero = Constant <value_int: int = 1> ()
    is_subtract = Equal (kind, subtract)
    subtracts = Cast <to: int = 1> (is_subtract)
    is_zero = Equal (kind, zero)
    zeroes = Cast <to: int = 1> (is_zero)
    above = Greater (membrane, theta)
    fired = Cast <to: int = 1> (above)
    emptied = Mul (fired, zeroes)
    lost = Mul (emptied, membrane)
    left = Sub (membrane, lost)
    decayed = Mul (decay, left)
    driven = Add (decayed, current)
    step_down = Mul (theta, subtracts)
    taken = Mul (fired, step_down)
    membrane_next = Sub (driven, taken)
    fires = Greater (membrane_next, theta)
    spikes = Cast <to: int = 1> (fires)
}
"""
_DOC = (
    "One time step of leaky integrate-and-fire neurons: (I[t], U[t-1]) -> (S[t], U[t]). R[t] = H(U[t-1] - threshold), "
    "S[t] = H(U[t] - threshold), H(x) = 1 where x > 0, else 0. Attribute reset: "
    + "; ".join(f"{RESETS[name]} ({name}) {semantics.terse(equation)}" for name, equation in semantics.MEMBRANE.items())
    + "."
)


def write(source: ExportInputs) -> None:
    subject = source.subject
    onnx_file.save(with_lif_functions(step.load(subject.folder), subject.config.model), subject.folder / NAME)


def check(subject: Subject, name: str) -> Found:
    """Equal to torch in ONNX Runtime; to step.onnx in every bit, inlined or not."""
    model = onnx_file.load(subject.folder / name)
    found = step.check_in_onnxruntime(subject, model)
    inlined = inlining(model, step.load(subject.folder), subject.config.model, subject.few(FEW))
    wrong = [] if inlined["ok"] else [f"differs from step.onnx: {inlined['different_numbers']}"]
    return replace(found, proof=found.proof | {"inlining": inlined}, problems=found.problems + wrong)


def with_lif_functions(plain: onnx.ModelProto, config: ModelConfig) -> onnx.ModelProto:
    """Replaces every layer's neurons in a step graph by one node `csnn::LIF`; computes the very same numbers.

    Args:
        plain: as `step_graph.step` makes it.
        config: its stack.
    """
    values = {
        tensor.name: numpy_helper.to_array(tensor).item() for tensor in plain.graph.initializer if not tensor.dims
    }
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    model.graph.name = "csnn_step_lif"
    del model.graph.node[:], model.graph.value_info[:]
    for node in plain.graph.node:
        layer = node.name.split(".")[0]
        if not layer.startswith("lif"):
            model.graph.node.append(node)
        elif not any(found.name == layer for found in model.graph.node):
            model.graph.node.append(_lif_node(config, layer, values))
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in plain.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    function = parser.parse_function(_LIF.replace("OPSET", str(plain.opset_import[0].version)))
    function.doc_string = _DOC
    model.functions.append(function)
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    return finish(model, metadata_of(plain))


def _lif_node(config: ModelConfig, layer: str, values: dict[str, float]) -> onnx.NodeProto:
    number = int(layer.removeprefix("lif"))
    membrane = membrane_names(config)[number - 1]
    return onnx.helper.make_node(
        "LIF",
        [current_name(config, number), membrane],
        [spikes_name(config, number), f"{membrane}_next"],
        name=layer,
        domain=DOMAIN,
        beta=values[f"{layer}.beta"],
        threshold=values[f"{layer}.threshold"],
        reset=RESETS[config.reset],
    )


def inlining(model: onnx.ModelProto, plain: onnx.ModelProto, config: ModelConfig, x: torch.Tensor) -> Figures:
    """Runs `step_lif.onnx` as it is and inlined, and counts the numbers that differ in any bit from `step.onnx`.

    onnx's reference evaluator calls the functions; ONNX Runtime inlines them on loading.

    Args:
        model: the graph with `csnn::LIF` nodes.
        plain: step.onnx.
        config: their stack.
        x: input of a few images, see `network.inputs`.

    Returns:
        Different spikes and membranes over the window in ONNX Runtime before its inlining (that is, of the file),
        after it (of the graph that it wrote out), of the graph that onnx inlined, and in the reference evaluator;
        nodes `csnn::LIF` of each file; and "ok".
    """
    by_runtime, by_onnx = inlined_by_runtime(model), onnx.inliner.inline_local_functions(model)
    expected = window(OnnxRunner(plain), config, x)
    few, steps = x[..., :1, :, :, :], min(3, config.time_steps)
    called = window(ReferenceRunner(model), config, few, steps)
    differ = {
        "file": different_numbers(expected, window(OnnxRunner(model), config, x)),
        "inlined_by_onnxruntime": different_numbers(expected, window(OnnxRunner(by_runtime), config, x)),
        "inlined_by_onnx": different_numbers(expected, window(OnnxRunner(by_onnx), config, x)),
        "reference_evaluator": different_numbers(window(ReferenceRunner(plain), config, few, steps), called),
    }
    nodes = {"file": lif_nodes(model), "inlined_by_onnxruntime": lif_nodes(by_runtime)}
    ok = not any(differ.values()) and nodes == {"file": len(config.layers), "inlined_by_onnxruntime": 0}
    return {"different_numbers": differ, "lif_nodes": nodes, "ok": ok}


def inlined_by_runtime(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph that ONNX Runtime makes of a model by inlining its functions, without optimising further."""
    with Scratch() as folder:
        path = folder / "inlined.onnx"
        none = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session(model, graph_optimization_level=none, optimized_model_filepath=str(path))
        return onnx.load(path)


def lif_nodes(model: onnx.ModelProto) -> int:
    """Number of `csnn::LIF` nodes."""
    return sum(node.domain == DOMAIN and node.op_type == "LIF" for node in model.graph.node)


def different_numbers(a: Recording, b: Recording) -> int:
    """Spikes and membranes of two windows that are not equal."""
    pairs = [(a.spikes, b.spikes), *zip(a.membranes, b.membranes, strict=True)]
    return sum(int((mine != theirs).sum()) for mine, theirs in pairs)


def _advice(manifest: Manifest) -> Iterable[Advice]:
    yield Advice(8, "a tool of your own that looks for neurons in a graph", f"`{NAME}`")


PART = Part(
    what={NAME: "the same with each layer of neurons as one node `csnn::LIF`, an ONNX function"},
    write=write,
    check=check,
    same=step.same,
    timing=step.TIMING,
    comparisons=step.comparisons,
    advice=_advice,
)
