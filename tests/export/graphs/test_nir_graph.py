"""NIR files have the fields that their readers need, or the network is refused."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from bundles import SMALL, drawn
from refusals import assert_line, refusing

from csnn_jax.runs.layouts import Tensors
from csnn_torch.programs import PROGRAMS
from csnn_torch.programs.program import Target
from export import reference
from export.graphs import nir_graph


@pytest.mark.parametrize(
    ("change", "tensors", "facts"),
    [
        ({"pool": "max"}, {}, ("max-pooling", "--pool avg", "network.nir")),
        ({"reset": "subtract"}, {}, ("--reset subtract", "--reset zero")),
        ({"reset": "none"}, {}, ("--reset none", "--reset zero")),
        ({"pool": "max", "reset": "subtract"}, {}, ("--pool avg --reset zero",)),
        ({"reset": ("zero", "none", "zero")}, {}, ("--reset none", "--reset zero")),
        ({"per_channel": ("beta",)}, {}, ("one value", "without --per-channel")),
        (
            {"neuron": "synaptic", "reset": ("zero", "clear", "subtract")},
            {},
            ("--reset subtract or zero", "--reset clear", "network.nir"),
        ),
        ({"pool": "max", "pool_after": True}, {}, ("max-pooling", "--pool avg")),
        ({"readout": "membrane"}, {}, ("--readout spikes",)),
        (
            {"neuron": "synaptic", "pool": "max", "output": "integrator"},
            {},
            ("max-pooling", "--reset zero", "spike readout", "--pool avg --reset clear --output spiking"),
        ),
        ({"learn_threshold": True}, {"lif2.threshold": np.float32(-0.25)}, ("lif2", -0.25)),
        ({"learn_beta": True}, {"lif3.beta": np.float32(1e-12)}, ("lif3", 1e-12)),
    ],
)
def test_networks_that_nir_cannot_express_are_refused(change: dict, tensors: Tensors, facts: tuple) -> None:
    config = replace(SMALL, **change)
    reason = nir_graph.reason_against(config, drawn(config) | tensors)
    assert reason is not None
    assert_line(reason, *facts)


# The arguments of nir 1.0.4's constructors. They refuse others, so a file for it has no other fields in a node.
FIELDS_104 = {
    "Input": {"shape"},
    "Output": {"shape"},
    "Conv2d": {"input_shape", "weight", "stride", "padding", "dilation", "groups", "bias"},
    "AvgPool2d": {"kernel_size", "stride", "padding"},
    "SumPool2d": {"kernel_size", "stride", "padding"},
    "Flatten": {"input_type", "start_dim", "end_dim"},
    "Affine": {"weight", "bias"},
    "LIF": {"tau", "r", "v_leak", "v_threshold"},
}
TARGETS = [program.target for program in PROGRAMS.values()]
SHAPES = replace(SMALL, conv_channels=(4, 6), pool_size=(2, 4))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("target", TARGETS, ids=[one.file for one in TARGETS])
def test_layout_of_the_file(target: Target, after: bool, tmp_path: Path) -> None:
    config = replace(SHAPES, pool_after=after)
    path, again = tmp_path / "network.nir", tmp_path / "again.nir"
    nir_graph.write(path, config, drawn(config), target)
    nir_graph.write(again, config, drawn(config), target)
    assert path.read_bytes() == again.read_bytes()
    with h5py.File(path) as file:
        assert file["version"][()].decode() == ("1.0.4" if target.legacy else nir.version)
        names = list(file["node/nodes"])
        edges = [(a.decode(), b.decode()) for a, b in file["node/edges"][()]]
        assert edges == list(pairwise(names))  # sorted in order of execution
        for name, node in file["node/nodes"].items():
            kind = node["type"][()].decode()
            extra = {"v_reset"} if kind == "LIF" and not target.legacy else set()
            assert set(node) - {"type", "metadata"} == FIELDS_104[kind] | extra, name
            pairs = set(node) & {"kernel_size", "stride", "padding", "dilation"}
            assert all(node[field].shape == (2,) for field in pairs), name
        assert {name for name in names if name.endswith("pool")} == (
            {"layer1_spikes_pool", "layer2_spikes_pool"} if after else {"layer1_pool", "layer2_pool"}
        )
        for number, shape in enumerate(reference.state_shapes(config).values(), 1):
            values = file[f"node/nodes/layer{number}_spikes"]
            assert {values[name].shape for name in FIELDS_104["LIF"]} == {(1,) if target.legacy else shape}


@pytest.mark.parametrize("after", [False, True])
def test_sums_have_the_weights_of_averages_divided_by_the_window(after: bool) -> None:
    config = replace(SHAPES, pool_after=after)
    tensors = drawn(config)
    nodes = nir_graph.graph(config, tensors, replace(nir_graph.DEFINED, sums=True)).nodes
    divided = {"conv1": 4, "conv2": 16} if not after else {"conv2": 4, "fc1": 16}
    for name, layer in zip(("layer1_conv", "layer2_conv", "layer3_linear"), config.graph.weighted, strict=False):
        pixels = np.float32(divided.get(layer.name, 1))
        np.testing.assert_array_equal(nodes[name].weight * pixels, tensors[f"{layer.name}.weight"])
        np.testing.assert_array_equal(nodes[name].bias * (1 if after else pixels), tensors[f"{layer.name}.bias"])
    assert not any(isinstance(node, nir.AvgPool2d) for node in nodes.values())


def test_a_file_of_another_size_or_with_bytes_in_front_differs(tmp_path):
    one, other = tmp_path / "a", tmp_path / "b"
    for path, block in ((one, 0), (other, 512)):
        with h5py.File(path, "w", userblock_size=block) as file:
            file["version"] = b"1.0"
    assert [*nir_graph.file_differences(one, one)] == []
    assert [*nir_graph.file_differences(one, other)] == ["doesn't begin with HDF5's signature"]
    size = one.stat().st_size
    other.write_bytes(one.read_bytes() + bytes(size))
    assert [*nir_graph.file_differences(one, other)] == []
    other.write_bytes(one.read_bytes() + bytes(size + 1))
    assert [*nir_graph.file_differences(one, other)] == [f"has {2 * size + 1:,} bytes, expected at most {2 * size:,}"]
    with refusing(ValueError, "max-pooling"):
        nir_graph.write(tmp_path / "c", replace(SMALL, pool="max"), drawn(SMALL))


@pytest.fixture
def files(tmp_path):
    """Two files with the same objects, open for writing."""

    def make(name: str) -> h5py.File:
        file = h5py.File(tmp_path / name, "w")
        file["node/weight"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        file["version"] = b"1.0"
        file["node"].attrs["kind"] = "linear"
        return file

    with make("a") as one, make("b") as two:
        yield one, two


def replaced(file: h5py.File, name: str, value: object, **how: object) -> None:
    del file[name]
    file.create_dataset(name, data=value, **how)


def linked(name: str, link: object):
    return lambda file: (file.__delitem__(name), file.__setitem__(name, link))


def elsewhere(file: h5py.File) -> None:
    del file["node/weight"]
    file.create_dataset("node/weight", (2, 3), np.float32, external=[("/etc/passwd", 0, 24)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 3), np.float32)
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", (2, 3))
    del file["node/weight"]
    file.create_virtual_dataset("node/weight", layout)


def named_type(file: h5py.File) -> None:
    del file["version"]
    file["version"] = np.dtype("f4")


def by_reference(file: h5py.File) -> None:
    del file["version"]
    file.create_dataset("version", data=file["node"].ref, dtype=h5py.ref_dtype)


WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
FORM = "/node/weight has a different shape, type or storage"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.create_dataset("node/more", data=1), "/node/more is unexpected"),
        (lambda file: file.__delitem__("version"), "/version is missing"),
        (lambda file: replaced(file, "node/weight", WEIGHT + 1), "/node/weight doesn't match what this version makes"),
        (lambda file: replaced(file, "node/weight", WEIGHT.astype("f8")), FORM),
        (lambda file: replaced(file, "node/weight", WEIGHT, chunks=(1, 3), compression="gzip"), FORM),
        (lambda file: file["node"].attrs.__setitem__("more", 1), "/node: attribute more is unexpected"),
        (lambda file: file["node"].attrs.__delitem__("kind"), "/node: attribute kind is missing"),
        (lambda file: replaced(file, "node", 1), "/node is a Dataset, expected a Group"),
        (
            lambda file: (file.__delitem__("version"), file.create_group("version")),
            "/version is a Group, expected a Da",
        ),
        (lambda file: file["node"].attrs.__setitem__("kind", "conv"), "/node: attribute kind differs"),
        (linked("node/weight", h5py.ExternalLink("/etc/passwd", "/")), "/node/weight is a link, expected an object in"),
        (linked("version", h5py.SoftLink("/node")), "/version is a link, expected an object in the file itself"),
        (elsewhere, "/node/weight has its values in another file, expected them in the file itself"),
        (virtual, "/node/weight is a virtual data set, expected its values in the file itself"),
        (named_type, "/version is a named type, expected a group or a data set"),
        (by_reference, "/version has another type, expected numbers or text"),
    ],
)
def test_a_difference_is_one_line(files, change, said):
    assert [*nir_graph.differences(*files)] == []
    change(files[1])
    (line,) = nir_graph.differences(*files)
    assert line.startswith(said)
