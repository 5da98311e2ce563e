"""The contents of a NIR file are read exactly as stored; damaged and unrelated files are refused with one line."""

import h5py
import numpy as np
import pytest
from nir_files import affine, chained, lif, sixteenths, write
from refusals import refusing

from csnn_jax.errors import UserError
from csnn_torch.foreign import hdf5, nir_file

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
    ("version", "facts"),
    [("1.0.9", ("1.0.9", "1.0.8")), ("2.0", ("2.0", "1.0.8")), ("new\nest", (r"new\nest", "1.0.8"))],
)
def test_other_versions_are_refused(path, version, facts):
    with refusing(UserError, path, *facts):
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
    ("change", "facts"),
    [
        (without("version"), ("version",)),
        (without("node"), ("a node",)),
        (without("node/edges"), ("/node/edges", "nir.write")),
        (without("node/nodes/1/type"), ("/node/nodes/1/type", "nir.write")),
        (single, ("LIF",)),
        (huge, ("node/nodes/0/extra", "[1048576, 1048576]")),
        (within_itself, ("nested", 16)),
        (absent, ("node/nodes/1/v_leak_too",)),
    ],
)
def test_hdf5_files_with_other_content_are_refused(path, change, facts):
    write(path, NODES)
    with h5py.File(path, "r+") as file:
        change(file)
    with refusing(UserError, path, *facts):
        nir_file.read(str(path))


def test_other_files_are_refused(path):
    with refusing(UserError, path, "no such file"):
        nir_file.read(str(path))
    for content in (b"", b"PK\x03\x04 a zip", b"\x89HDF\r\n\x1a"):
        path.write_bytes(content)
        with refusing(UserError, path, "HDF5"):
            nir_file.read(str(path))


def test_a_file_that_hdf5_would_read_forever_is_refused(path, monkeypatch):
    write(path, NODES)
    content = bytearray(path.read_bytes())
    content[content.index(b"GCOL") + 25] = 1  # the first text has 261 bytes
    path.write_bytes(content)
    monkeypatch.setattr(hdf5, "_SECONDS", 0)
    with refusing(UserError, path, "too long"):
        nir_file.read(str(path))
    assert nir_file.read(write(path, NODES)).edges


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
    with refusing(UserError, path, "5 nodes"):
        nir_file.read(str(path))
    monkeypatch.setattr(nir_file, "MOST_NODES", 6)  # the graph itself and its five nodes
    assert len(nir_file.read(str(path)).nodes) == 5


def test_a_newer_version_can_be_accepted(path):
    assert nir_file.read(write(path, NODES, version="9.0"), newer=True).edges
