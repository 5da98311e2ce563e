"""A NIR file is read exactly as stored and its nodes are put in order, or one line says why that fails."""

import itertools

import h5py
import numpy as np
import pytest
from limits import limited
from nir_files import affine, chained, lif, sixteenths, write
from refusals import refusing

from csnn_jax.errors import UserError
from csnn_torch.foreign import hdf5, nir_file
from csnn_torch.foreign.nir_file import Graph, StoredNode

LAYERS = affine(sixteenths(0, 5, 6)), lif(), affine(sixteenths(1, 2, 5)), lif()
NODES = chained((6,), *LAYERS)
EDGES = list(itertools.pairwise(NODES))
INPUT, OUTPUT = NODES["input"], NODES["output"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.nir"


@pytest.fixture
def chain(path):
    return lambda *graph: nir_file.ordered(nir_file.read(write(path, *graph)), "net.nir")


def test_nodes_edges_and_metadata_are_read_unchanged(path):
    graph = nir_file.read(write(path, NODES, metadata={"dt": 0.5, "encoding": "rate"}))
    assert list(graph.nodes) == ["0", "1", "2", "3", "input", "output"] and graph.edges == EDGES
    assert graph.metadata == {"dt": 0.5, "encoding": "rate"}
    assert graph.nodes["0"].kind == "Affine" and graph.nodes["1"].values["tau"] == 4.0
    np.testing.assert_array_equal(graph.nodes["0"].values["weight"], NODES["0"][1]["weight"])


@pytest.mark.parametrize(
    ("version", "facts"),
    [("1.0.9", ("1.0.9", "1.0.8")), ("2.0", ("2.0", "1.0.8")), ("1.x", ("1.x",)), ("n\ne", (r"n\ne", "1.0.8"))],
)
def test_other_versions_are_refused(path, version, facts):
    with refusing(UserError, path, *facts):
        nir_file.read(write(path, NODES, version=version))


@pytest.mark.parametrize(("version", "newer"), [("0.2", False), ("1.0", False), ("1.0.8", False), ("9.0", True)])
def test_older_versions_are_read_and_newer_ones_can_be_accepted(path, version, newer):
    assert nir_file.read(write(path, NODES, version=version), newer).edges


def without(name):
    return lambda file: file.__delitem__(name)


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
    write(path, short := chained((6,), affine(sixteenths(0, 2, 6)), lif()))
    content = bytearray(path.read_bytes())
    content[content.index(b"GCOL") + 25] = 1  # the first text has 261 bytes
    path.write_bytes(content)
    monkeypatch.setattr(hdf5, "_SECONDS", 0)
    with refusing(UserError, path, "too long"):
        nir_file.read(str(path))
    assert nir_file.read(write(path, short)).edges


def test_a_file_is_recognized_by_its_name_or_content(tmp_path):
    (tmp_path / "a.nir").write_bytes(b"nothing")
    (tmp_path / "net.pt").write_bytes(b"PK")
    write(tmp_path / "graph.h5", NODES)
    names = "a.nir", "graph.h5", "net.pt", "absent"
    assert [nir_file.is_nir(str(tmp_path / name)) for name in names] == [True, True, False, False]


def test_hard_links_are_followed_and_nodes_counted_by_their_links(path, monkeypatch):
    write(path, NODES)
    with h5py.File(path, "r+") as file:
        file["node/nodes/4"] = file["node/nodes/1"]
    assert nir_file.read(str(path)).nodes["4"].kind == "LIF"
    monkeypatch.setattr(nir_file, "MOST_NODES", 7)
    with refusing(UserError, path, "7 nodes"):
        nir_file.read(str(path))
    monkeypatch.setattr(nir_file, "MOST_NODES", 8)  # the graph itself and its seven nodes
    assert len(nir_file.read(str(path)).nodes) == 7


def test_a_file_has_at_most_so_many_texts_values_and_bytes(path, monkeypatch):
    monkeypatch.setattr(nir_file, "MOST_NODES", 7)
    assert len(nir_file.read(write(path, NODES, (3 * EDGES)[:14])).edges) == 14
    with refusing(UserError, path, "/node/edges", "30 texts"):
        nir_file.read(write(path, NODES, 3 * EDGES))
    for count in (32, 33):
        many = {str(number): 1.0 for number in range(count)}
        write(path, NODES | {"1": ("LIF", many)})
        if count == 32:
            assert nir_file.read(str(path)).nodes["1"].values == many
    with refusing(UserError, path, "/node/nodes/1", 33, 32):
        nir_file.read(str(path))
    monkeypatch.setattr(nir_file, "available_memory", lambda: 1000)
    with refusing(UserError, path, "memory"):
        nir_file.read(write(path, NODES))
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("stored", data=np.ones(2**21, np.uint8))
        empty = [file.create_dataset(str(size), size, np.uint8, chunks=(64,)) for size in (2**20, 2**20 + 1)]
        assert [hdf5.is_stored(one) for one in (stored, *empty)] == [True, True, False]


def test_edges_give_the_order_regardless_of_names_and_order_of_edges(chain):
    names = dict(zip(NODES, ("10", "b", "2", "a", "1", "9"), strict=True))
    nodes = {names[name]: NODES[name] for name in sorted(NODES)}
    for shift in range(len(EDGES)):
        edges = [(names[a], names[b]) for a, b in EDGES[shift:] + EDGES[:shift] + EDGES[:1]]
        ordered = chain(nodes, edges)
        assert [node.name for node in ordered.nodes] == ["b", "2", "a", "1"]
        assert [node.number for node in ordered.nodes] == [1, 2, 3, 4] and ordered.shape == (6,)


def test_nested_graphs_are_opened(chain):
    def inner(*nodes):
        named = chained((5,), *nodes)
        return named, list(itertools.pairwise(named))

    ordered = chain(chained((6,), LAYERS[0], inner(LAYERS[1], inner(LAYERS[2]), LAYERS[3])))
    assert [node.name for node in ordered.nodes] == ["0", "1.0", "1.1.0", "1.2"]
    assert [node.kind for node in ordered.nodes] == ["Affine", "LIF", "Affine", "LIF"]
    np.testing.assert_array_equal(ordered.nodes[2].numbers("weight"), LAYERS[2][1]["weight"])


BACK, CROSSED = affine(sixteenths(2, 5, 2)), affine(sixteenths(3, 5, 5))


@pytest.mark.parametrize(
    ("nodes", "edges", "closing", "order"),
    [
        ({}, [*EDGES, ("3", "0")], [("3", "0")], "0 1 2 3"),
        ({}, [*EDGES, ("1", "1")], [("1", "1")], "0 1 2 3"),
        ({}, [*EDGES, ("0", "3")], [], "0 1 2 3"),
        ({"a": BACK}, [*EDGES, ("3", "a"), ("a", "1")], [("a", "1")], "0 1 2 3 a"),
        ({"a": CROSSED}, [*EDGES, ("1", "a"), ("a", "1"), ("3", "3")], [("a", "1"), ("3", "3")], "0 1 2 3 a"),
        ({"a": BACK}, [*EDGES, ("3", "a"), ("a", "1"), ("3", "2")], [("a", "1"), ("3", "2")], "0 1 2 3 a"),
    ],
    ids=["back to the start", "itself", "a branch", "a longer cycle", "two cycles", "a cycle in a cycle"],
)
def test_a_cycle_is_closed_where_it_is_entered(chain, nodes, edges, closing, order):
    for shift in range(len(edges)):
        ordered = chain(NODES | nodes, edges[shift:] + edges[:shift])
        assert ordered.closing == frozenset(closing) and ordered.end == "3" and ordered.start == "input"
        assert [node.name for node in ordered.nodes] == order.split()
        reads = {(one, node.name) for node in ordered.nodes for one in node.inputs}
        assert reads | {("3", "output")} == set(edges)


def test_deep_cycles_are_refused():
    names = [str(number) for number in range(40)]
    nodes = {"input": StoredNode("Input", {}), **dict.fromkeys(names, StoredNode("Scale", {}))}
    nodes["output"] = StoredNode("Output", {})
    back = [(names[-1], name) for name in names]  # each is the start of a cycle within the one before
    with refusing(UserError, "file", 16):
        nir_file.ordered(Graph(nodes, [*itertools.pairwise(nodes), *back], {}), "file")


def test_more_connections_through_an_inner_input_than_nodes_are_refused(monkeypatch):
    scale, ends = StoredNode("Scale", {}), (StoredNode("Input", {}), StoredNode("Output", {}))
    inner = {"in": ends[0], "a": scale, "b": scale, "out": ends[1]}
    within = [("in", "a"), ("in", "b"), ("a", "out"), ("b", "out")]

    def read():
        nodes = {"input": ends[0], "a": scale, "b": scale, "x": Graph(inner, within, {}), "c": scale, "output": ends[1]}
        edges = [("input", "a"), ("input", "b"), ("a", "x"), ("b", "x"), ("x", "c"), ("c", "output")]
        return nir_file.ordered(Graph(nodes, edges, {}), "file")

    monkeypatch.setattr(nir_file, "MOST_NODES", 4)
    read()
    monkeypatch.setattr(nir_file, "MOST_NODES", 3)
    with refusing(UserError, "file", "`x.in`", 3):
        read()


@pytest.mark.parametrize(
    ("nodes", "edges", "facts"),
    [
        ({"a": CROSSED}, [*EDGES, ("input", "a"), ("a", "1"), ("1", "a")], ("entered", "`1`, `a`")),
        ({}, [*EDGES, ("2", "input")], ("`input`", "`2`")),
        ({}, [*EDGES, ("output", "2")], ("`output`", "`2`")),
        ({}, [*EDGES, ("1", "output")], ("`output`", "`1`, `3`")),
        ({}, [edge for edge in EDGES if edge != ("3", "output")], ("`output`", "nothing")),
        ({"x": LAYERS[1]}, [*EDGES, ("3", "x")], ("`x`", "output")),
        ({"again": INPUT}, [*EDGES, ("again", "2")], ("2 nodes", "Input", "`again`", "`input`")),
        ({"again": OUTPUT}, [*EDGES, ("2", "again")], ("2 nodes", "Output", "`again`", "`output`")),
        ({"input": LAYERS[1]}, EDGES, ("0 nodes", "Input")),
        ({"x": LAYERS[1]}, [*EDGES, ("x", "3")], ("`x`", "input")),
        ({"x": LAYERS[1]}, EDGES, ("`x`", "input")),
        ({}, [edge for edge in EDGES if edge != ("2", "3")], ("`3`", "input")),
        ({}, [*EDGES, ("3", "x")], ("an edge from `3` to `x`",)),
        ({"x\n": LAYERS[1]}, EDGES, ("`x\\n`",)),
        ({"x": (NODES | {"in": INPUT}, EDGES)}, EDGES, ("`x`", 2, "`in`", "`input`")),
    ],
)
def test_a_graph_without_an_order_is_refused_with_names(chain, nodes, edges, facts):
    with refusing(UserError, *facts, "net.nir"):
        chain(NODES | nodes, edges)


def test_a_node_reports_its_place_and_missing_parameters(chain):
    odd = ("LIF", {"tau": np.array([1.0, np.inf]), "r": "one", "v_leak": np.zeros(0)})
    node = chain(chained((6,), LAYERS[0], odd)).nodes[1]
    for name, facts in (
        ("tau", ("tau", "inf")),
        ("r", ("r", "<U3")),
        ("v_leak", ("v_leak", "float64", "[0]")),
        ("v_threshold", ("LIF", "v_threshold")),
    ):
        with refusing(UserError, *facts, "net.nir", 2, "`1`"):
            node.numbers(name)


def test_a_long_chain_takes_no_time():
    nodes = {str(number): StoredNode("Scale", {}) for number in range(10_000)}
    nodes = {"a": StoredNode("Input", {}), **nodes, "z": StoredNode("Output", {})}
    with limited():
        assert len(nir_file.ordered(Graph(nodes, [*itertools.pairwise(nodes)], {}), "file").nodes) == 10_000
