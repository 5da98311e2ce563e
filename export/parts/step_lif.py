"""`step_lif.onnx`: the step with each layer of neurons as one node `csnn::LIF`, an ONNX local function.

A tool that maps networks to neuromorphic hardware finds the neurons by the node; any runtime inlines the function and
runs plain operators.
"""

import onnx
from onnx import numpy_helper, parser

from csnn_jax.config import ModelConfig
from export.graphs.onnx_file import current_name, finish, membrane_names, metadata_of, spikes_name

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
    "S[t] = H(U[t] - threshold), H(x) = 1 where x > 0, else 0. Attribute reset: 0 (subtract) U[t] = beta U[t-1] + I[t] "
    "- R[t] threshold; 1 (zero) U[t] = beta (1 - R[t]) U[t-1] + I[t]; 2 (none) U[t] = beta U[t-1] + I[t]."
)


def with_lif_functions(step: onnx.ModelProto, config: ModelConfig) -> onnx.ModelProto:
    """Replaces every layer's neurons in a step graph by one node `csnn::LIF`; computes the very same numbers.

    Args:
        step: as `step_graph.step` makes it.
        config: its stack.
    """
    values = {tensor.name: numpy_helper.to_array(tensor).item() for tensor in step.graph.initializer if not tensor.dims}
    model = onnx.ModelProto()
    model.CopyFrom(step)
    model.graph.name = "csnn_step_lif"
    del model.graph.node[:], model.graph.value_info[:]
    for node in step.graph.node:
        layer = node.name.split(".")[0]
        if not layer.startswith("lif"):
            model.graph.node.append(node)
        elif not any(found.name == layer for found in model.graph.node):
            model.graph.node.append(_lif_node(config, layer, values))
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in step.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    function = parser.parse_function(_LIF.replace("OPSET", str(step.opset_import[0].version)))
    function.doc_string = _DOC
    model.functions.append(function)
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    return finish(model, metadata_of(step))


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
