"""Each module of a state_dict is assigned a place in the stack, or refused by name."""

import numpy as np
import pytest
import snntorch as snn
import torch
from foreign_networks import LAYERS, ONE, TWO, Net, built, trained
from refusals import refusing
from safetensors.torch import save_file
from torch import nn

from csnn_jax.errors import UserError
from csnn_torch import state_dict
from csnn_torch.state_dict import convert

A, B, C = LAYERS[0], ("fc1", nn.Linear(3 * 196, 12)), ("fc2", nn.Linear(12, 10))
TURNED, NORMS = Net(turned=True).state_dict(), trained(Net(norm=True)).state_dict()
TWO_NEURONS = {name.replace("lif2", "out"): value for name, value in Net().state_dict().items() if "lif3" not in name}
"""The neurons of three layers are `lif1` and `out`, so one of them has two places or the last layer none."""


@pytest.mark.parametrize(
    ("state", "places", "facts"),
    [
        (TURNED, (), ("conv1.weight", "[3, 1, 5, 5]", "NAME=conv1")),
        (TURNED, ("first=conv1",), ("first=conv1", "conv2, conv1, fc1")),
        (TURNED, ("conv1=conv1", "conv2=conv1"), ("places", "conv1 and conv2")),
        (TURNED, ("conv1=fc1",), ("conv1=fc1", "Conv2d")),
        (TURNED, ("conv1=conv3",), ("conv1=conv3", 2)),
        (TURNED, ("conv1",), ("places conv1", "NAME=PLACE")),
        (TURNED, ("conv1=conv" + 5000 * "9",), ("NAME=PLACE", "encoder=conv1")),
        (TURNED, ("lif1=lif0",), ("lif1=lif0", "lif1", "snntorch.Leaky", "snntorch.Synaptic", "lif2")),
        (TWO_NEURONS, (), ("net.pt", "3 layers", "2 neurons", "conv1")),
        (built(A, ONE, B, C, TWO), (), ("net.pt", "3 layers", "2 neurons")),
        (built(A, B, ONE, C), (), ("net.pt", "lif1", "3 layers")),
        (built(A, B, C, ONE, TWO), ("lif1=lif2", "lif2=lif3"), ("net.pt", "3 layers", "2 neurons")),
        (built(LAYERS[1]), (), ("net.pt", "1 layers", "0 neurons")),
        (NORMS, ("norm1=conv2", "norm2=conv1"), ("norm1", 3, "conv2", 4)),
        (NORMS, ("norm1=conv1", "norm2=conv1"), ("net.pt", "norm1 and norm2", "conv1")),
        (built(("bn1", nn.BatchNorm2d(3)), A, ("conv2", A[1]), B, ONE, TWO), (), ("1 BatchNorms", "2 convolutions")),
        (NORMS, ("norm2=lif1",), ("norm2", "BatchNorm", "conv1", "conv2", "fc1", "fc2")),
    ],
)
def test_modules_without_a_place_are_refused_by_name(state, places, facts):
    with refusing(UserError, *facts):
        convert(state, "net.pt", places=places, padding="valid" if "conv2.weight" in state else "same")


def test_a_neuron_can_have_several_places():
    state = TWO_NEURONS | {"out.beta": torch.tensor(0.25)}
    converted = convert(state, places=("lif1=lif1", "lif1=lif3", "out=lif2"), padding="valid")
    assert converted.config.beta == (0.7, 0.25, 0.7) and converted.config.output == "spiking"
    converted = convert(state, places=("lif1=lif1", "out=lif2"), padding="valid")
    assert converted.config.beta == (0.7, 0.25, 0) and converted.config.output == "integrator"


BARE = "has no neuron: the class is read from its current, step by step; if one follows it, use places NAME=lif"


@pytest.mark.parametrize(
    "order",
    [
        (A, ONE, LAYERS[1]),
        (A, LAYERS[1], ("lif1", snn.Leaky(beta=torch.full((3, 1, 1), 0.5)))),  # doesn't fit fc1
        (A, ONE, B, TWO, C),
        (A, B, C, ONE, TWO),
        (ONE, TWO, A, B, C),
        (A, B, ONE, TWO, C),
    ],
    ids=lambda order: " ".join(name for name, _ in order),
)
def test_a_last_layer_without_a_neuron_is_recognized_by_the_order(order):
    converted = convert(built(*order))
    assert converted.config.output == "integrator" and any(BARE in note for note in converted.notes)
    assert converted.config.beta == ((0.5, 0) if len(order) == 3 else (0.5, 0.7, 0))


@pytest.mark.parametrize("order", [(A, LAYERS[1], ONE), (ONE, A, LAYERS[1]), (A, B, C, ONE)])
def test_a_neuron_that_may_follow_all_layers_or_all_but_the_last_needs_places(order):
    state, depth = built(*order), len(order) - 1
    every = [f"lif1=lif{number}" for number in range(1, depth + 1)]
    with refusing(UserError, f"places {' '.join(every)}", f"places {' '.join(every[:-1])}"):
        convert(state, "net.pt")
    shared, bare = convert(state, places=every).config, convert(state, places=every[:-1]).config
    assert (shared.output, shared.beta) == ("spiking", 0.5)
    assert (bare.output, bare.beta) == ("integrator", (0.5,) * (depth - 1) + (0,))


def test_layers_that_share_a_neuron_are_counted():
    shared = ("lif1", snn.Leaky(beta=torch.full((12,), 0.5)))
    converted = convert(
        built(("fc1", nn.Linear(784, 12)), ("fc2", nn.Linear(12, 12)), ("fc3", nn.Linear(12, 10)), shared)
    )
    assert "2 layers share the neuron lif1" in converted.notes and converted.config.output == "integrator"


def test_numbers_in_names_that_contradict_the_order_are_reported():
    state = built(*LAYERS, TWO, ONE)
    converted, placed = convert(state), convert(state, places=("lif1=lif1", "lif2=lif2"))
    assert converted.config.beta == (0.7, 0.5) and placed.config.beta == (0.5, 0.7)
    assert any(note.startswith("using lif2, lif1 in the order of their dec") for note in converted.notes)
    assert not any("their declaration" in note for note in placed.notes)


def test_a_norm_can_follow_only_one_of_the_layers():
    one = {name: value for name, value in NORMS.items() if not name.startswith("norm1")}
    notes = convert(one, places=("norm2=conv2",), padding="valid").notes
    assert "norm2 is folded into conv2, with its running statistics and eps 1e-05" in notes


def test_names_without_numbers_have_no_order_in_a_safetensors_file(tmp_path):
    state = Net().state_dict()
    renamed = {name.replace("conv1", "stem").replace("conv2", "body"): value for name, value in state.items()}
    path = str(tmp_path / "net.safetensors")
    save_file(renamed, path)
    with refusing(UserError, "body", "stem", "places"):
        state_dict.read(path, padding="valid")
    network = state_dict.read(path, places=("stem=conv1", "body=conv2"), padding="valid", divided_by=256)
    assert np.array_equal(network.tensors["conv1.weight"], state["conv1.weight"].numpy())
