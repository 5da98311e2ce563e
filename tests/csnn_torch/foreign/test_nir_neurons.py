"""Neurons of NIR files, with folded factors, give the spikes of NIR's definition, or a line says why not."""

import nir_definition
import numpy as np
import pytest
import torch
from nir_files import affine, chained, conv, cuba, flatten, lif, sixteenths, write
from refusals import refusing

from csnn_jax.errors import UserError
from csnn_jax.runs import layouts
from csnn_jax.window import output
from csnn_torch.foreign import nir_network
from export import reference

pytestmark = pytest.mark.numeric

STEPS = 6
FIRST, DENSE = affine(sixteenths(0, 24, 16), sixteenths(1, 24)), affine(sixteenths(2, 8, 24), sixteenths(3, 8))


def integrate(**values):
    return "IF", {"r": 1.0, "v_threshold": 1.0, "v_reset": 0.0} | values


def per_neuron(*values):
    return np.resize(np.array(values, np.float32), 24)


NEURONS = {
    "LIF": lif(),
    "LIF, arrays of one": lif(**{name: np.full((1,), value, np.float32) for name, value in lif()[1].items()}),
    "LIF, full shape": lif(**{name: np.full((24,), value, np.float32) for name, value in lif()[1].items()}),
    "LIF, a batch in front": lif(**{name: np.full((1, 24), value, np.float32) for name, value in lif()[1].items()}),
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
    "CubaLIF, w_in of nir before it had one": ("CubaLIF", {k: v for k, v in cuba()[1].items() if k != "w_in"}),
}


def ours(path, x, **settings):
    found = nir_network.read(path, dt=1.0, scale=1.0, time_steps=STEPS, **settings)
    tensors = layouts.on_grid(found.config, found.tensors)
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, found.tensors[key])  # nothing was rounded
    return found, reference.trace(reference.Step(found.config, tensors), x, STEPS)


@pytest.mark.parametrize("name", NEURONS)
def test_the_spikes_match_the_definition(tmp_path, name):
    kind, values = NEURONS[name]
    nodes = FIRST, (kind, values), DENSE, lif()
    path = write(tmp_path / "net.nir", chained((16,), *nodes))
    x = torch.randint(0, 3, (9, 1, 4, 4), generator=torch.Generator().manual_seed(0)).float()
    found, trace = ours(path, x)
    theirs = nir_definition.run([FIRST, (kind, {"w_in": 1.0} | values), DENSE, lif()], x.flatten(1), STEPS, 1.0)
    for layer, expected in zip(trace.spikes.values(), theirs, strict=True):
        assert 0.02 < expected.mean() < 0.98
        np.testing.assert_array_equal(layer.numpy(), expected)
    assert bool(found.config.per_channel) == ("own" in name)
    assert found.config.neuron == ("synaptic" if kind == "CubaLIF" else "leaky")


@pytest.mark.parametrize("last", [(), ("LI", {"tau": 4.0, "r": 2.0, "v_leak": 0.5})], ids=["no neurons", "LI"])
@pytest.mark.parametrize("first", [lif(), cuba()], ids=["LIF", "CubaLIF"])
def test_a_last_layer_without_spikes_is_an_integrator(tmp_path, first, last):
    nodes = [FIRST, first, DENSE, *([last] if last else [])]
    x = torch.randint(0, 3, (9, 1, 4, 4), generator=torch.Generator().manual_seed(0)).float()
    found, trace = ours(write(tmp_path / "net.nir", chained((16,), *nodes)), x)
    assert found.config.output == "integrator" and found.config.readout == "membrane"
    spikes, *read = nir_definition.run(nodes, x.flatten(1), STEPS, 1.0)
    weight, bias = DENSE[1]["weight"], DENSE[1]["bias"]
    np.testing.assert_array_equal(trace.spikes["lif1"].numpy(), spikes)
    np.testing.assert_array_equal(output(found.config, *trace).numpy(), read[0] if last else spikes @ weight.T + bias)
    assert any("`2` has no neurons" in note for note in found.notes) == (not last)


def test_values_per_channel_are_distinguished_from_values_per_pixel(tmp_path):
    layers = conv(sixteenths(0, 3, 1, 3, 3)), flatten(), affine(sixteenths(1, 4, 48)), lif()

    def read(threshold):
        nodes = layers[0], lif(v_threshold=threshold), *layers[1:]
        return nir_network.read(write(tmp_path / "net.nir", chained((1, 4, 4), *nodes)), dt=1.0)

    each = np.arange(1.0, 4.0, dtype=np.float32)
    found = read(np.broadcast_to(each[:, None, None], (3, 4, 4)))
    assert found.config.per_channel == ("threshold",)
    np.testing.assert_array_equal(found.tensors["lif1.threshold"], each)
    np.testing.assert_array_equal(read(each.reshape(1, 3, 1, 1)).tensors["lif1.threshold"], each)
    assert read(np.ones(99)).config.threshold == 1.0
    different = np.ones((3, 4, 4))
    different[2, 1, 3] = 0.5
    with refusing(UserError, 2, "`1`", "v_threshold", "0.5 to 1", "channel 2"):
        read(different)
    with refusing(UserError, 2, "`1`", "v_threshold", "[5]", "[3, 4, 4]"):
        read(np.arange(1.0, 6.0))


def test_a_factor_close_to_a_power_of_two_is_rounded_to_it(tmp_path):
    """Here r dt / tau is 1 + 1e-7 in float32, which would move the weights off their grid."""
    tau = np.float32(1e-4 / 0.3)
    nodes = FIRST, lif(tau=tau, r=np.nextafter(tau / np.float32(1e-4), np.float32(9))), DENSE, lif()
    found = nir_network.read(write(tmp_path / "net.nir", chained((16,), *nodes)), divided_by=256)
    np.testing.assert_array_equal(found.tensors["fc1.weight"], FIRST[1]["weight"])
    assert any(note == "the file has no time step: assuming 0.0001 s; use dt for another" for note in found.notes)


@pytest.mark.parametrize(
    ("node", "facts"),
    [
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
    ],
)
def test_unsupported_values_of_neurons_are_refused_by_name(tmp_path, node, facts):
    path = write(tmp_path / "net.nir", chained((16,), FIRST, node, DENSE, lif()))
    with refusing(UserError, path, *facts, 2, "`1`"):
        nir_network.read(path, dt=1.0)
