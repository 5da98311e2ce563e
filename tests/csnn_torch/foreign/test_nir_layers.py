"""Layers, pools, scales and neurons of NIR files give the spikes of NIR's definition, or an error names the node."""

import os
from pathlib import Path

import nir_definition
import numpy as np
import pytest
import torch
from nir_files import affine, chained, conv, cuba, delay, flatten, graph, lif, pool, sixteenths, write
from refusals import refusing

from csnn_jax.errors import UserError
from csnn_jax.runs import layouts
from csnn_jax.window import output
from csnn_torch.foreign import nir_network
from csnn_torch.library import Torch
from export import reference

pytestmark = pytest.mark.numeric

STEPS = 6
IMAGE, FLAT = (2, 8, 8), (16,)
CONV, SECOND = conv(sixteenths(0, 4, 2, 3, 3), bias=sixteenths(1, 4)), conv(sixteenths(2, 3, 4, 3, 3))
THIRD = conv(sixteenths(3, 3, 4, 2, 2), padding=0, stride=np.array([2, 2]))
WIDE = affine(sixteenths(4, 20, 48))
WIDE_12, WIDE_27, WIDE_147 = (affine(sixteenths(4, 20, size)) for size in (12, 27, 147))
END, LAST = (flatten(), WIDE, lif()), (lif(), flatten(), affine(sixteenths(4, 20, 48), sixteenths(5, 20)), lif())
FIRST, DENSE = affine(sixteenths(0, 24, 16), sixteenths(1, 24)), affine(sixteenths(2, 8, 24), sixteenths(3, 8))


def scale(*shape):
    """Powers of two of both signs."""
    draw = np.random.default_rng(8)
    return "Scale", {"scale": (2.0 ** draw.integers(-2, 2, shape) * draw.choice([-1, 1], shape)).astype(np.float32)}


def integrate(**values):
    return "IF", {"r": 1.0, "v_threshold": 1.0, "v_reset": 0.0} | values


def per_neuron(*values):
    return np.resize(np.array(values, np.float32), 24)


def filled(*shape):
    return lif(**{name: np.full(shape, value, np.float32) for name, value in lif()[1].items()})


UNUSUAL = {
    "padding of a pixel": (
        conv(sixteenths(0, 4, 2, 5, 5), padding=1),
        lif(),
        pool(2),
        SECOND,
        *LAST[:2],
        WIDE_27,
        lif(),
    ),
    "an even kernel, padded": (conv(sixteenths(0, 4, 2, 2, 2), padding=1), lif(), pool(2), SECOND, *LAST),
    "two pools": (CONV, pool(2), lif(v_threshold=2.0), pool(2, "AvgPool2d"), SECOND, *LAST[:2], WIDE_12, lif()),
    "pools before and after": (CONV, pool(2), lif(v_threshold=4.0), SECOND, lif(), pool(2), flatten(), WIDE_12, lif()),
    "a pool before all": (pool(2, "AvgPool2d"), CONV, lif(), SECOND, *LAST),
    "windows that overlap": (CONV, lif(), pool(2, stride=1), SECOND, lif(), flatten(), WIDE_147, lif()),
}
"""Chains that no flags describe."""
ODD = "Scale", {"scale": np.broadcast_to(np.array([0.5, -2, 1, 4])[:, None, None], (4, 8, 8)).copy()}
BEFORE_W_IN = "CubaLIF", {name: value for name, value in cuba()[1].items() if name != "w_in"}
NETWORKS = {
    "pools after": (CONV, lif(), pool(2), SECOND, lif(), *END),
    "pools before": (CONV, pool(2, "AvgPool2d"), lif(), SECOND, lif(), *END),
    "sums before": (CONV, pool(2), lif(v_threshold=4.0), SECOND, *LAST),
    "windows of 4 and 2": (
        *(CONV, lif(), pool(4), conv(sixteenths(2, 3, 4, 3, 3)), lif(), pool(2, "AvgPool2d")),
        *(flatten(), affine(sixteenths(4, 20, 3)), lif()),
    ),
    "strides, no padding": (CONV, lif(), THIRD, *LAST),
    "padding in words": (
        *(conv(sixteenths(0, 4, 2, 3, 3), padding="same"), lif()),
        *(conv(sixteenths(3, 3, 4, 2, 2), padding="valid", stride=2), *LAST),
    ),
    "a kernel of 1": (CONV, lif(), conv(sixteenths(3, 3, 4, 1, 1), stride=2), *LAST),
    "flattened before the neurons": (CONV, lif(), THIRD, flatten(-3), lif(v_threshold=np.ones(48)), WIDE, lif()),
    "flattened with a batch": (CONV, lif(), THIRD, lif(), flatten(1, 3), WIDE, lif()),
    "Linear": (CONV, lif(), THIRD, lif(), flatten(), ("Linear", {"weight": sixteenths(4, 20, 48)}), lif()),
    "scaled everywhere": (
        *(scale(2, 1, 1), CONV, scale(4, 1, 1), pool(2), scale(), lif(v_threshold=2.0**-6), scale(4, 1, 1)),
        *(SECOND, scale(1), lif(), scale(3, 4, 4), flatten(), scale(48), WIDE, scale(20), lif()),
    ),
    "scaled around a pool": (CONV, lif(), ODD, pool(2), scale(4, 1, 1), SECOND, lif(), *END),
    "only convolutions": (CONV, lif(), pool(4), conv(sixteenths(2, 5, 4, 2, 2), padding=0), lif()),
    "a padded convolution last": (
        *(CONV, lif(), pool(4), conv(sixteenths(2, 5, 4, 3, 3), padding=1, stride=3, bias=sixteenths(6, 5)), lif()),
    ),
    "only convolutions, flattened": (
        CONV,
        lif(),
        pool(8),
        conv(sixteenths(2, 5, 4, 1, 1), padding=0),
        flatten(),
        lif(),
    ),
    "synaptic": (CONV, cuba(), pool(2), SECOND, lif(), flatten(), WIDE, cuba()),
}
NEURONS = {
    "LIF": lif(),
    "LIF, arrays of one": filled(1),
    "LIF, full shape": filled(24),
    "LIF, a batch in front": filled(1, 24),
    "LIF, r 1": lif(r=1.0, v_threshold=0.25),
    "LIF, leak": lif(v_leak=0.5),
    "LIF, leak and reset": lif(v_leak=-0.5, v_reset=0.25),
    "LIF, a rest that's not 0": lif(v_leak=-2.0, v_reset=-2.0, v_threshold=-1.5),
    "LIF, each of its own": lif(tau=per_neuron(2, 4, 8), r=per_neuron(1, 2, 4, 8), v_threshold=per_neuron(0.5, 1, 2)),
    "LIF, of whole numbers": lif(tau=4, r=4, v_leak=0, v_threshold=1, v_reset=0),
    "LIF, forgets": lif(tau=1.0, r=1.0),
    "IF": integrate(),
    "IF, r": integrate(r=0.5, v_reset=-0.25),
    "CubaLIF": cuba(),
    "CubaLIF, r and w_in": cuba(r=2.0, w_in=1.0, v_threshold=0.5),
    "CubaLIF, a rest that's not 0": cuba(v_leak=0.5, v_reset=0.5, v_threshold=2.0),
    "CubaLIF, each of its own": cuba(tau_syn=per_neuron(2, 4), tau_mem=per_neuron(4, 4, 2), w_in=per_neuron(1, 2)),
    "CubaLIF, w_in of nir before it had one": BEFORE_W_IN,
}
NETWORKS |= {name: (FIRST, neurons, DENSE, lif()) for name, neurons in NEURONS.items()}


@pytest.fixture
def read(tmp_path):
    """Reads a network from a file with these nodes."""
    return lambda shape, *nodes, **settings: nir_network.read(
        write(tmp_path / "net.nir", chained(shape, *nodes)), **{"dt": 1.0} | settings
    )


def both(read, nodes):
    """The network as it's read, its trace, and what NIR's definition gives."""
    shape = FLAT if nodes[0] is FIRST else IMAGE
    network = read(shape, *nodes, scale=1.0, time_steps=STEPS)
    tensors = layouts.on_grid(network.config, network.tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, network.tensors[name])  # nothing was rounded
    height, width, channels = network.config.input_shape
    x = torch.randint(0, 3, (9, channels, height, width), generator=torch.Generator().manual_seed(0)).float()
    trace = reference.trace(reference.Step(network.config, tensors), x, STEPS)
    defined = [(kind, ({"w_in": 1.0} if kind == "CubaLIF" else {}) | values) for kind, values in nodes]
    return network, trace, nir_definition.run(defined, x.reshape(9, *shape), STEPS, 1.0)


@pytest.mark.parametrize("name", [*NETWORKS, *UNUSUAL])
def test_the_spikes_match_the_definition(read, name):
    network, trace, theirs = both(read, (NETWORKS | UNUSUAL)[name])
    assert bool(network.config.network) == (name in UNUSUAL)
    for layer, expected in zip(trace.spikes.values(), theirs, strict=True):
        assert 0.02 < expected.mean() < 0.98
        np.testing.assert_array_equal(layer.numpy().reshape(expected.shape), expected)
    assert bool(network.config.per_channel) == ("own" in name)
    assert network.config.neuron == ("synaptic" if name.startswith(("Cuba", "synaptic")) else "leaky")


@pytest.mark.parametrize("last", [(), ("LI", {"tau": 4.0, "r": 2.0, "v_leak": 0.5})], ids=["no neurons", "LI"])
@pytest.mark.parametrize("first", [lif(), cuba()], ids=["LIF", "CubaLIF"])
def test_a_last_layer_without_spikes_is_an_integrator(read, first, last):
    network, trace, (spikes, *membranes) = both(read, [FIRST, first, DENSE, *([last] if last else [])])
    assert network.config.output == "integrator" and network.config.readout == "membrane"
    expected = membranes[0] if last else spikes @ DENSE[1]["weight"].T + DENSE[1]["bias"]
    np.testing.assert_array_equal(trace.spikes["lif1"].numpy(), spikes)
    np.testing.assert_array_equal(output(network.config, *trace).numpy(), expected)
    assert any("`2` has no neurons" in note for note in network.notes) == (not last)


def test_the_geometry_is_read(read):
    names = "pools after", "sums before", "windows of 4 and 2", "strides, no padding"
    after, before, windows, strides = (read(IMAGE, *NETWORKS[name]).config for name in names)
    assert after.pool_after and after.pool == ("sum", "none") and after.input_shape == (8, 8, 2)
    assert not before.pool_after and before.pool == ("sum", "none")
    assert windows.pool == ("sum", "avg") and windows.pool_size == (4, 2)
    assert strides.padding == ("same", "valid") and strides.stride == (1, 2) and strides.kernel_size == (3, 2)
    assert (strides.conv_channels, strides.hidden, strides.num_classes, strides.pool) == ((4, 3), (), 20, "none")


def test_values_per_channel_are_distinguished_from_values_per_pixel(read):
    def of(threshold):
        nodes = conv(sixteenths(0, 3, 1, 3, 3)), lif(v_threshold=threshold), flatten(), affine(sixteenths(1, 4, 48))
        return read((1, 4, 4), *nodes, lif())

    each = np.arange(1.0, 4.0, dtype=np.float32)
    network = of(np.broadcast_to(each[:, None, None], (3, 4, 4)))
    assert network.config.per_channel == ("threshold",)
    np.testing.assert_array_equal(network.tensors["lif1.threshold"], each)
    np.testing.assert_array_equal(of(each.reshape(1, 3, 1, 1)).tensors["lif1.threshold"], each)
    assert of(np.ones(99)).config.threshold == 1.0
    different = np.ones((3, 4, 4))
    different[2, 1, 3] = 0.5
    with refusing(UserError, 2, "`1`", "v_threshold", "0.5 to 1", "channel 2"):
        of(different)
    with refusing(UserError, 2, "`1`", "v_threshold", "[5]", "[3, 4, 4]"):
        of(np.arange(1.0, 6.0))


def test_a_factor_close_to_a_power_of_two_is_rounded_to_it(read):
    """Here r dt / tau is 1 + 1e-7 in float32, which would move the weights off their grid."""
    tau = np.float32(1e-4 / 0.3)
    near = lif(tau=tau, r=np.nextafter(tau / np.float32(1e-4), np.float32(9)))
    network = read(FLAT, FIRST, near, DENSE, lif(), dt=None, divided_by=256)
    np.testing.assert_array_equal(network.tensors["fc1.weight"], FIRST[1]["weight"])
    assert any(note == "the file has no time step: assuming 0.0001 s; use dt for another" for note in network.notes)


LAYERS = [
    ((CONV, ("Threshold", {"threshold": 1.0})), (2, "`1`", "Threshold", "Conv2d", "Delay")),
    ((CONV, delay(1.5), *LAST), (2, "`1`", "delay", 1.5, 0)),
    ((CONV, delay(-2), *LAST), (2, "`1`", "delay", -2, 0)),
    ((CONV, delay(np.nan), *LAST), (2, "`1`", "delay", "nan")),
    ((CONV, lif(), delay(np.arange(4.0)[:, None, None] * np.ones((8, 8))), THIRD, *LAST), (3, "`2`", "delay", 0, 3)),
    ((CONV, delay(101), lif(), THIRD, *LAST), ("n0@101",)),
    ((CONV, lif(), THIRD, *LAST, delay(1)), (8, "`7`", "Delay")),
    ((CONV, lif(), pool(3)), (3, "`2`", "kernel_size")),
    ((CONV, lif(), pool(1)), (3, "`2`", "kernel_size", 1)),
    ((CONV, lif(), pool(2, stride=0)), (3, "`2`", 1, 0)),
    ((CONV, lif(), pool(2, padding=np.ones(2, int))), (3, "`2`", 2, 1)),
    ((CONV, lif(), pool(np.array([2, 4]))), (3, "`2`", "kernel_size", 2, 4)),
    ((CONV, lif(), pool(16)), (3, "`2`", "8x8", "16x16")),
    ((CONV, lif(), flatten(), pool(2)), (4, "`3`", "SumPool2d", 256)),
    ((CONV, lif(), pool(4), conv(sixteenths(2, 5, 4, 1, 1)), pool(2), lif()), (4, "`3`", "5x1x1")),
    ((lif(), CONV), (1, "`0`", "LIF", "Conv2d")),
    ((CONV, lif(), lif()), (3, "`2`", "LIF")),
    ((CONV, SECOND), (2, "`1`", "Conv2d", "`0`")),
    ((CONV, lif()), (1, "`0`", "last layer")),
    ((CONV, lif(), WIDE), (3, "`2`", "4x8x8")),
    ((CONV, lif(), flatten(), WIDE), (4, "`3`", "[20, 48]", 256)),
    ((CONV, lif(), flatten(0, 1), WIDE), (3, "`2`", "start_dim", 0, "end_dim", 1, "4x8x8")),
    ((SECOND,), (1, "`0`", "[3, 4, 3, 3]", "2x8x8")),
    ((conv(sixteenths(0, 4, 2, 3, 3), groups=2),), (1, "`0`", 2)),
    ((conv(sixteenths(0, 4, 2, 3, 3), dilation=np.array([2, 2])),), (1, "`0`", 2)),
    ((conv(sixteenths(0, 4, 2, 3, 3), stride=0),), (1, "`0`", 0)),
    ((conv(sixteenths(0, 4, 2, 5, 5), padding=-1),), (1, "`0`", -1, 0)),
    ((conv(sixteenths(0, 4, 2, 2, 2), padding="same"),), (1, "`0`", "same")),
    ((conv(sixteenths(0, 4, 2, 3, 2)),), (1, "`0`", "[4, 2, 3, 2]")),
    ((conv(sixteenths(0, 4, 2, 9, 9), padding=0),), (1, "`0`", "2x8x8")),
    ((conv(sixteenths(0, 4, 2, 3)),), (1, "`0`", "[4, 2, 3]", 4)),
    ((conv(sixteenths(0, 4, 2, 3, 3), bias=np.ones(5)),), (1, "`0`", "[5]", "[4]")),
    ((CONV, lif(), scale(4, 8, 8), pool(2)), (4, "`3`", 0)),
    ((CONV, scale(4, 8, 8)), (2, "`1`", -2, 0)),
    ((CONV, scale(3)), (2, "`1`", "[3]", "[4, 8, 8]")),
    ((CONV, lif(), THIRD, *LAST, scale()), (8, "`7`")),
    ((CONV, ("LI", {"tau": 4.0, "r": 4.0, "v_leak": 0.0}), THIRD, *LAST), (2, "`1`", "LI")),
    ((flatten(),), ("Conv2d",)),
]
VALUES = [
    (lif(tau=0.0), ("tau", 0)),
    (lif(tau=per_neuron(4, -2)), ("tau", -2, 0)),
    (lif(tau=0.5), ("tau", "0.5 s")),
    (lif(v_threshold=0.0), ("v_threshold", 0, 2)),
    (lif(v_threshold=per_neuron(1, -3)), ("v_threshold", -3, 2)),
    (lif(v_threshold=1e-40), ("v_threshold", "1e-40", 2)),
    (lif(v_threshold=per_neuron(1, 2.0**100)), ("v_threshold", "1.26765e+30")),
    (lif(v_threshold=0.25, v_reset=0.5), ("v_threshold", "0.25", "v_reset", "0.5", 2)),
    (lif(v_threshold=np.nan), ("v_threshold", "nan")),
    (lif(v_leak=np.inf), ("v_leak", "inf")),
    (("LIF", {"tau": 4.0, "r": 4.0, "v_leak": 0.0}), ("LIF", "v_threshold")),
    (cuba(tau_syn=0.0), ("tau_syn", 0)),
    (cuba(tau_syn=0.5), ("tau_syn", "0.5", 1)),
    (cuba(v_leak=0.5), ("v_leak", "v_reset")),
    (integrate(r=np.array(["a"], object)), ("r", "object [1]")),
]
LAYERS += [((FIRST, node, DENSE, lif()), (*facts, 2, "`1`")) for node, facts in VALUES]


@pytest.mark.parametrize(("nodes", "facts"), LAYERS)
def test_unsupported_nodes_are_refused_by_name(read, tmp_path, nodes, facts):
    with refusing(UserError, tmp_path / "net.nir", *facts):
        read(FLAT if nodes[0] is FIRST else IMAGE, *nodes)


def diagonal(*values):
    return "Linear", {"weight": np.diag(np.array(values, np.float32))}


SPAN = np.full(8, 1.0)
IN, OUT = affine(sixteenths(0, 8, 16), sixteenths(1, 8)), affine(sixteenths(2, 8, 8), sixteenths(3, 8))
BACK, LOOP = affine(sixteenths(4, 8, 8), sixteenths(5, 8)), ("Linear", {"weight": sixteenths(6, 8, 8)})
OUT_OF_16 = affine(sixteenths(2, 8, 16))
EIGHT, SYN = filled(8), cuba(**{name: one * SPAN for name, one in cuba()[1].items()})
TWO = IN, EIGHT, OUT, EIGHT
GRAPHS = {
    "recurrent": (graph(FLAT, *TWO, r=BACK, edges="1-r r-1"), ["r-1"], "r of 1"),
    "synaptic": (graph(FLAT, IN, SYN, OUT, EIGHT, r=LOOP, edges="1-r r-1"), ["r-1"], "r of 1"),
    "recurrent output": (graph(FLAT, *TWO, r=BACK, edges="3-r r-3"), ["r-3"], "r of 3"),
    "one to one": (graph(FLAT, *TWO, r=diagonal(*SPAN / 2), edges="1-r r-1"), ["r-1"], "r of 1"),
    "scaled": (graph(FLAT, *TWO, r=("Scale", {"scale": -SPAN / 4}), edges="1-r r-1"), ["r-1"], "rec of 1"),
    "itself": (graph(FLAT, *TWO, edges="1-1"), ["1-1"], "rec of 1"),
    "a longer cycle": (graph(FLAT, *TWO, r=BACK, edges="3-r r-1"), ["r-1"], "r of 3"),
    "scales in a cycle": (
        graph(FLAT, *TWO, r=BACK, a=("Scale", {"scale": SPAN / 2}), b=scale(8), edges="3-a a-r r-b b-1"),
        ["b-1"],
        "r of 3",
    ),
    "cycles in a cycle": (graph(FLAT, *TWO, r=BACK, s=LOOP, edges="3-r r-1 3-s s-3"), ["r-1", "s-3"], "r of 3, s of 3"),
    "two sources": (graph(FLAT, *TWO, a=LOOP, edges="1-a a-3"), [], ""),
    "two from the image": (graph(FLAT, *TWO, a=IN, edges="input-a a-1"), [], ""),
    "around a layer": (graph(FLAT, *TWO, edges="1-3"), [], ""),
    "a shared layer": (graph(FLAT, *TWO, a=EIGHT, b=LOOP, edges="0-a a-b b-3"), [], ""),
    "around a convolution": (
        graph(
            (2, 4, 4),
            *(CONV, filled(4, 4, 4), SECOND, filled(3, 4, 4), flatten(), WIDE, filled(20)),
            a=SECOND,
            edges="1-a a-3",
            out=20,
        ),
        [],
        "",
    ),
    "a recurrent convolution": (
        graph(
            (2, 4, 4),
            *(CONV, filled(4, 4, 4), flatten(), affine(sixteenths(4, 20, 64)), filled(20)),
            a=conv(sixteenths(2, 4, 4, 3, 3), bias=sixteenths(7, 4)),
            edges="1-a a-1",
            out=20,
        ),
        ["a-1"],
        "a of 1",
    ),
}


FOURS, AVERAGE = conv(sixteenths(2, 4, 4, 3, 3), bias=sixteenths(3, 4)), pool(2, "AvgPool2d")
ON_FOUR = lif(**{name: np.full((4, 4, 4), value, np.float32) for name, value in lif()[1].items()})
SMALL = flatten(), affine(sixteenths(4, 20, 16), sixteenths(5, 20)), filled(20)
BLOCK = CONV, ON_FOUR, FOURS, ON_FOUR
LOOPED = *BLOCK, AVERAGE, *SMALL
SUMS = {
    "a residual layer": (graph(FLAT, *TWO, LOOP, EIGHT, edges="1-4"), {"n4": "n3 n1"}),
    "scaled alike": (
        graph(FLAT, *TWO, ("Scale", {"scale": -SPAN / 2}), LOOP, EIGHT, edges="1-4"),
        {"n5": "n3 n1"},
    ),
    "a residual block": (graph((2, 4, 4), *LOOPED, edges="1-4", out=20), {"n4": "n3 n1"}),
    "a sum of currents, pooled": (
        graph(
            (2, 4, 4),
            CONV,
            AVERAGE,
            filled(4, 2, 2),
            *SMALL,
            a=CONV,
            d=delay(2, 4, 4, 4),
            edges="input-a a-1 0-d d-1",
            out=20,
        ),
        {"n1": "n0 a n0@2"},
    ),
    "flattened, then added": (
        graph((2, 4, 4), *BLOCK[:2], pool(2), *SMALL, a=AVERAGE, edges="1-a a-3", out=20),
        {"n3": "n2 a", "n4": "n3"},
    ),
    "delays of the image, of spikes and of a current": (
        graph(
            (2, 4, 4),
            *(delay(2, 2, 4, 4), CONV, ON_FOUR, FOURS, delay(1, 4, 4, 4), ON_FOUR, AVERAGE, *SMALL),
            d=delay(3, 4, 4, 4),
            edges="2-d d-6 input-1",
            out=20,
        ),
        {"n1": "image@2 image", "n5": "n3@1", "n6": "n5 n2@3"},
    ),
    "delays in a cycle": (graph(FLAT, *TWO, r=BACK, d=delay(3, 8), edges="1-d d-r r-1"), {"r": "n1@3", "n1": "n0 r"}),
    "a cycle through a delay that's entered twice": (
        graph(FLAT, *TWO, a=IN, r=BACK, d=delay(1, 8), edges="input-a a-3 3-r r-d d-1"),
        {"n3": "n2 a", "n1": "n0 r@1"},
    ),
    "a cycle that's entered at a layer": (graph((2, 4, 4), *LOOPED, edges="3-2", out=20), {"n2": "n1 n3@1"}),
    "one with a delay": (
        graph((2, 4, 4), *LOOPED, d=delay(2, 4, 4, 4), edges="3-d d-2", out=20),
        {"n2": "n1 n3@2"},
    ),
    "a delayed sum in a cycle without a delay": (
        graph(FLAT, *TWO, LOOP, EIGHT, r=BACK, d=delay(2, 8), edges="3-r r-3 1-d d-4"),
        {"r": "n3@1", "n4": "n3 n1@2"},
    ),
}


CLOSING = {"a delayed sum in a cycle without a delay": ["r-3"], "a cycle that's entered at a layer": ["3-2"]}


def fired(config, tensors, x, steps):
    """The spikes of each node of neurons [time, batch, ...]."""
    library = Torch()
    run = [*library.run(config.graph, library.parameters(config.graph, tensors), x, steps)]
    return {node.name: np.stack([one.values[node.name] for one in run]) for node in config.graph.neurons}


def compared(tmp_path, nodes, edges, closing):
    """The configuration that's read from a file, whose spikes equal those of NIR's definition."""
    path = write(tmp_path / "net.nir", nodes, edges)
    network = nir_network.read(path, dt=1.0, scale=1.0, time_steps=STEPS)
    config, tensors = network.config, layouts.on_grid(network.config, network.tensors)
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, network.tensors[key])
    height, width, channels = config.input_shape
    x = torch.randint(0, 3, (9, channels, height, width), generator=torch.Generator().manual_seed(0)).float()
    spikes = fired(config, tensors, x, STEPS)
    entering = x.flatten(1) if nodes["input"][1]["shape"].size == 1 else x
    pairs = [tuple(one.split("-")) for one in closing]
    theirs = nir_definition.run_graph(nodes, list(dict.fromkeys(edges)), pairs, entering, STEPS, 1.0)
    assert len(spikes) == len(theirs)
    for node, expected in theirs.items():
        assert 0.02 < expected.mean() < 0.98
        ours = spikes[f"n{node}" if node.isdecimal() else node]
        np.testing.assert_array_equal(ours.reshape(expected.shape), expected)
    return config


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_match_the_definition(tmp_path, name):
    (nodes, edges), closing, delayed = GRAPHS[name]
    config = compared(tmp_path, nodes, edges, closing)
    described = {node.name: node for node in config.network.nodes}
    assert [f"{one.name} of {one.inputs[0].source.lstrip('n')}" for one in config.graph.recurrent] == (
        delayed.split(", ") if delayed else []
    )
    assert all(described[one.name].inputs[0].endswith("@1") for one in config.graph.recurrent)


@pytest.mark.parametrize("name", SUMS)
def test_sums_and_delays_match_the_definition(tmp_path, name):
    (nodes, edges), inputs = SUMS[name]
    config = compared(tmp_path, nodes, edges, CLOSING.get(name, []))
    assert {node: " ".join(map(str, config.graph[node].inputs)) for node in inputs} == inputs


@pytest.mark.parametrize(
    ("parts", "facts"),
    [
        (graph(FLAT, *TWO, r=affine(sixteenths(4, 16, 8)), edges="3-r r-0"), ("`0`", "Affine")),
        (graph(FLAT, *TWO, r=affine(sixteenths(0, 7, 8)), edges="1-r r-1"), ("`1`", "7", "8")),
        (graph(FLAT, *TWO, r=BACK, edges="1-r r-1 r-3"), ("`1`", "cycle", "r")),
        (graph(FLAT, *TWO, a=lif(tau=2.0, r=1.0), b=LOOP, edges="0-a a-b b-3"), ("`0`",)),
        (graph(FLAT, *TWO, a=affine(sixteenths(0, 7, 8)), b=filled(7), edges="1-a a-b b-2"), ("`2`", 7, 8)),
        (graph(FLAT, *TWO, a=scale(8), edges="1-a a-2"), ("`2`", "Scale")),
        (graph(FLAT, *TWO, a=delay(2, 8), b=delay(2, 8), edges="1-a a-2 1-b b-2"), ("n2", "n1@2", "twice")),
        (graph((2, 4, 4), *BLOCK[:2], AVERAGE, *SMALL, edges="0-2", out=20), ("`2`", "AvgPool2d", "spikes")),
        (
            graph(FLAT, affine(sixteenths(0, 16, 16)), filled(16), OUT_OF_16, EIGHT, edges="input-2"),
            ("2", "n1", "image", 256, "divided_by"),
        ),
        (graph(FLAT, *TWO, d=delay(1, 8), s=scale(8), edges="s-d d-s 1-s s-2"), ("cycle", "neurons")),
        (graph(FLAT, *TWO, a=filled(16), b=IN, edges="input-a a-b b-3"), ("`a`", "LIF")),
        (graph((2, 4, 4), CONV, lif(), flatten(), affine(sixteenths(4, 8, 64)), lif(), edges="1-1"), ("`1`", "LIF")),
    ],
)
def test_graphs_that_cannot_be_read_name_the_node(tmp_path, parts, facts):
    with refusing(UserError, *facts):
        nir_network.read(write(tmp_path / "net.nir", *parts), dt=1.0)


@pytest.mark.parametrize("kind", [lif(), cuba()], ids=["LIF", "CubaLIF"])
def test_neurons_that_subtract_in_the_step_of_the_spike(read, kind):
    """The definition resets to v_reset; without one, the helper subtracts."""
    nodes = FIRST, kind, DENSE, lif()
    network = read(FLAT, *nodes, scale=1.0, time_steps=STEPS, reset="subtract")
    assert network.config.reset == "deduct"
    bare = [(name, {key: one for key, one in of.items() if key != "v_reset"}) for name, of in nodes]
    x = torch.randint(0, 3, (9, 1, 4, 4), generator=torch.Generator().manual_seed(0)).float()
    tensors = layouts.on_grid(network.config, network.tensors)
    trace = reference.trace(reference.Step(network.config, tensors), x, STEPS)
    for layer, expected in zip(trace.spikes.values(), nir_definition.run(bare, x.flatten(1), STEPS, 1.0), strict=True):
        np.testing.assert_array_equal(layer.numpy(), expected)
    zero = both(read, nodes)[1]
    assert not torch.equal(zero.spikes["lif1"], trace.spikes["lif1"])


PAPER = Path(os.environ.get("CSNN_NIR_PAPER", "files of NIR's paper"))
"""The networks of NIR's paper, which the repository doesn't contain."""


@pytest.mark.skipif(not PAPER.is_dir(), reason="needs CSNN_NIR_PAPER, the folder with the files of NIR's paper")
@pytest.mark.parametrize(
    ("file", "settings", "resets"),
    [
        ("cnn_sinabs", {"written_by": "sinabs"}, {"subtract"}),
        ("cnn_sinabs", {"written_by": "sinabs", "reset": "zero"}, {"zero"}),
        ("braille_noDelay_bias_zero", {}, {"clear"}),
        ("braille_noDelay_noBias_subtract", {"reset": "subtract"}, {"deduct"}),
    ],
)
def test_the_networks_of_the_paper(file, settings, resets):
    network = nir_network.read(str(PAPER / f"{file}.nir"), divided_by=256, time_steps=10, **settings)
    tensors = layouts.on_grid(network.config, network.tensors)
    assert {node.operation.reset for node in network.config.graph.neurons} == resets
    draw = torch.Generator().manual_seed(0)
    height, width, channels = network.config.input_shape
    x = torch.randint(0, 256, (10, 4, channels, height, width), generator=draw).float() / 256
    assert all(0.001 < spikes.mean() < 0.5 for spikes in fired(network.config, tensors, x, 10).values())
    assert len(network.config.graph.recurrent) == file.startswith("braille")
