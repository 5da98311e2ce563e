"""Both sides get the same images and show every layer: runs, ONNX steps, and NIR files in snnTorch or by definition."""

from dataclasses import replace

import h5py
import nir
import numpy as np
import onnx
import pytest
import torch
from bundles import INTEGRATOR, make_run
from digits import few_digits
from export_networks import OTHER
from nir_files import affine, chained, sixteenths, write
from onnx import TensorProto, helper
from refusals import refusing
from two_sides import coarse_run, nir_of, step_of

from csnn_jax import data
from csnn_jax.errors import UserError
from csnn_jax.runs import rundir
from csnn_torch.first_difference import explain
from csnn_torch.first_difference.images import inputs
from csnn_torch.first_difference.sides import open_side
from export.parts import sequence

torch.set_num_threads(1)


class Shown:
    """A side that has only a name and an input shape."""

    job, name = None, "other"

    def __init__(self, *shape: int):
        self.input_shape = shape or None


@pytest.fixture
def run(tmp_path):
    return coarse_run(tmp_path / "run")


def entering(*sides, dataset=None, images=None, steps=None, scale=None):
    return inputs(sides, dataset, images, steps, scale)


def comparison(*paths):
    """Compares two sides on three images, of which no value must differ, and every layer must fire."""
    sides = [open_side(str(path)) for path in paths]
    compared = explain.compare(sides, entering(*sides, images=3)).comparison
    assert compared.different == 0 and all(min(count.active) > 0 for count in compared.spikes.values())
    return [*compared.spikes], [*compared.membranes]


def test_a_side_without_a_job_gets_the_runs_images(run):
    side = open_side(str(run))
    side_inputs = entering(side, Shown(784), images=5)
    assert side_inputs.what == "the first 5 test images of mnist"
    assert [x.shape for x in side_inputs.each] == [(6, 5, 1, 28, 28), (6, 5, 784)]
    images = data.load("mnist", (28, 28, 1)).test.images[:5]
    assert np.array_equal(side_inputs.each[0][0, :, 0].numpy() * 256, images[..., 0])
    assert torch.equal(side_inputs.each[0].flatten(2), side_inputs.each[1])
    other, own = entering(Shown(1, 1, 28, 28), side, images=2, steps=3, scale=128).each
    assert len(other) == len(own) == 3 and torch.equal(other, 2 * own)


def test_images_are_random_if_no_data_set_is_known(tmp_path):
    run = open_side(str(make_run(tmp_path / "run", replace(OTHER, encoding="rate", scale=None), "arrays")))
    side_inputs = entering(run, Shown(), images=4)
    assert side_inputs.what == "4 random images"
    assert [x.shape for x in side_inputs.each] == [(12, 4, 2, 12, 10)] * 2
    assert set(side_inputs.each[0].unique().tolist()) == {0, 1}
    assert entering(Shown(3), Shown(3)).each[0].shape == (100, 32, 3)


def test_unsuitable_images_are_refused(run, tmp_path):
    side = open_side(str(run))
    with refusing(UserError, "other", "1x20x20", "1x28x28"):
        entering(side, Shown(1, 20, 20))
    with refusing(UserError, "other", "run"):
        entering(Shown(), Shown())
    with refusing(UserError, "images 999999", 10000, "mnist"):
        entering(side, side, images=999_999)
    few = few_digits(tmp_path / "digits", test=9)
    for images in (None, 9):
        assert entering(side, side, dataset=few, images=images).what == f"the first 9 test images of {few}"


def test_recordings_have_as_many_steps_as_frames(run, tmp_path):
    frames = np.zeros((3, 6, 28, 28, 1), np.uint8)
    np.savez(tmp_path / "frames.npz", images=frames, labels=np.arange(3))
    side, name = open_side(str(run)), f"arrays:{tmp_path / 'frames.npz'}"
    assert [len(entering(side, side, dataset=name, steps=steps).each[0]) for steps in (None, 5)] == [6, 5]
    with refusing(UserError, "time_steps 7", 6):
        entering(side, side, dataset=name, steps=7)


def test_a_folder_of_a_bundle_is_refused(tmp_path):
    (tmp_path / "manifest.json").touch()
    with refusing(UserError, tmp_path, "bundle", tmp_path / "step.onnx"):
        open_side(str(tmp_path))


def test_snntorch_and_the_definition_give_the_runs_spikes(tmp_path):
    run = coarse_run(tmp_path / "run", weight_bits=None)
    file = nir_of(run, tmp_path / "network.nir")
    assert open_side(str(file)).program.startswith("by NIR's definition, in torch ")
    snntorch = open_side(f"snntorch:{file}").program
    assert snntorch.startswith("snntorch ") and "nir 1" in snntorch and "time step" not in snntorch
    for side in (file, f"snntorch:{file}"):
        assert comparison(run, side) == (["lif1", "lif2", "lif3"], [])


def test_a_flatten_that_includes_the_batch_runs_image_by_image(run, tmp_path):
    """As in files written by snnTorch, whose importer flattens the batch as well."""
    file = nir_of(run, tmp_path / "network.nir")
    with h5py.File(file, "r+") as opened:
        starts = [node["start_dim"] for node in opened["node/nodes"].values() if "start_dim" in node]
        assert starts
        for start in starts:
            start[()] = 0
    comparison(run, f"snntorch:{file}")


@pytest.mark.parametrize("bias", [0.0, 0.75])
def test_a_bias_in_a_cycle_is_missing_in_snntorchs_first_step(tmp_path, bias):
    """Its importer delays the end of what closes a cycle, we the start: the same without a bias."""
    neurons = {name: np.full(8, one) for name, one in {"tau": 4e-4, "r": 4.0, "v_leak": 0.0, "v_reset": 0.0}.items()}
    lif = "LIF", neurons | {"v_threshold": np.ones(8)}
    nodes = chained((16,), affine(sixteenths(0, 8, 16)), lif, affine(sixteenths(1, 8, 8)), lif, out=8)
    nodes["back"] = affine(sixteenths(2, 8, 8), np.full(8, bias))
    edges = [("input", "0"), ("0", "1"), ("1", "2"), ("2", "3"), ("3", "output"), ("3", "back"), ("back", "1")]
    path = write(tmp_path / "net.nir", nodes, edges)
    sides = open_side(path), open_side(f"snntorch:{path}")
    images = entering(*sides, images=8, steps=12)
    result = explain.compare(sides, images)
    assert [*result.comparison.spikes] == ["n1", "n3"] and all(
        min(one.active) for one in result.comparison.spikes.values()
    )
    if not bias:
        assert result.comparison.first is None
        return
    place = result.comparison.first.place
    assert (place.step, place.node) == (0, "n1")
    side, findings = explain.explained(sides, images, result)
    assert (side, [cause.text for cause in findings[0].causes]) == (
        0,
        ["no bias of recurrent and delayed connections in the first step"],
    )
    assert findings[0].first and not findings[0].left


def test_a_network_that_a_program_does_not_support_is_refused(tmp_path):
    path, ones = str(tmp_path / "network.nir"), np.ones(3, np.float32)
    leaking = nir.LIF(tau=ones, r=ones, v_leak=ones, v_threshold=ones)
    nir.write(path, nir.NIRGraph.from_list(nir.Linear(np.ones((3, 4), np.float32)), leaking))
    with refusing(UserError, "network.nir", "v_leak"):
        open_side(f"snntorch:{path}")


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ("norse:{}", ["`pip install norse nir nirtorch`"]),
        ("sinabs:{}", ['`pip install sinabs "nir<=1.0.4" nirtorch`']),
        ("lava:{}", ["lava", "run directory", "snntorch", "norse"]),
        ("snntorch:{}x.nir", ["network.nirx.nir", "no such file"]),
        ("snntorch:{}", ["network.nir", "HDF5"]),
        ("{}", ["network.nir", "HDF5"]),
    ],
    ids=str,
)
def test_other_nir_files_are_refused(tmp_path, given, facts):
    file = tmp_path / "network.nir"
    file.write_text("no HDF5")
    with refusing(UserError, *facts):
        open_side(given.format(file))


@pytest.mark.parametrize("static", [False, True], ids=["any batch", "a batch of one"])
def test_an_onnx_step_matches_the_run_in_every_layer(run, tmp_path, static):
    assert comparison(run, step_of(run, tmp_path / "bundle", static=static)) == (["lif1", "lif2", "lif3"], [])


def test_membranes_of_an_integrator_are_compared(tmp_path):
    run = make_run(tmp_path / "run", INTEGRATOR)
    assert comparison(run, step_of(run, tmp_path / "bundle")) == (["lif1", "lif2"], ["lif3"])


def test_an_onnx_file_alone_has_no_network(run, tmp_path):
    step = step_of(run, tmp_path / "bundle")
    (step.parent / "config.json").unlink()
    side = open_side(str(step))
    assert (side.network, side.job, side.input_shape) == (None, None, (1, 28, 28))
    assert side.why_unread == "it's not in a folder with a bundle's config.json and weights.safetensors"
    comparison(run, step)


def test_without_the_names_of_hidden_spikes_their_membranes_are_compared(run, tmp_path):
    step = step_of(run, tmp_path / "bundle")
    model = onnx.load(step)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["hidden" if name == "spikes1" else name for name in names]
    for value in model.graph.value_info:
        value.name = "hidden" if value.name == "spikes1" else value.name
    onnx.save(model, step)
    assert comparison(run, step) == (["lif2", "lif3"], ["lif1"])


def relu(run, step):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy")
    return helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y]))


def whole_window(run, step):
    return sequence.graph(onnx.load(step), rundir.open_run(str(run))[1].model)


@pytest.mark.parametrize(("graph", "takes"), [(relu, ["x"]), (whole_window, ["image", "time_steps"])])
def test_other_onnx_graphs_are_refused(run, tmp_path, graph, takes):
    path = tmp_path / "net.onnx"
    onnx.save(graph(run, step_of(run, tmp_path / "bundle")), path)
    with refusing(UserError, path, *takes, "step.onnx"):
        open_side(str(path))
    path.write_bytes(b"no protobuf")
    with refusing(UserError, path, "ONNX"):
        open_side(str(path))
