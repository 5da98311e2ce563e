"""The reference network and the ONNX graphs made from it."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import snntorch
import torch
from export_networks import OTHER, STACKS, case, changed, firing, with_reset
from onnx import numpy_helper

from csnn_torch import model as companion
from export.graphs.onnx_file import metadata_of
from export.parts import step as step_graph
from export.parts.step_lif import RESETS
from export.proof import equality as proof
from export.proof import network
from export.proof.runners import OnnxRunner, TorchRunner, window
from export.proof_graphs import SequenceRunner, sequence_equals_loop

PLAIN = {"Conv", "MaxPool", "AveragePool", "Flatten", "Gemm", "Greater", "Cast", "Mul", "Add", "Sub"}
FILES = ["step.onnx", "step_b1.onnx", "step_lif.onnx", "sequence.onnx", "step_int8.onnx"]

stacks = pytest.mark.parametrize("name", STACKS)


def snntorch_trace(config, tensors, x):
    """Spikes and membranes of every layer of the companion network, taken from snnTorch's own neurons."""
    net = companion.sequential(config)
    companion.load_tensors(net, tensors)
    neurons = [m for m in net if isinstance(m, snntorch.Leaky)]
    spikes = [[] for _ in neurons]
    membranes = [[] for _ in neurons]

    def keep(number):
        def hook(module, inputs, output):
            spikes[number].append(output[0] if isinstance(output, tuple) else output)
            membranes[number].append(module.mem)

        return hook

    for number, neuron in enumerate(neurons):
        neuron.register_forward_hook(keep(number))
    with torch.no_grad():
        companion.run(net, x, config.time_steps)
    return [torch.stack(s) for s in spikes], [torch.stack(m) for m in membranes]


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("pool", ["max", "avg"])
def test_the_step_has_the_bits_of_snntorch(reset, pool, learnt):
    made = firing(replace(OTHER, reset=reset, pool=pool, learn_beta=learnt, learn_threshold=learnt))
    found = network.trace(made.step, made.x, made.config.time_steps)
    spikes, membranes = snntorch_trace(made.config, made.tensors, made.x)
    for mine, theirs in zip(found.spikes + found.membranes, spikes + membranes, strict=True):
        assert torch.equal(mine, theirs)


def test_a_learnt_beta_is_clipped():
    made = case("other")
    tensors = made.tensors | {"lif1.beta": np.float32(1.5), "lif2.beta": np.float32(-0.5)}
    betas = [neurons.beta.item() for neurons in network.Step(made.config, tensors).neurons]
    assert betas == [1.0, 0.0, tensors["lif3.beta"], tensors["lif4.beta"]]


@stacks
def test_the_step_graph_is_plain_and_readable(name):
    made = case(name)
    model = made.models["step.onnx"]
    assert {node.op_type for node in model.graph.node} <= PLAIN
    assert {node.domain for node in model.graph.node} == {""} and not model.functions
    layers = range(1, len(made.config.layers) + 1)
    assert [value.name for value in model.graph.input] == ["image", *(f"mem{i}" for i in layers)]
    assert [value.name for value in model.graph.output] == ["spikes", *(f"mem{i}_next" for i in layers)]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        batch, *rest = value.type.tensor_type.shape.dim
        assert batch.dim_param == "N" and all(dim.dim_value > 0 for dim in rest)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for key, value in made.step.state_dict().items():
        if key in held:
            np.testing.assert_array_equal(held.pop(key), value.numpy())
        else:
            assert made.config.reset == "none" and key.startswith("lif")
    assert not held
    text = model.SerializeToString()
    assert b".py" not in text and b"site-packages" not in text and b"aten" not in text


@pytest.mark.parametrize(("opset", "ir_version"), [(18, 8), (19, 9), (20, 9)])
def test_the_opset_is_the_one_asked_for(opset, ir_version):
    made = case("flat")
    model = step_graph.step(made.config, made.tensors, opset)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == ir_version
    assert proof.equality(made.step, OnnxRunner(model), [made.x])["ok"]


@stacks
@pytest.mark.parametrize("file", FILES)
def test_every_file_passes_the_full_check_and_says_what_it_means(name, file, tmp_path):
    made = case(name)
    path = tmp_path / file
    path.write_bytes(made.models[file].SerializeToString())
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    said = metadata_of(model)
    assert said["reset"] == made.config.reset and said["time_steps"] == "12"
    assert said["encoding"].startswith(made.config.encoding)
    assert said["threshold"] == str([neurons.threshold.item() for neurons in made.step.neurons])
    assert said["beta"] == str([neurons.beta.item() for neurons in made.step.neurons])


@stacks
@pytest.mark.parametrize("file", ["step.onnx", "step_b1.onnx", "step_lif.onnx"])
def test_a_step_graph_computes_what_torch_does(name, file):
    made = case(name)
    found = proof.equality(made.step, OnnxRunner(made.models[file]), [made.x])
    assert found["ok"] and found["stepwise"]["flipped_spikes"] == 0
    assert found["free_running"]["different_output_spikes"] == found["free_running"]["different_hidden_spikes"] == 0


@pytest.mark.parametrize(("above", "spikes"), [(False, 0), (True, 1)])
def test_a_membrane_at_the_threshold_does_not_fire(above, spikes):
    made = case("flat")
    bias = np.full(4, np.nextafter(np.float32(2.5), np.float32(9)) if above else 2.5, np.float32)
    parameters = {"fc1.weight": np.zeros((4, 30), np.float32), "fc1.bias": bias}
    runners = [TorchRunner(network.Step(made.config, parameters))]
    for file in ("step.onnx", "step_lif.onnx"):
        model = made.models[file]
        for name, value in parameters.items():
            model = changed(model, name, lambda _, value=value: value)
        runners.append(OnnxRunner(model))
    for runner in runners:
        found, (membranes,) = runner.step(made.x[0].numpy(), [np.zeros((3, 4), np.float32)])
        assert (membranes == bias).all() and (found == spikes).all()


@stacks
def test_every_shape_of_the_static_graph_is_static(name):
    graph = case(name).models["step_b1.onnx"].graph
    produced = {output for node in graph.node for output in node.output}
    values = [*graph.input, *graph.output, *graph.value_info]
    assert produced <= {value.name for value in values}
    for value in values:
        dims = value.type.tensor_type.shape.dim
        assert dims[0].dim_value == 1 and all(dim.dim_value > 0 for dim in dims)


@stacks
def test_each_layer_of_neurons_is_one_node_of_the_function(name):
    made = case(name)
    model = made.models["step_lif.onnx"]
    nodes = [node for node in model.graph.node if node.domain == "csnn"]
    assert [node.op_type for node in nodes] == ["LIF"] * len(made.config.layers)
    for node, neurons in zip(nodes, made.step.neurons, strict=True):
        values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        expected = {"beta": neurons.beta.item(), "threshold": neurons.threshold.item()}
        assert values == expected | {"reset": RESETS[made.config.reset]}
    assert {node.op_type for node in model.graph.node if not node.domain} <= PLAIN - {"Greater", "Cast", "Sub"}


@pytest.mark.parametrize("reset", RESETS)
def test_the_reset_of_the_function_is_its_attribute(reset):
    made = case("other")
    model = onnx.ModelProto()
    model.CopyFrom(made.models["step_lif.onnx"])
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "reset":
                attribute.i = RESETS[reset]
    for other in RESETS:
        assert proof.equality(with_reset(made, other), OnnxRunner(model), [made.x])["ok"] == (other == reset)


@stacks
def test_the_sequence_is_the_looped_step(name):
    made = case(name)
    found = sequence_equals_loop(made.models["sequence.onnx"], made.models["step.onnx"], made.config, [made.x])
    assert found["ok"] and found["spikes"] == 12 * len(made.images) * made.config.num_classes


def test_the_sequence_takes_another_length_than_its_default():
    made = case("default")
    runner = SequenceRunner(made.models["sequence.onnx"])
    counts, spikes = runner.run(made.x, 7)
    _, whole = runner.run(made.x)
    assert spikes.shape == (7, 3, 10) and whole.shape == (12, 3, 10)
    np.testing.assert_array_equal(spikes, whole[:7])
    np.testing.assert_array_equal(counts, spikes.sum(0))


def test_the_sequence_computes_the_first_convolution_once():
    graph = case("default").models["sequence.onnx"].graph
    (loop,) = [node for node in graph.node if node.op_type == "Loop"]
    assert [node.name for node in graph.node if node.op_type in ("Conv", "MaxPool")] == ["conv1", "pool1"]
    inside = [node.name for node in loop.attribute[0].g.node if node.op_type in ("Conv", "MaxPool")]
    assert inside == ["conv2", "pool2"]


def test_data_with_a_time_axis_of_their_own_go_through_the_sequence():
    made = case("other")
    frames = np.random.default_rng(0).integers(0, 256, (3, 9, *made.config.input_shape), np.uint8)
    x = network.inputs(made.config, frames)
    assert x.shape == (9, 3, 2, 12, 10)
    from export.parts.sequence import sequence

    model = sequence(made.models["step.onnx"], made.config, frames=True)
    counts, spikes = SequenceRunner(model).run(x)
    expected = network.trace(made.step, x, 12).spikes[-1].numpy()
    assert expected.any()
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_array_equal(counts, expected.sum(0))


@stacks
def test_the_quantised_graph_holds_int8_weights_and_float_membranes(name):
    made = case(name)
    graph = made.models["step_int8.onnx"].graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    weighted = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert [node.name for node in weighted] == [layer.name for layer in made.config.layers]
    for node in weighted:
        x, weight, bias = (makers[tensor] for tensor in node.input)
        assert x.op_type == weight.op_type == bias.op_type == "DequantizeLinear"
        assert held[weight.input[0]].data_type == onnx.TensorProto.INT8
        assert held[bias.input[0]].data_type == onnx.TensorProto.INT32
        assert held[weight.input[1]].dims == [held[weight.input[0]].dims[0]]  # a scale per output channel
        assert f"{node.name}.weight" not in held
        assert makers[x.input[0]].op_type == "QuantizeLinear"
        (user,) = [user for user in graph.node if node.output[0] in user.input]
        assert user.op_type == "QuantizeLinear"
    for value in graph.output:
        assert makers[value.name].op_type in ("Cast", "Sub", "Add")


@stacks
def test_the_quantised_graph_stays_near_the_float_one(name):
    made = case(name)
    found = proof.equality(made.step, OnnxRunner(made.models["step_int8.onnx"]), [made.x])
    assert 1e-4 < found["stepwise"]["max_difference"] < 0.1


def test_the_ranges_are_taken_over_the_whole_window():
    made = case("default")
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.models["step_int8.onnx"].graph.initializer}
    spikes = network.trace(made.step, made.x, 12).spikes[2]
    currents = spikes @ torch.from_numpy(made.tensors["fc2.weight"].T) + torch.from_numpy(made.tensors["fc2.bias"])
    scale, zero = float(held["fc2_scale"]), int(held["fc2_zero_point"])
    assert abs((255 - zero) * scale - currents.max()) <= scale
    assert abs(-zero * scale - currents.min()) <= scale
    assert currents[0].max() < currents.max() - 2 * scale  # the first step alone would not have shown it
    assert held["image_scale"] == held["spikes1_scale"] == np.float32(1 / 255)


def test_windows_start_from_membranes_of_zero():
    made = case("flat")
    found = window(OnnxRunner(made.models["step.onnx"]), made.config, made.x)
    expected = network.trace(made.step, made.x, 12)
    np.testing.assert_allclose(found.membranes[0][0], expected.membranes[0][0], rtol=1e-5, atol=1e-6)
