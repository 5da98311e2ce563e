"""The nodes of a graph are returned in execution order, or one line says why they don't form a chain."""

import itertools
import time

import numpy as np
import pytest
from nir_files import affine, chained, lif, sixteenths, write

from csnn_jax.errors import UserError
from csnn_torch.foreign import nir_chain, nir_file
from csnn_torch.foreign.nir_file import Graph, StoredNode

LAYERS = affine(sixteenths(0, 5, 6)), lif(), affine(sixteenths(1, 2, 5)), lif()
NODES = chained((6,), *LAYERS)
EDGES = list(itertools.pairwise(NODES))


@pytest.fixture
def read(tmp_path):
    return lambda *graph: nir_chain.chain(nir_file.read(write(tmp_path / "net.nir", *graph)), "net.nir")


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
    ("nodes", "edges", "message"),
    [
        ({}, [("3", "0")], "has the cycle `0` -> `1` -> `2` -> `3` -> `0`, expected a network without recurrence"),
        ({}, [("1", "1")], "has the cycle `1` -> `1`, expected"),
        ({"again": INPUT}, [("again", "2")], "has 2 nodes of kind Input, `again`, `input`, expected one"),
        ({"again": OUTPUT}, [("2", "again")], "has 2 nodes of kind Output, `again`, `output`, expected one"),
        ({}, [("0", "3")], "`0` feeds `1`, `3`, expected a chain of nodes"),
        ({"x": LAYERS[1]}, [("x", "3")], "`3` is fed by `2`, `x`, expected a chain of nodes"),
        ({"x": LAYERS[1]}, [], "`x` isn't in the chain from Input to Output, expected all nodes in it"),
        ({}, [("3", "x")], "has an edge from `3` to `x`, but no node `x`"),
        ({"x\n": LAYERS[1]}, [], r"`x\\n` isn't in"),
        ({"x": (NODES | {"in": INPUT}, EDGES)}, [], "`x`: has 2 nodes of kind Input, `in`, `input`, expected one"),
    ],
)
def test_a_graph_that_is_no_chain_is_refused_with_names(read, nodes, edges, message):
    with pytest.raises(UserError, match=f"^net.nir: {message}"):
        read(NODES | nodes, EDGES + edges)


def test_loose_ends_are_refused(read):
    with pytest.raises(UserError, match=r"^net.nir: `2` feeds nothing, expected a chain that ends at `output`$"):
        read(NODES, [edge for edge in EDGES if edge != ("2", "3")])
    with pytest.raises(UserError, match=r"^net.nir: has 0 nodes of kind Input, expected one$"):
        read({name: node for name, node in NODES.items() if name != "input"}, EDGES[1:])


def test_a_node_reports_its_place_and_missing_parameters(read):
    odd = ("LIF", {"tau": np.array([1.0, np.inf]), "r": "one", "v_leak": np.zeros(0)})
    node = read(chained((6,), LAYERS[0], odd)).nodes[1]
    for name, message in (
        ("tau", "tau is inf, expected finite numbers"),
        ("r", r"r is <U3 \[\], expected numbers"),
        ("v_leak", r"v_leak is float64 \[0\], expected numbers"),
        ("v_threshold", "LIF has no v_threshold, expected one"),
    ):
        with pytest.raises(UserError, match=f"^net.nir: node 2, `1`: {message}$"):
            node.numbers(name)


def test_a_long_chain_takes_no_time():
    nodes = {str(number): StoredNode("Scale", {}) for number in range(10_000)}
    nodes = {"a": StoredNode("Input", {}), **nodes, "z": StoredNode("Output", {})}
    began = time.monotonic()
    assert len(nir_chain.chain(Graph(nodes, [*itertools.pairwise(nodes)], {}), "file").nodes) == 10_000
    assert time.monotonic() - began < 5
