"""Delays and cycles in NIR files: what they mean by NIR's definition, come back as, and which are refused."""

import nir_definition
import numpy as np
import pytest
from backends import expected, last, nir_file, torch_input
from networks import network
from refusals import assert_line

from csnn_jax.config import ModelConfig
from csnn_jax.config.nodes import NodeConfig
from csnn_jax.runs import layouts
from csnn_torch.foreign import nir_network
from csnn_torch.programs import definition
from export.graphs import nir_graph

pytestmark = pytest.mark.numeric

STEPS = 12


def leaky(name, *inputs, **settings):
    return NodeConfig(name, "leaky", inputs, **{"reset": "zero", "beta": 0.75, "threshold": 0.5} | settings)


def linear(name, source, channels, **settings):
    return NodeConfig(name, "linear", source, channels=channels, **settings)


def graph(*nodes):
    return ModelConfig(input_shape=(4, 4, 1), network=list(nodes), time_steps=STEPS)


FLAT = NodeConfig("flat", "flatten", "image")
IN, OUT = linear("fc1", "flat", 8), linear("fc2", "lif1", 3)
LAST = leaky("lif2", "fc2")
BACK = FLAT, IN, leaky("lif1", "fc1", "back"), OUT, LAST


def drawn(config):
    """Random weights on their grids."""
    random, tensors = np.random.default_rng(0), {}
    for name, shape in layouts.expected_shapes(config).items():
        spread = 3 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.5
        tensors[name] = (random.normal(size=shape) * spread).astype(np.float32)
    return layouts.on_grid(config, tensors)


@pytest.mark.parametrize("name", ["delays of all kinds", "delayed spikes"])
def test_delays_mean_what_nir_defines(name):
    config = network(name).config
    assert nir_graph.has_delays(config.graph)
    file = nir_graph.read(nir_file("snntorch", name))
    nodes = {key: (type(node).__name__, stored(node)) for key, node in file.nodes.items()}
    x = torch_input(name)
    layer_spikes = nir_definition.run_graph(nodes, file.edges, [], x, config.time_steps, definition.DT)
    for node in config.graph.neurons:
        (spikes,) = (one for key, one in layer_spikes.items() if key.endswith(f"_{node.name}"))
        spikes = last(spikes) if spikes.ndim == 5 else spikes
        np.testing.assert_array_equal(spikes, expected(name)[f"{node.name}.spikes"])


def stored(node):
    """A node's arrays and numbers."""
    return {key: value for key, value in vars(node).items() if isinstance(value, (np.ndarray, int, float, str))}


DELAYED = {
    "a delay outside cycles": graph(FLAT, IN, leaky("lif1", "fc1"), linear("fc2", "lif1@1", 3), LAST),
    "a delay elsewhere": graph(*BACK[:3], linear("fc2", "lif1@1", 3), LAST, linear("back", "lif2", 8)),
    "a cycle entered twice": graph(
        *(FLAT, IN, leaky("lif1", "fc1", "back@1"), OUT, linear("skip", "flat", 3), leaky("lif2", "fc2", "skip")),
        linear("back", "lif2", 8),
    ),
    "a shared recurrent layer": graph(
        *(FLAT, IN, leaky("lif1", "fc1", "back"), linear("fc2", "lif1", 8), leaky("lif2", "fc2", "back")),
        *(linear("back", "lif1@1", 8), linear("fc3", "lif2", 3), leaky("lif3", "fc3")),
    ),
}


@pytest.mark.parametrize("name", DELAYED)
def test_delays_that_readers_would_not_imply_come_back(tmp_path, name):
    config, tensors, path = DELAYED[name], drawn(DELAYED[name]), tmp_path / "network.nir"
    nir_graph.write(path, config, tensors)
    imported = nir_network.read(str(path))
    ours, theirs = config.graph, imported.config.graph
    assert all({*ours.reads(node)} == {*theirs.reads(theirs[node.name])} for node in (*ours.neurons, *ours.weighted))
    rounded = layouts.on_grid(imported.config, imported.tensors)
    assert {key: value.tobytes() for key, value in rounded.items()} == {k: v.tobytes() for k, v in tensors.items()}


SEPARATE = leaky("lif1", "fc1", "back", separate=True)
REFUSED = {
    "separate": (graph(*BACK[:2], linear("back", "lif1@1", 8), SEPARATE, OUT, LAST), ("lif1", "one by one")),
    "a bias that no other layer takes": (
        graph(
            *(FLAT, linear("fc1", "flat", 8, bias=False), leaky("lif1", "fc1", "back"), OUT, LAST),
            linear("back", "lif2@1", 8),
        ),
        ("bias",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_networks_that_readers_would_run_differently_are_refused(name):
    config, facts = REFUSED[name]
    assert_line(nir_graph.reason_against(config, drawn(config)), *facts)
