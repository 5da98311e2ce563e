"""The spikes and membranes of an ONNX step can be read for every layer, hidden ones included."""

import onnx
import pytest
import torch
from bundles import INTEGRATOR, make_run
from onnx import TensorProto, helper
from refusals import refusing
from two_sides import coarse_run, step_of

from csnn_jax.errors import UserError
from csnn_jax.runs import rundir
from csnn_torch.first_difference import explain
from csnn_torch.first_difference.images import inputs
from csnn_torch.first_difference.sides import OnnxStep, open_side
from export.parts import sequence

torch.set_num_threads(1)


def comparison(run, step):
    sides = open_side(str(run)), OnnxStep(str(step))
    return explain.compare(sides, inputs(sides, None, 3, None, None))


def compared_nodes(found):
    """The nodes of which spikes were compared, and membranes."""
    return [*found.comparison.spikes], [*found.comparison.membranes]


@pytest.mark.parametrize("static", [False, True], ids=["any batch", "a batch of one"])
def test_it_matches_the_run_in_every_layer(tmp_path, static):
    run = coarse_run(tmp_path / "run")
    found = comparison(run, step_of(run, tmp_path / "bundle", static=static))
    assert (compared_nodes(found), found.comparison.different) == ((["lif1", "lif2", "lif3"], []), 0)
    assert all(min(count.active) > 0 for count in found.comparison.spikes.values())


def test_membranes_of_an_integrator_are_compared(tmp_path):
    run = make_run(tmp_path / "run", INTEGRATOR)
    found = comparison(run, step_of(run, tmp_path / "bundle"))
    assert (compared_nodes(found), found.comparison.different) == ((["lif1", "lif2"], ["lif3"]), 0)


def test_a_file_alone_has_no_network(tmp_path):
    run = coarse_run(tmp_path / "run")
    step = step_of(run, tmp_path / "bundle")
    (tmp_path / "bundle" / "config.json").unlink()
    side = OnnxStep(str(step))
    assert (side.network, side.job, side.input_shape) == (None, None, (1, 28, 28))
    assert side.why_unread == "it's not in a folder with a bundle's config.json and weights.safetensors"
    assert comparison(run, step).comparison.different == 0


def test_without_the_names_of_hidden_spikes_their_membranes_are_compared(tmp_path):
    run = coarse_run(tmp_path / "run")
    step = step_of(run, tmp_path / "bundle")
    model = onnx.load(step)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["hidden" if name == "spikes1" else name for name in names]
    for value in model.graph.value_info:
        value.name = "hidden" if value.name == "spikes1" else value.name
    onnx.save(model, step)
    found = comparison(run, step)
    assert (compared_nodes(found), found.comparison.different) == ((["lif2", "lif3"], ["lif1"]), 0)


def relu(run, step):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy")
    return helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y]))


def whole_window(run, step):
    return sequence.graph(onnx.load(step), rundir.open_run(str(run))[1].model)


@pytest.mark.parametrize(("graph", "inputs"), [(relu, ["x"]), (whole_window, ["image", "time_steps"])])
def test_other_graphs_are_refused(tmp_path, graph, inputs):
    run, path = coarse_run(tmp_path / "run"), tmp_path / "net.onnx"
    onnx.save(graph(run, step_of(run, tmp_path / "bundle")), path)
    with refusing(UserError, path, *inputs, "step.onnx"):
        OnnxStep(str(path))
    path.write_bytes(b"no protobuf")
    with refusing(UserError, path, "ONNX"):
        OnnxStep(str(path))
