"""Recurrent and branched networks as NIR: snnTorch's importer and our reader give the same membranes, or a refusal."""

import nir_definition
import numpy as np
import pytest
import torch
from refusals import assert_line

from csnn_jax.config import ModelConfig
from csnn_jax.config.nodes import NodeConfig
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.runs import layouts
from csnn_jax.window import Trace, joined
from csnn_torch.foreign import nir_network
from csnn_torch.library import Torch
from csnn_torch.programs import PROGRAMS, definition
from export.graphs import nir_graph
from export.parts.nir import run, run_defined

pytestmark = pytest.mark.numeric

STEPS = 12
CLEAR = {"neuron": "synaptic", "reset": "clear", "alpha": 0.5}
FLAGS = {"hidden": (8, 6), "num_classes": 3, "reset": "zero", "beta": 0.75, "threshold": 0.5, "time_steps": STEPS}


def chain(**fields):
    return ModelConfig(**{"input_shape": (4, 4, 1), "conv_channels": ()} | FLAGS | fields)


def leaky(name, *inputs, **settings):
    return NodeConfig(name, "leaky", inputs, **{"reset": "zero", "beta": 0.75, "threshold": 0.5} | settings)


def linear(name, source, channels, **settings):
    return NodeConfig(name, "linear", source, channels=channels, **settings)


def network(*nodes):
    return ModelConfig(input_shape=(4, 4, 1), network=list(nodes), time_steps=STEPS)


FLAT = NodeConfig("flat", "flatten", "image")
IN, OUT = linear("fc1", "flat", 8), linear("fc2", "lif1", 3)
LAST = leaky("lif2", "fc2")
BACK = FLAT, IN, leaky("lif1", "fc1", "back"), OUT, LAST
SYN = {"reset": "clear", "beta": 0.75, "alpha": 0.5}
NETWORKS = {
    "all to all": chain(recurrent=("fc1", "fc3")),
    "one to one": chain(recurrent=("fc1:one", "fc2")),
    "synaptic": chain(recurrent=("fc1", "fc2:one"), **CLEAR),
    "after convolutions": chain(input_shape=(8, 8, 1), conv_channels=(3,), pool="avg", hidden=(8,), recurrent=("fc1",)),
    "with a bias": network(*BACK[:2], linear("back", "lif1@1", 8), *BACK[2:]),
    "a longer cycle": network(*BACK, linear("back", "lif2@1", 8)),
    "cycles in a cycle": network(
        *(*BACK[:2], linear("back", "lif2@1", 8), linear("a", "lif1@1", 8), leaky("lif1", "fc1", "back", "a")),
        *(OUT, LAST),
    ),
    "around a layer": network(
        *(FLAT, IN, leaky("lif1", "fc1"), linear("fc2", "lif1", 8), leaky("lif2", "fc2")),
        *(linear("fc3", "lif2", 3), linear("skip", "lif1", 3), leaky("lif3", "fc3", "skip")),
    ),
    "two kinds": network(
        *(FLAT, IN, leaky("lif1", "fc1"), OUT, linear("rec", "lif2@1", 3)),
        NodeConfig("lif2", "synaptic", ("fc2", "rec"), threshold=0.5, **SYN),
    ),
    "a recurrent convolution": network(
        NodeConfig("conv", "convolution", "image", channels=3, kernel=3, padding=1),
        NodeConfig("rec", "convolution", "lif1@1", channels=3, kernel=3, padding=1),
        *(leaky("lif1", "conv", "rec"), NodeConfig("flat", "flatten", "lif1"), linear("fc2", "flat", 3), LAST),
    ),
    "a residual layer": network(
        *(FLAT, IN, leaky("lif1", "fc1"), linear("fc2", "lif1", 8), leaky("lif2", "fc2")),
        *(linear("fc3", ("lif1", "lif2"), 3), leaky("lif3", "fc3")),
    ),
    "residual blocks": chain(
        **{"input_shape": (8, 8, 1), "conv_channels": (3, 3, 5), "pool": ("avg", "none", "sum")},
        **{"residual": ("conv2", "conv3"), "hidden": ()},
    ),
    "residual blocks of pooled spikes": chain(
        **{"input_shape": (8, 8, 1), "conv_channels": (3, 3, 5), "pool": ("avg", "avg", "none"), "pool_after": True},
        **{"residual": ("conv2", "conv3"), "hidden": (), "threshold": 0.25},
    ),
    "nodes in another order": network(*reversed(BACK), linear("back", "lif2@1", 8)),
}


def firing(config):
    """Weights and images for which every layer fires."""
    for seed in range(50):
        tensors, x = drawn(config, seed)
        if all(0.02 < spikes.mean() < 0.7 for spikes in traced(config, tensors, x).spikes.values()):
            return tensors, x
    raise AssertionError(f"no seed makes every layer of {config} fire")


def drawn(config, seed=0):
    """Random weights on their grids, and images."""
    random, tensors = np.random.default_rng(seed), {}
    for name, shape in layouts.expected_shapes(config).items():
        spread = 3 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.5
        tensors[name] = (random.normal(size=shape) * spread).astype(np.float32)
    images = random.integers(0, 256, (5, config.input_shape[2], *config.input_shape[:2]))
    return layouts.on_grid(config, tensors), torch.tensor(images / 256, dtype=torch.float32)


def traced(config, tensors, x):
    library = Torch()
    steps = library.run(config.graph, library.parameters(config.graph, tensors), x, STEPS)
    names = [node.name for node in config.graph.neurons]
    return joined((Trace(one.states, {name: one.values[name] for name in names}) for one in steps), torch.stack)


@pytest.mark.parametrize("name", NETWORKS)
def test_snntorch_and_our_reader_give_the_same_spikes(tmp_path, name):
    config, path = NETWORKS[name], tmp_path / "network.nir"
    tensors, x = firing(config)
    assert nir_graph.reason_against(config, tensors) is None
    nir_graph.write(path, config, tensors)
    ours = traced(config, tensors, x)
    found = nir_network.read(str(path))
    assert [node.name for node in found.config.graph.neurons] == [node.name for node in config.graph.neurons]
    recurrent = ({(one.name, *one.inputs) for one in side.graph.recurrent} for side in (config, found.config))
    assert next(recurrent) == next(recurrent)
    back = traced(found.config, layouts.on_grid(found.config, found.tensors), x)
    for node, states in ours.states.items():
        assert all(torch.equal(state, back.states[node][key]) for key, state in states.items())

    theirs = run(nir_graph.read(path), x, STEPS)
    for spikes, expected in zip(theirs, ours.spikes.values(), strict=True):
        assert torch.equal(spikes, expected)


def test_recurrence_matters():
    config = NETWORKS["all to all"]
    tensors, x = drawn(config)
    without = traced(config, tensors | {"rec1.weight": 0 * tensors["rec1.weight"]}, x)
    assert not torch.equal(traced(config, tensors, x).spikes["lif1"], without.spikes["lif1"])


SEPARATE = leaky("lif1", "fc1", "back", separate=True)
DELAYED = {
    "a delay outside cycles": network(FLAT, IN, leaky("lif1", "fc1"), linear("fc2", "lif1@1", 3), LAST),
    "a delay elsewhere": network(*BACK[:3], linear("fc2", "lif1@1", 3), LAST, linear("back", "lif2", 8)),
    "an image, spikes and a current": network(
        *(
            NodeConfig("conv", "convolution", ("image", "image@2"), channels=3, kernel=3, padding=1),
            leaky("lif1", "conv"),
        ),
        *(NodeConfig("pool", "avg_pool", ("lif1", "lif1@4")), NodeConfig("flat", "flatten", "pool@1")),
        *(
            linear("fc1", "flat", 8),
            leaky("lif2", "fc1", "fc1@2"),
            linear("fc2", "lif2", 3),
            linear("back", "lif3@3", 3),
        ),
        leaky("lif3", "fc2", "back"),
    ),
    "a cycle entered twice": network(
        *(FLAT, IN, leaky("lif1", "fc1", "back@1"), OUT, linear("skip", "flat", 3), leaky("lif2", "fc2", "skip")),
        linear("back", "lif2", 8),
    ),
    "a shared recurrent layer": network(
        *(FLAT, IN, leaky("lif1", "fc1", "back"), linear("fc2", "lif1", 8), leaky("lif2", "fc2", "back")),
        *(linear("back", "lif1@1", 8), linear("fc3", "lif2", 3), leaky("lif3", "fc3")),
    ),
}


@pytest.mark.parametrize("name", DELAYED)
def test_delays_come_back(tmp_path, name):
    config, path = DELAYED[name], tmp_path / "network.nir"
    tensors, x = firing(config)
    assert nir_graph.reason_against(config, tensors) is None
    nir_graph.write(path, config, tensors)
    found = nir_network.read(str(path))
    back = traced(found.config, layouts.on_grid(found.config, found.tensors), x)
    ours = traced(config, tensors, x)
    for node, states in ours.states.items():
        assert torch.equal(states[MEMBRANE], back.states[node][MEMBRANE])
        graph = config.graph
        assert {*graph.reads(graph[node])} == {*found.config.graph.reads(found.config.graph[node])}
    for spikes, expected in zip(run_defined(path, config, x, STEPS), ours.spikes.values(), strict=True):
        assert torch.equal(spikes, expected)
    graph = nir_graph.read(path)
    nodes = {key: (type(node).__name__, stored(node)) for key, node in graph.nodes.items()}
    theirs = nir_definition.run_graph(nodes, graph.edges, [], x, STEPS, definition.DT)
    for node, spikes in ours.spikes.items():
        (expected,) = (one for key, one in theirs.items() if key.endswith(f"_{node}"))
        np.testing.assert_array_equal(spikes, expected)


def stored(node):
    """A node's arrays and numbers."""
    return {key: value for key, value in vars(node).items() if isinstance(value, (np.ndarray, int, float, str))}


REFUSED = {
    "separate": (network(*BACK[:2], linear("back", "lif1@1", 8), SEPARATE, OUT, LAST), ("lif1", "one by one")),
    "deduct": (network(FLAT, IN, leaky("lif1", "fc1", reset="deduct"), OUT, LAST), ("deduct", "lif1")),
    "a bias that no other layer takes": (
        network(
            *(FLAT, linear("fc1", "flat", 8, bias=False), leaky("lif1", "fc1", "back"), OUT, LAST),
            linear("back", "lif2@1", 8),
        ),
        ("bias",),
    ),
    "max": (
        network(
            NodeConfig("conv", "convolution", "image", channels=2, kernel=3),
            *(NodeConfig("pool", "max_pool", "conv"), leaky("lif1", "pool"), NodeConfig("flat", "flatten", "lif1")),
            *(linear("fc2", "flat", 3), LAST),
        ),
        ("max-pooling",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_networks_that_readers_would_run_differently_are_refused(name):
    config, facts = REFUSED[name]
    assert_line(nir_graph.reason_against(config, drawn(config)[0]), *facts)


@pytest.mark.parametrize("program", ["norse", "sinabs", "spikingjelly"])
def test_other_programs_get_chains_only(program):
    config = chain(hidden=(8,), recurrent=("fc1",), beta=0.5)
    target = PROGRAMS[program].target
    assert_line(nir_graph.reason_against(config, drawn(config)[0], target), target.file, "rec1", "lif1@1")
