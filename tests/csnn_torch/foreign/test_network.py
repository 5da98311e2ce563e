"""Norms and image normalization are folded into weights, and the spikes remain those of the trained network."""

import numpy as np
import pytest
import snntorch as snn
import torch
from foreign_networks import Net, trained
from refusals import refusing
from torch import nn

from csnn_jax.errors import UserError
from csnn_torch import model as companion
from csnn_torch.state_dict import convert

pytestmark = pytest.mark.numeric


def test_the_eps_of_norms_can_be_given():
    net = Net(norm=True)
    net.norm1.eps = net.norm2.eps = 1e-3
    with torch.no_grad():
        for norm in (net.norm1, net.norm2):
            norm.running_var.fill_(0.002)  # so eps matters
        net.norm1.weight[1] = -0.5
        x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(1))
        theirs, different = net.eval()(x, 9), []
        for eps in (1e-3, 1e-5):
            found = convert(net.state_dict(), padding="valid", time_steps=9, batchnorm_eps=eps, divided_by=256)
            assert f"norm2 is folded into conv2, with its running statistics and eps {eps:g}" in found.notes
            assert any(note.startswith("norm1") and "some of its weights are negative" in note for note in found.notes)
            network = companion.sequential(found.config)
            network.grids = ()
            companion.load_tensors(network, found.tensors)
            different.append((theirs != companion.run(network, x, 9)).sum())
    assert different[0] <= 2 < different[1]
    with refusing(UserError, "batchnorm_eps -1"):
        convert(net.state_dict(), padding="valid", batchnorm_eps=-1)


def linear() -> nn.Sequential:
    """A network on flattened images of 6 by 5 pixels and two channels."""
    torch.manual_seed(4)
    found = nn.Sequential(
        nn.Flatten(), nn.Linear(60, 10), snn.Leaky(beta=0.7, threshold=0.4, init_hidden=True, output=True)
    )
    with torch.no_grad():
        found[1].weight *= 3
    return found


@pytest.mark.parametrize("kind", ["no bias", "norm", "linear"])
def test_a_normalization_is_folded_into_a_first_layer_without_padding(kind):
    generator = torch.Generator().manual_seed(1)
    if kind == "linear":
        net, x = linear(), torch.rand(20, 2, 6, 5, generator=generator)
        values, more = (0.4, 0.6, 0.3, 0.2), {"input_shape": (6, 5, 2)}
    else:
        net = trained(Net(norm=kind == "norm", bias=kind != "no bias"))
        x = torch.rand(20, 1, 28, 28, generator=generator)
        values, more = (0.1307, 0.3081), {"padding": "valid"}
    half = len(values) // 2
    mean, std = (torch.tensor(part).reshape(1, half, 1, 1) for part in (values[:half], values[half:]))
    found = convert(net.state_dict(), "net.pt", time_steps=9, normalize=values, divided_by=256, **more)
    assert any(note.startswith("the normalization of images by mean") for note in found.notes)
    network = companion.sequential(found.config)
    network.grids = ()
    companion.load_tensors(network, found.tensors)
    with torch.no_grad():
        normal = (x - mean) / std
        theirs = companion.run(net, normal, 9) if kind == "linear" else net(normal, 9)
        ours = companion.run(network, x, 9)
    assert 0.02 < theirs.mean() < 0.95
    assert (theirs != ours).sum() <= 4  # of 1,800 spikes; folding rounds


@pytest.mark.parametrize(
    ("values", "flags", "facts"),
    [
        ((0.1, 0.3), {"padding": "same"}, ("conv1", 2)),
        ((0.1,), {}, ("normalize 0.1", "deviation")),
        ((0.1, 0.0), {}, ("normalize 0.1 0", "deviation")),
        ((0.1, 0.2, 0.3, 0.4), {}, ("normalize", "2 means", "1 channels")),
        ((0.1, 0.3), {"encoding": "rate"}, ("encoding rate", "normalize")),
    ],
)
def test_a_normalization_that_cannot_be_folded_is_refused(values, flags, facts):
    state = Net().state_dict()
    if flags.get("padding") == "same":
        state["fc1.weight"] = torch.ones(10, 4 * 49)
        state["conv2.weight"], state["conv1.weight"] = torch.ones(4, 3, 3, 3), torch.ones(3, 1, 5, 5)
    with refusing(UserError, *facts):
        convert(state, "net.pt", normalize=values, **{"padding": "valid"} | flags)


@pytest.mark.parametrize(
    ("part", "value", "facts"),
    [
        ("running_var", torch.ones(7), ("norm1.running_var", "[7]", "[3]")),
        ("running_var", -torch.ones(3), ("norm1.running_var", "negative")),
    ],
)
def test_norms_that_do_not_fit_are_named(part, value, facts):
    state = trained(Net(norm=True)).state_dict() | {f"norm1.{part}": value}
    with refusing(UserError, *facts, "net.pt"):
        convert(state, "net.pt", padding="valid")


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({}, 256 / 255),
        ({"divided_by": 100}, 2.56),
        ({"divided_by": 256}, 1),
        ({"scale": 1.0, "input_bits": 4}, 1),
        ({"scale": 1.0, "input_bits": 4, "divided_by": 8}, 1 / 8),
        ({"scale": 4096.0, "input_bits": 12}, 1),
        ({"encoding": "rate"}, 1),
    ],
)
def test_the_divisor_of_pixels_is_folded_into_the_first_weights(fields, factor):
    net = Net()
    found = convert(net.state_dict(), "net.pt", padding="valid", **fields)
    state = {name: net.get_parameter(name).detach().numpy() for name in found.tensors}
    assert any("conv1 compensates for it" in note for note in found.notes) == (factor != 1)
    state["conv1.weight"] = (state["conv1.weight"].astype(np.float64) * factor).astype(np.float32)
    for name, tensor in found.tensors.items():
        np.testing.assert_array_equal(tensor, state[name])


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"divided_by": -1}, ("divided_by -1",)),
        ({"divided_by": float("nan")}, ("divided_by nan",)),
        ({"divided_by": 255, "encoding": "rate"}, ("divided_by", "encoding rate")),
        ({"divided_by": 255, "scale": 4096.0, "input_bits": 12}, ("divided_by", 255)),
    ],
)
def test_a_division_that_cannot_be_folded_is_refused(fields, facts):
    with refusing(UserError, *facts):
        convert(Net().state_dict(), "net.pt", padding="valid", **fields)
