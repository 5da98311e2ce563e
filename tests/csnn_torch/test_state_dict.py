"""The stack, neurons and weights are read from a state_dict in its common forms, or an error says why they can't be."""

import numpy as np
import pytest
import snntorch as snn
import torch
from foreign_networks import ONE, TWO, Net, built, foreign, trained
from refusals import refusing
from torch import nn

from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import expected_shapes
from csnn_torch import model as companion
from csnn_torch import state_dict

pytestmark = pytest.mark.numeric


def broken(change) -> dict:
    state = foreign().state_dict()
    change(state)
    return state


def setting(name, value):
    return lambda state: state.__setitem__(name, torch.as_tensor(value))


def even(state):
    state["0.weight"], state["7.weight"] = torch.ones(4, 1, 4, 4), torch.ones(20, 150)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (setting("2.graded_spikes_factor", 2.0), ("2.graded_spikes_factor", 2, 1)),
        (setting("5.reset_mechanism_val", 7), ("5.reset_mechanism_val", 7, "0 (subtract)")),
        (setting("2.beta", torch.ones(4)), ("2.beta", [4], "per channel", [4, 1, 1])),
        (setting("2.beta", torch.ones(4, 14, 14)), ("2.beta", [4, 14, 14], "per channel", [4, 1, 1])),
        (setting("8.threshold", torch.ones(19)), ("8.threshold", [19], "per neuron", [20])),
        (setting("8.threshold", torch.arange(20)), ("8.threshold", 0, "2^-100", "2^100")),
        (setting("2.beta", float("nan")), ("2.beta", "nan")),
        (setting("3.weight", torch.full((6, 4, 3, 3), 1e300, dtype=torch.float64)), ("3.weight", 1e300)),
        (setting("3.weight", torch.full((6, 4, 3, 3), 3e38)), ("3.weight", 3e38, "magnitudes")),
        (setting("7.bias", torch.full((20,), -(2.0**33))), ("7.bias", "-8.58993e+09", "magnitudes")),
        (setting("3.running_mean", torch.ones(6)), ("3.running_var", "running statistics")),
        (setting("gru.hidden", torch.ones(6)), ("gru", "hidden", "Conv2d")),
        (lambda state: state.pop("10.threshold"), ("10", "beta, graded_spikes_factor, reset_mechanism_val")),
        (setting("3.weight", torch.full((6, 4, 3, 3), float("nan"))), ("3.weight", "finite")),
        (setting("3.bias", torch.ones(6, dtype=torch.int8)), ("3.bias", "torch.int8", "floats")),
        (setting("3.bias", torch.ones(5)), ("3.bias", [5], [6])),
        (setting("3.weight", torch.ones(6, 5, 3, 3)), ("3.weight", [6, 5, 3, 3], [6, 4, 3, 3])),
        (setting("3.weight", torch.ones(6, 4, 3, 5)), ("3.weight", [6, 4, 3, 5], "square")),
        (setting("0.weight", torch.ones(4, 1, 3)), ("0.weight", [4, 1, 3], "Conv2d")),
        (setting("7.weight", torch.ones(20, 97)), ("7.weight", [20, 97], [20, 294], "no padding")),
        (setting("7.weight", torch.ones(20, 150)), ("7.weight", [20, 150], [20, 294], "padding valid would fit")),
        (
            setting("7.weight", torch.ones(20, 1176)),
            ("7.weight", [20, 1176], "pool max none or pool none max would fit"),
        ),
        (even, ("kernel_size 4 3", "odd", "padding valid")),
    ],
)
def test_a_state_dict_that_cannot_be_converted_is_refused(change, facts):
    with refusing(UserError, "net.pt", *facts):
        state_dict.convert(broken(change), "net.pt")


def test_the_caller_supplies_what_a_state_dict_lacks():
    fields = {"pool": "avg", "surrogate": "atan", "slope": 3.0, "time_steps": 7}
    config, tensors, notes = state_dict.convert(foreign().state_dict(), **fields)
    assert (config.pool, config.surrogate, config.slope, config.time_steps) == ("avg", "atan", 3.0, 7)
    assert config.beta == (0.9, 1.0, 0.3, 0.8) and config.thresholds == (1, 0.7, 1, 0.5)  # as written in the network
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected_shapes(config)
    np.testing.assert_array_equal(tensors["conv2.weight"], foreign()[3].weight.detach().numpy())
    assert notes[-1] == state_dict.UNSEEN and len(notes) == 4
    assert notes[2] == "5.beta: clipped to between 0 and 1, as in snnTorch"
    assert (
        notes[0] == "assuming your images were divided by 255 (divided_by): here it's 256, and conv1 compensates for it"
    )
    assert notes[1].startswith("the weights also fit with stride 2 pool none; a state_dict doesn't show")


def test_older_snntorchs_have_no_factor_and_no_reset_in_the_file():
    old = [f"{n}.{name}" for n in (2, 5, 8, 10) for name in ("graded_spikes_factor", "reset_mechanism_val")]
    config, _, notes = state_dict.convert(broken(lambda state: [state.pop(name) for name in old]))
    assert config.reset == "subtract" and "the file has no reset_mechanism_val: assuming subtract" in notes


FORMS = {
    "layers before neurons": (Net(), ()),
    "one neuron for all": (Net(shared=True), ("lif1=lif1", "lif1=lif2", "lif1=lif3")),
    "no bias": (Net(bias=False), ()),
    "norms, no bias": (trained(Net(norm=True, bias=False)), ()),
    "kernels of two sizes": (Net(sizes=(2, 4)), ()),
    "another order": (Net(turned=True), ("conv1=conv1", "conv2=conv2")),
}
NOTES = {"norms, no bias": "fc1: no bias, using 0 because the other layers have one"}


@pytest.mark.parametrize("form", FORMS)
def test_the_spikes_match_the_original_network(form):
    net, places = FORMS[form]
    found = state_dict.convert(net.state_dict(), "net.pt", places=places, padding="valid", time_steps=9, divided_by=256)
    assert found.config.bias == (form != "no bias") and found.config.conv_channels == (3, 4)
    assert form not in NOTES or NOTES[form] in found.notes
    x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    network = companion.sequential(found.config)
    network.grids = ()  # use its weights as they were
    companion.load_tensors(network, found.tensors)
    with torch.no_grad():
        theirs, ours = net(x, 9), companion.forward(network, x, 9)
    assert 0.02 < theirs.mean() < 0.9
    assert (theirs != ours).sum() <= (2 if "norm" in form else 0)  # folding rounds


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_other_floats_become_float32_with_a_note_and_names_may_have_a_prefix(kind):
    state = {f"net.0.{name}": value.to(kind) if value.ndim else value for name, value in Net().state_dict().items()}
    found = state_dict.convert(state, padding="valid")
    assert {tensor.dtype for tensor in found.tensors.values()} == {np.dtype(np.float32)}
    assert found.config.conv_channels == (3, 4)
    assert f"weights of type {kind} are converted to float32" in found.notes


@pytest.mark.parametrize(
    ("size", "channels", "padding", "shapes"),
    [
        (32, 3, "valid", ["input_shape 32 32 3 padding valid", "input_shape 24 24 3"]),
        (40, 2, "same", ["input_shape 40 40 2"]),
    ],
)
def test_the_image_size_is_inferred_from_the_weights(size, channels, padding, shapes):
    left = size // 2 // 2 if padding == "same" else ((size - 2) // 2 - 2) // 2
    convs = (("conv1", nn.Conv2d(channels, 4, 3)), ("conv2", nn.Conv2d(4, 8, 3)))
    state = built(*convs, ("fc1", nn.Linear(8 * left**2, 10)), ONE, TWO, ("lif3", snn.Leaky(beta=0.5)))
    with refusing(UserError, "net.pt", "fc1.weight", *shapes):
        state_dict.convert(state, "net.pt")
    found = state_dict.convert(state, "net.pt", (size, size, channels), padding=padding)
    assert found.config.input_shape == (size, size, channels)


def test_an_assumed_image_size_is_reported_for_color_images():
    state = built(("conv1", nn.Conv2d(3, 4, 3)), ("fc1", nn.Linear(4 * 196, 10)), ONE, TWO)
    assert "assuming images of 28x28x3; use input_shape for another size" in state_dict.convert(state).notes
    assert not any("assuming images" in note for note in state_dict.convert(state, input_shape=(28, 28, 3)).notes)
