"""Networks that aren't chains: the memory that network.h states, and refusals."""

import ctypes

import pytest
from c_networks import conv, drawn, graph, linear, node
from compilers import constants, stated_memory
from networks import network
from refusals import assert_line, refusing

from csnn_jax.config import ModelConfig
from export import parts
from export.c import headers, layout, program


@pytest.mark.parametrize(
    "name",
    ["names, latency, 3 bits", "recurrent convolution, 4 bits", "recurrent twice, averages, 3 bits", "delayed sums"],
)
def test_the_stated_memory_is_correct(built, name):
    config, folder = network(name).config, built(name)
    flash, ram, _ = stated_memory(folder)
    state = program.Library(folder / "libcsnn.so", config).state_bytes
    assert 0 <= state - ram < 8
    assert flash == headers.weight_bytes(config) == 4 * constants(folder)


WIDE = {"conv_channels": (), "hidden": (65_535,)}
LARGE = {"conv_channels": (1,), "hidden": (), "stride": 8, "pool": "none", "input_shape": (255, 257, 1)}


@pytest.mark.parametrize(("fields", "more"), [(WIDE, {"hidden": (65_536,)}), (LARGE, {"input_shape": (256, 256, 1)})])
def test_indices_have_16_bits_as_long_as_they_suffice(fields, more):
    """The end of a list is one of them."""
    configs = (ModelConfig(**{"input_shape": (2, 2, 1)} | one) for one in (fields, fields | more))
    assert [*map(headers.index_type, configs)] == [ctypes.c_uint16, ctypes.c_uint32]


def test_features_of_other_shapes_are_not_added():
    nodes = [node("dot", "convolution", "image", channels=1, kernel=1), node("lif", "leaky", "dot")]
    nodes += [node("all", "flatten", "lif"), linear("fc", "all", 64), node("same", "leaky", "fc")]
    nodes += [linear("wide", "all same", 3), node("answer", "leaky", "wide")]
    assert_line(layout.reason_against(graph(*nodes, input_shape=(8, 8, 1))), "wide", "shapes")


SUM = conv("one", "image"), conv("two", "image"), node("pool", "avg_pool", "one two")


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ((node("small", "avg_pool", "image"), conv("conv", "small")), ("small", "image")),
        (
            (conv("one", "image"), node("pool-1", "max_pool", "one"), node("conv", "max_pool", "pool-1", size=2)),
            ("conv", "pool-1"),
        ),
        ((conv("one", "image"), conv("two", "image"), node("conv", "max_pool", "one two")), ("conv", "one")),
        ((conv("conv", "image image@2"),), ("conv", "image@2")),
        ((conv("conv", "image"), node("lif", "leaky", "conv conv@2"), conv("next", "lif")), ("lif", "conv@2")),
        ((*SUM, node("lif", "leaky", "pool", separate=True), conv("next", "lif")), ("pool", "one")),
    ],
    ids=[
        "a pooled image",
        "a pool of a pool",
        "a maximum of a sum",
        "a delayed image",
        "a delayed current",
        "one by one",
    ],
)
def test_what_c_lacks_is_refused_by_name(tmp_path, nodes, names):
    config = graph(
        *nodes,
        node("last", "leaky", nodes[-1].name),
        node("flat", "flatten", "last"),
        linear("fc", "flat", 3),
        node("answer", "leaky", "fc"),
        input_shape=(8, 8, 1),
    )
    tensors = drawn(config, 0)
    reason = layout.reason_against(config)
    assert_line(reason, *names)
    assert not [name for part in parts.possible(config, tensors) for name in part.what if "c/" in name]
    with refusing(ValueError, *names):
        program.write_sources(tmp_path, config, tensors)
    assert not [*tmp_path.iterdir()]
