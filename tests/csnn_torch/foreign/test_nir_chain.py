"""The nodes of a graph are returned in execution order, or one line says why they don't form a chain."""

import itertools
import time

import numpy as np
import pytest
from nir_files import affine, chained, lif, sixteenths, write
from refusals import refusing

from csnn_jax.errors import UserError
from csnn_torch.foreign import nir_file
from csnn_torch.foreign.nir_file import Graph, StoredNode

LAYERS = affine(sixteenths(0, 5, 6)), lif(), affine(sixteenths(1, 2, 5)), lif()
NODES = chained((6,), *LAYERS)
EDGES = list(itertools.pairwise(NODES))


@pytest.fixture
def read(tmp_path):
    return lambda *graph: nir_file.chain(nir_file.read(write(tmp_path / "net.nir", *graph)), "net.nir")


def test_edges_give_the_order_regardless_of_names_and_order_of_edges(read):
    names = dict(zip(NODES, ("10", "b", "2", "a", "1", "9"), strict=True))
    nodes = {names[name]: NODES[name] for name in sorted(NODES)}
    for shift in range(len(EDGES)):
        edges = [(names[a], names[b]) for a, b in EDGES[shift:] + EDGES[:shift] + EDGES[:1]]
        found = read(nodes, edges)
        assert [node.name for node in found.nodes] == ["b", "2", "a", "1"]
        assert [node.number for node in found.nodes] == [1, 2, 3, 4] and found.shape == (6,)


def test_nested_graphs_are_opened(read):
    def inner(*nodes):
        found = chained((5,), *nodes)
        return found, list(itertools.pairwise(found))

    middle = inner(LAYERS[1], inner(LAYERS[2]), LAYERS[3])
    found = read(chained((6,), LAYERS[0], middle))
    assert [node.name for node in found.nodes] == ["0", "1.0", "1.1.0", "1.2"]
    assert [node.kind for node in found.nodes] == ["Affine", "LIF", "Affine", "LIF"]
    np.testing.assert_array_equal(found.nodes[2].numbers("weight"), LAYERS[2][1]["weight"])


INPUT, OUTPUT = NODES["input"], NODES["output"]


@pytest.mark.parametrize(
    ("nodes", "edges", "facts"),
    [
        ({}, [("3", "0")], ("cycle", "`0` -> `1` -> `2` -> `3` -> `0`")),
        ({}, [("1", "1")], ("cycle", "`1` -> `1`")),
        ({"again": INPUT}, [("again", "2")], ("2 nodes", "Input", "`again`", "`input`")),
        ({"again": OUTPUT}, [("2", "again")], ("2 nodes", "Output", "`again`", "`output`")),
        ({}, [("0", "3")], ("`0` feeds `1`, `3`",)),
        ({"x": LAYERS[1]}, [("x", "3")], ("`3`", "fed by `2`, `x`")),
        ({"x": LAYERS[1]}, [], ("`x`", "chain")),
        ({}, [("3", "x")], ("an edge from `3` to `x`",)),
        ({"x\n": LAYERS[1]}, [], ("`x\\n`",)),
        ({"x": (NODES | {"in": INPUT}, EDGES)}, [], ("`x`", 2, "`in`", "`input`")),
    ],
)
def test_a_graph_that_is_no_chain_is_refused_with_names(read, nodes, edges, facts):
    with refusing(UserError, *facts, "net.nir"):
        read(NODES | nodes, EDGES + edges)


def test_loose_ends_are_refused(read):
    with refusing(UserError, "net.nir", "`2`", "`output`"):
        read(NODES, [edge for edge in EDGES if edge != ("2", "3")])
    with refusing(UserError, "net.nir", "0 nodes", "Input"):
        read({name: node for name, node in NODES.items() if name != "input"}, EDGES[1:])


def test_a_node_reports_its_place_and_missing_parameters(read):
    odd = ("LIF", {"tau": np.array([1.0, np.inf]), "r": "one", "v_leak": np.zeros(0)})
    node = read(chained((6,), LAYERS[0], odd)).nodes[1]
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
    began = time.monotonic()
    assert len(nir_file.chain(Graph(nodes, [*itertools.pairwise(nodes)], {}), "file").nodes) == 10_000
    assert time.monotonic() - began < 5
