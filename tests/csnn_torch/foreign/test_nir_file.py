"""The contents of a NIR file are read exactly as stored; damaged and unrelated files are refused with one line."""

import h5py
import numpy as np
import pytest
from nir_files import affine, chained, lif, sixteenths, write

from csnn_jax.errors import UserError
from csnn_torch.foreign import nir_file

NODES = chained((6,), affine(sixteenths(0, 2, 6)), lif())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.nir"


def test_nodes_edges_and_metadata_are_read_unchanged(path):
    graph = nir_file.read(write(path, NODES, metadata={"dt": 0.5, "encoding": "rate"}))
    assert list(graph.nodes) == ["0", "1", "input", "output"]
    assert graph.edges == [("input", "0"), ("0", "1"), ("1", "output")]
    assert graph.metadata == {"dt": 0.5, "encoding": "rate"}
    assert graph.nodes["0"].kind == "Affine" and graph.nodes["1"].values["tau"] == 4.0
    np.testing.assert_array_equal(graph.nodes["0"].values["weight"], NODES["0"][1]["weight"])


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1.0.9", "was written by nir 1.0.9, expected 1.0.8, the newest supported version, or older$"),
        ("2.0", "was written by nir 2.0, expected 1.0.8, the newest supported version, or older$"),
        ("new\nest", r"has version new\\nest, expected a version such as 1.0.8$"),
    ],
)
def test_other_versions_are_refused(path, version, message):
    with pytest.raises(UserError, match=f"^{path}: {message}"):
        nir_file.read(write(path, NODES, version=version))


@pytest.mark.parametrize("version", ["0.2", "1.0", "1.0.4", "1.0.8"])
def test_older_versions_are_read(path, version):
    assert nir_file.read(write(path, NODES, version=version)).edges


def without(name):
    def change(file):
        del file[name]

    return change


def single(file):
    for name in list(file["node"]):
        del file["node"][name]
    file["node/type"] = "LIF"


def huge(file):
    file.create_dataset("node/nodes/0/extra", (2**20, 2**20), np.float32, chunks=(1024, 1024))


def within_itself(file):
    file["node/nodes/again"] = file["node"]


def absent(file):
    file["node/nodes/1/v_leak_too"] = h5py.ExternalLink("/nowhere.h5", "/x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("version"), "is an HDF5 file without nir's version, expected a graph"),
        (without("node"), "is an HDF5 file without a node, expected a graph"),
        (without("node/edges"), "truncated or damaged, expected a graph written by nir.write"),
        (without("node/nodes/0/type"), "truncated or damaged"),
        (single, "contains a single LIF, expected a graph"),
        (huge, r"/node/nodes/0/extra has shape \[1048576, 1048576\], expected as many values as are stored"),
        (within_itself, "graphs are nested more than 16 deep"),
        (absent, "/node/nodes/1/v_leak_too is a link, expected an object in the file itself"),
    ],
)
def test_hdf5_files_with_other_content_are_refused(path, change, message):
    write(path, NODES)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=f"^{path}: {message}") as caught:
        nir_file.read(str(path))
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(path):
    with pytest.raises(UserError, match=f"^{path}: no such file, expected a graph written by nir.write$"):
        nir_file.read(str(path))
    for content in (b"", b"PK\x03\x04 a zip", b"\x89HDF\r\n\x1a"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"^{path}: isn't an HDF5 file, expected a graph"):
            nir_file.read(str(path))


def test_a_truncated_file_is_refused_at_any_length(path):
    write(path, NODES)
    content = path.read_bytes()
    for size in range(8, len(content), len(content) // 40):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match=f"^{path}: truncated or damaged, expected") as caught:
            nir_file.read(str(path))
        assert "\n" not in str(caught.value)


def test_a_file_is_recognized_by_its_name_or_content(tmp_path):
    named, signed, other = tmp_path / "a.nir", tmp_path / "graph.h5", tmp_path / "net.pt"
    named.write_bytes(b"nothing")
    write(signed, NODES)
    other.write_bytes(b"PK")
    assert [nir_file.is_nir(str(one)) for one in (named, signed, other, tmp_path / "absent")] == [
        True,
        True,
        False,
        False,
    ]


def test_hard_links_are_followed_and_nodes_counted_by_their_links(path, monkeypatch):
    write(path, NODES)
    with h5py.File(path, "r+") as file:
        file["node/nodes/2"] = file["node/nodes/1"]
    assert nir_file.read(str(path)).nodes["2"].kind == "LIF"
    monkeypatch.setattr(nir_file, "MOST_NODES", 5)
    with pytest.raises(UserError, match=f"^{path}: has more than 5 nodes"):
        nir_file.read(str(path))
    monkeypatch.setattr(nir_file, "MOST_NODES", 6)  # the graph itself and its five nodes
    assert len(nir_file.read(str(path)).nodes) == 5


def test_a_newer_version_can_be_accepted(path):
    assert nir_file.read(write(path, NODES, version="9.0"), newer=True).edges
