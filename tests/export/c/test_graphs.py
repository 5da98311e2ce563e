"""Networks that aren't chains: the memory that network.h states, and refusals."""

import pytest
from c_networks import conv, drawn, graph, linear, node
from compilers import constants, stated_memory
from networks import network
from refusals import assert_line, refusing

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
    ],
    ids=["a pooled image", "a pool of a pool", "a maximum of a sum", "a delayed image", "a delayed current"],
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
