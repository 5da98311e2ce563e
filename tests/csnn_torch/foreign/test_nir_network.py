"""Networks are read back from NIR files bit for bit, our own exports and those of other programs with their spikes."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import SMALL, drawn
from export_networks import GEOMETRY, OTHER
from nir_files import affine, chained, conv, delay, flatten, lif, pool, rebuilt, sixteenths, spikes_digest, write
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.config import nodes as config_nodes
from csnn_jax.errors import UserError
from csnn_jax.runs import layouts
from csnn_torch.foreign import nir_layers, nir_network
from csnn_torch.foreign.network import nodes_of
from csnn_torch.programs import PROGRAMS
from export import reference
from export.graphs import nir_graph

pytestmark = pytest.mark.numeric

FILES = Path(__file__).parent / "nir"
STEPS = 20
"""Written by benchmarks/nir/write_<program>.py, each in its program's environment, with the spikes it gave."""

AFTER = replace(SMALL, conv_channels=(4, 6), pool_after=True, pool_size=(4, 2))
SYNAPTIC = replace(AFTER, pool="sum", neuron="synaptic", reset="clear", alpha=0.75)

OWN = {
    "small": SMALL,
    "other": replace(OTHER, learn_beta=False, learn_threshold=False, threshold=(1.0, 0.7, 0.5, 2.0)),
    "geometry": replace(
        GEOMETRY, pool=("avg", "none"), reset="zero", beta=(0.123, 1.0, 0.0), encoding="rate", time_steps=7
    ),
    "flat": ModelConfig((6, 6, 1), (), hidden=(5,), num_classes=4, reset="zero", encoding="latency", scale=128.0),
    "few bits": replace(SMALL, weight_bits=3),
    "averages after": AFTER,
    "sums after": replace(AFTER, pool="sum"),
    "synaptic": SYNAPTIC,
    "awkward synaptic": replace(SYNAPTIC, alpha=(0.0, 0.4, 0.9, 1.0), beta=(0.9, 0.4, 0.0, 0.7)),
    "counts": replace(SMALL, scale=1.0, input_bits=4),
}


@pytest.mark.parametrize("name", OWN)
def test_an_exported_network_comes_back_bit_for_bit(tmp_path, name):
    config = OWN[name]
    tensors = drawn(config)
    nir_graph.write(tmp_path / "network.nir", config, tensors)
    network = nir_network.read(str(tmp_path / "network.nir"))
    expected = replace(config, scale=config.pixels.scale, input_bits=config.pixels.bits, weight_bits=None)
    assert network.config == expected and network.notes == ()
    rounded = layouts.on_grid(network.config, network.tensors)
    given = {key: value for key, value in tensors.items() if not key.endswith(".exponents")}
    assert {key: value.tobytes() for key, value in rounded.items()} == {k: v.tobytes() for k, v in given.items()}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_file_from_export_is_read_by_its_own_rules_only(tmp_path, program):
    target = PROGRAMS[program].target
    nir_graph.write(tmp_path / target.file, SMALL, drawn(SMALL), target)
    read = partial(nir_network.read, str(tmp_path / target.file))
    stated, same = read(), read(**target.read_as)
    assert stated.config == same.config and stated.config.beta == SMALL.beta
    assert {name: value.tobytes() for name, value in stated.tensors.items()} == {
        name: value.tobytes() for name, value in same.tensors.items()
    }
    for other in PROGRAMS.keys() - {target.read_as.get("written_by")}:
        with refusing(UserError, f"written_by {other}", target.file, "export"):
            read(written_by=other)
    with refusing(UserError, "reset subtract", target.file, "export"):
        read(reset="subtract")


def test_learned_values_come_back(tmp_path):
    tensors = drawn(OTHER)
    nir_graph.write(tmp_path / "network.nir", OTHER, tensors)
    network = nir_network.read(str(tmp_path / "network.nir"))
    for number in range(4):
        assert np.float32(network.config.beta[number]) == tensors[f"lif{number + 1}.beta"]
        assert np.float32(network.config.threshold[number]) == tensors[f"lif{number + 1}.threshold"]


@pytest.mark.parametrize(
    ("file", "run", "settings"),
    [
        ("snntorch", "snntorch", {"written_by": "snntorch", "reset": "zero"}),
        ("snntorch", "snntorch", {}),
        ("snntorch", "snntorch-subtract", {"written_by": "snntorch"}),
        ("snntorch-cuba", "snntorch-cuba", {"written_by": "snntorch", "reset": "zero"}),
        ("snntorch-cuba", "snntorch-cuba-subtract", {"written_by": "snntorch"}),
        ("spikingjelly", "spikingjelly", {"written_by": "spikingjelly"}),
        ("spikingjelly-tau3", "spikingjelly-tau3", {"written_by": "spikingjelly"}),
        ("spikingjelly-if", "spikingjelly-if", {"written_by": "spikingjelly"}),
        ("spikingjelly-cuba", "spikingjelly-cuba", {"written_by": "spikingjelly"}),
        ("norse", "norse", {"written_by": "norse"}),
        ("norse-dense", "norse-dense", {"written_by": "norse"}),
        ("norse-cuba", "norse-cuba", {"written_by": "norse"}),
        ("sinabs", "sinabs", {"written_by": "sinabs", "reset": "zero"}),
        ("sinabs", "sinabs-subtract", {"written_by": "sinabs"}),
        ("sinabs-lif", "sinabs-lif", {"written_by": "sinabs", "reset": "zero", "norm_input": False}),
    ],
)
def test_another_programs_network_keeps_its_spikes(tmp_path, file, run, settings):
    stored = json.loads((FILES / f"{file}.json").read_text())
    network = nir_network.read(rebuilt(tmp_path / "net.nir", stored["values"]), divided_by=256, **settings)
    tensors = layouts.on_grid(network.config, network.tensors)
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, network.tensors[key])  # they were written on their grids
    x = torch.tensor(json.loads((FILES / "images.json").read_text())).reshape(-1, 1, 16, 16) / 256
    ours = reference.trace(reference.Step(network.config, tensors), x, STEPS).spikes
    assert all(0.005 < layer.mean() < 0.5 for layer in ours.values())
    assert [spikes_digest(layer.numpy()) for layer in ours.values()] == stored["spikes"][run]


IMAGE = conv(sixteenths(0, 3, 2, 3, 3)), lif(), flatten(), affine(sixteenths(1, 4, 3 * 8 * 6)), lif()
FLAT = affine(sixteenths(1, 4, 36)), lif()


@pytest.fixture
def read(tmp_path):
    """Reads a network from a file with these nodes."""

    def call(shape, *nodes, metadata=None, **settings):
        path = write(tmp_path / "net.nir", chained(shape, *nodes), metadata=metadata)
        return nir_network.read(path, **settings)

    return call


@pytest.mark.parametrize(
    ("nodes", "shape", "size", "expected"),
    [
        (IMAGE, (2, 8, 6), None, (8, 6, 2)),
        (IMAGE, (1, 2, 8, 6), None, (8, 6, 2)),
        (IMAGE, (), (8, 6, 2), (8, 6, 2)),
        (
            (conv(sixteenths(0, 1, 2, 3, 3)), lif(), flatten(), affine(sixteenths(1, 4, 48)), lif()),
            (2, 8, 6),
            None,
            (8, 6, 2),
        ),
        (IMAGE, (5, 2, 8, 6), (8, 6, 2), (8, 6, 2)),
        (FLAT, (36,), None, (6, 6, 1)),
        (FLAT, (1, 36), None, (6, 6, 1)),
        (FLAT, (36,), (3, 6, 2), (3, 6, 2)),
        ((affine(sixteenths(1, 4, 35)), lif()), (35,), None, (1, 35, 1)),
        (FLAT, (), (9, 4, 1), (9, 4, 1)),
        ((flatten(), *FLAT), (1, 4, 9), None, (4, 9, 1)),
    ],
)
def test_the_image_size_comes_from_the_file_or_the_user(read, nodes, shape, size, expected):
    network = read(shape, *nodes, dt=1.0, input_shape=size)
    assert network.config.input_shape == expected
    assert {name: value.shape for name, value in network.tensors.items()} == layouts.expected_shapes(network.config)


@pytest.mark.parametrize(
    ("nodes", "shape", "settings", "facts"),
    [
        (IMAGE, (), {"dt": 1.0}, ("no input shape", "input_shape")),
        (IMAGE, (5, 2, 8, 6), {"dt": 1.0}, ("[5, 2, 8, 6]",)),
        (FLAT, (36,), {"dt": 1.0, "input_shape": (5, 7, 1)}, (1, "`0`", "[4, 36]", 35)),
        (IMAGE, (2, 8, 6), {"dt": 1.0, "input_shape": (6, 6, 2)}, (4, "`3`", "[4, 144]", 108)),
        (IMAGE, (2, 8, 6), {"dt": 1.0, "input_shape": (8, 0, 2)}, ("input_shape 8 0 2",)),
        (FLAT, (36,), {"metadata": {"dt": "short"}}, ("net.nir", "dt short", "float")),
        (FLAT, (36,), {"metadata": {"time_steps": 0}}, ("net.nir", "time_steps 0", 1)),
        (FLAT, (36,), {"metadata": {"encoding": 3}}, ("net.nir", "encoding 3", "str")),
        (FLAT, (36,), {"metadata": {"scale": np.ones(2)}}, ("net.nir", "scale", "float")),
    ],
)
def test_a_size_that_does_not_fit_and_invalid_metadata_are_refused(read, nodes, shape, settings, facts):
    with refusing(UserError, *facts):
        read(shape, *nodes, **settings)


def test_the_user_overrides_the_metadata_of_a_file(read):
    metadata = {"dt": 1.0, "time_steps": 7, "encoding": "rate", "scale": 128.0, "more": "text"}
    for settings, expected in (
        ({}, (7, "rate", 128.0, 0.75)),
        ({"dt": 2.0, "time_steps": 9, "encoding": "direct", "scale": 64.0, "slope": None}, (9, "direct", 64.0, 0.5)),
    ):
        config = read((36,), *FLAT, metadata=metadata, **settings).config
        assert (config.time_steps, config.encoding, config.scale, config.beta) == expected


def test_normalized_images_and_their_scale_are_folded_into_the_first_layer(read):
    network = read((36,), *FLAT, dt=1.0, normalize=(0.25, 0.5))
    weight = FLAT[0][1]["weight"].astype(np.float64)
    np.testing.assert_array_equal(network.tensors["fc1.weight"], (weight / 0.5 * (256 / 255)).astype(np.float32))
    np.testing.assert_array_equal(network.tensors["fc1.bias"], (-weight / 0.5 * 0.25).sum(1).astype(np.float32))
    assert network.notes[0].startswith("the normalization of images by mean 0.25 and standard deviation 0.5 is folded")
    for shape, node, layer, facts in (
        ((2, 4, 6), pool(2), (flatten(), affine(sixteenths(1, 4, 12))), ("n2", "pooled")),
        ((36,), delay(2), FLAT[:1], ("image@2",)),
    ):
        assert read(shape, node, *layer, lif(), dt=1.0).config.network
        with refusing(UserError, *facts):
            read(shape, node, *layer, lif(), dt=1.0, normalize=(0.25, 0.5))


def test_a_delay_is_rounded_to_steps_and_inputs_of_some_neurons_may_be_small(read):
    network = read((36,), delay(np.float32(3e-4)), FLAT[0], lif(r=np.array([4e4, 4e4, 4e4, 1e-9])))
    assert [str(edge) for edge in network.config.network.nodes[0].inputs] == ["image@3"]
    assert any(note.startswith("read by NIR's definition") for note in network.notes)
    assert not any("of its input" in note for note in network.notes)


def test_names_of_nodes_are_valid_and_not_taken():
    given, made = ("flatten", "image", "3", "3-a.b", "x" * 33), ["flatten_2", "image_2", "n3", "a_b", "x" * 32]
    assert [nir_layers.unique(name, {"flatten"}) for name in given] == made


def test_the_nodes_of_a_file_are_a_network_to_train(tmp_path):
    """`--network FILE.nir` takes the nodes and the neurons, with the file's names; a child process reads them."""
    nodes = chained((36,), *FLAT[:1], lif(), affine(sixteenths(2, 3, 4)), lif()) | {"b.w": affine(sixteenths(3, 4, 4))}
    edges = [("input", "0"), ("0", "1"), ("1", "2"), ("2", "3"), ("3", "output"), ("1", "b.w"), ("b.w", "1")]
    path = write(tmp_path / "net.nir", nodes, edges, metadata={"dt": 1.0})
    read = config_nodes.read(path)
    by_name = {node.name: (node.operation, node.inputs) for node in read.nodes}
    assert by_name["n1"] == ("leaky", ("n0", "b_w")) and by_name["b_w"] == ("linear", ("n1@1",))
    config = ModelConfig(input_shape=(6, 6, 1), network=read)
    assert config.graph["n1"].operation["beta"] == 0.75 and config.num_classes == 3

    last = "LI", {"tau": 4.0, "r": 4.0, "v_leak": 0.0}
    chain = write(tmp_path / "chain.nir", chained((2, 8, 6), *IMAGE[:-1], last), metadata={"dt": 1.0})
    made = ModelConfig(input_shape=(8, 6, 2), network=nodes_of(nir_network.read(chain).config))
    assert [node.name for node in made.graph] == ["conv1", "lif1", "flatten2", "fc1", "lif2"]
    assert made.output == "integrator"
    (tmp_path / "net.nir").write_bytes(b"nothing")
    with refusing(UserError, path, "HDF5"):
        config_nodes.read(path)


def test_a_missing_h5py_is_one_line(tmp_path, monkeypatch):
    path = write(tmp_path / "net.nir", chained((36,), *FLAT))
    (tmp_path / "h5py.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with refusing(UserError, path, "h5py", "pip install"):
        config_nodes.read(path)
