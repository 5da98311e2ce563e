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


@pytest.mark.parametrize(
    ("places", "facts"),
    [
        ((), ("conv1.weight", "[3, 1, 5, 5]", "NAME=conv1")),
        (("first=conv1",), ("first=conv1", "conv2, conv1, fc1")),
        (("conv1=conv1", "conv2=conv1"), ("places", "conv1 and conv2")),
        (("conv1=fc1",), ("conv1=fc1", "Conv2d")),
        (("conv1=conv3",), ("conv1=conv3", 2)),
        (("conv1",), ("places conv1", "NAME=PLACE")),
        (("conv1=conv" + 5000 * "9",), ("NAME=PLACE", "encoder=conv1")),
        (("lif1=lif0",), ("lif1=lif0", "lif1", "snntorch.Leaky", "snntorch.Synaptic", "lif2")),
    ],
)
def test_a_place_that_does_not_exist_is_refused(places, facts):
    with refusing(UserError, *facts):
        convert(Net(turned=True).state_dict(), "net.pt", places=places, padding="valid")


def test_a_neuron_can_have_several_places():
    state = {name: value for name, value in Net().state_dict().items() if not name.startswith("lif3")}
    state = {name.replace("lif2", "out"): value for name, value in state.items()}  # lif1 might follow two layers
    with refusing(UserError, "3 layers", "2 neurons", "conv1"):
        convert(state, "net.pt", padding="valid")
    state["out.beta"] = torch.tensor(0.25)
    found = convert(state, places=("lif1=lif1", "lif1=lif3", "out=lif2"), padding="valid")
    assert found.config.beta == (0.7, 0.25, 0.7) and found.config.output == "spiking"
    found = convert(state, places=("lif1=lif1", "out=lif2"), padding="valid")
    assert found.config.beta == (0.7, 0.25, 0) and found.config.output == "integrator"


A, B, C = LAYERS[0], ("fc1", nn.Linear(3 * 196, 12)), ("fc2", nn.Linear(12, 10))
BARE = "has no neuron: the class is read from its current, step by step; if one follows it, use places NAME=lif"


@pytest.mark.parametrize(
    ("order", "bare"),
    [
        ((A, ONE, LAYERS[1]), True),
        ((A, LAYERS[1], ("lif1", snn.Leaky(beta=torch.full((3, 1, 1), 0.5)))), True),  # doesn't fit fc1
        ((A, ONE, B, TWO, C), True),
        ((A, B, C, ONE, TWO), True),
        ((ONE, TWO, A, B, C), True),
        ((A, B, ONE, TWO, C), True),
    ],
    ids=lambda order: " ".join(name for name, _ in order) if isinstance(order, tuple) else str(order),
)
def test_a_last_layer_without_a_neuron_is_recognized_by_the_order(order, bare):
    found = convert(built(*order))
    assert found.config.output == ("integrator" if bare else "spiking")
    assert any(BARE in note for note in found.notes) == bare
    assert found.config.beta == (0.5, 0) if bare and len(order) == 3 else (0.5, 0.7, 0) if bare else 0.5


@pytest.mark.parametrize("order", [(A, LAYERS[1], ONE), (ONE, A, LAYERS[1]), (A, B, C, ONE)])
def test_a_neuron_that_may_follow_all_layers_or_all_but_the_last_needs_places(order):
    state, depth = built(*order), len(order) - 1
    every = [f"lif1=lif{number}" for number in range(1, depth + 1)]
    with refusing(UserError, f"places {' '.join(every)}", f"places {' '.join(every[:-1])}"):
        convert(state, "net.pt")
    shared, bare = convert(state, places=every).config, convert(state, places=every[:-1]).config
    assert (shared.output, shared.beta) == ("spiking", 0.5)
    assert (bare.output, bare.beta) == ("integrator", (0.5,) * (depth - 1) + (0,))


@pytest.mark.parametrize(
    ("order", "places", "facts"),
    [
        ((A, ONE, B, C, TWO), (), ("3 layers", "2 neurons")),
        ((A, B, ONE, C), (), ("lif1", "3 layers")),
        ((A, B, C, ONE, TWO), ("lif1=lif2", "lif2=lif3"), ("3 layers", "2 neurons")),
        ((LAYERS[1],), (), ("1 layers", "0 neurons")),
    ],
)
def test_a_neuron_that_is_missing_elsewhere_is_refused(order, places, facts):
    with refusing(UserError, *facts, "net.pt"):
        convert(built(*order), "net.pt", places=places)


def test_norms_are_counted_and_measured():
    state = trained(Net(norm=True)).state_dict()
    one = {name: value for name, value in state.items() if not name.startswith("norm1")}
    notes = convert(one, places=("norm2=conv2",), padding="valid").notes
    assert "norm2 is folded into conv2, with its running statistics and eps 1e-05" in notes
    with refusing(UserError, "norm1", 3, "conv2", 4):
        convert(state, places=("norm1=conv2", "norm2=conv1"), padding="valid")
    with refusing(UserError, "norm2", "BatchNorm", "conv1", "conv2", "fc1", "fc2"):
        convert(state, places=("norm2=lif1",), padding="valid")


def test_numbers_in_names_that_contradict_the_order_are_reported():
    found = convert(built(*LAYERS, TWO, ONE))
    assert found.config.beta == (0.7, 0.5)
    assert any(note.startswith("using lif2, lif1 in the order of their dec") for note in found.notes)
    placed = convert(built(*LAYERS, TWO, ONE), places=("lif1=lif1", "lif2=lif2"))
    assert placed.config.beta == (0.5, 0.7) and not any("their declaration" in note for note in placed.notes)


def test_names_without_numbers_have_no_order_in_a_safetensors_file(tmp_path):
    state = Net().state_dict()
    renamed = {name.replace("conv1", "stem").replace("conv2", "body"): value for name, value in state.items()}
    path = str(tmp_path / "net.safetensors")
    save_file(renamed, path)
    with refusing(UserError, "body", "stem", "places"):
        state_dict.read(path, padding="valid")
    found = state_dict.read(path, places=("stem=conv1", "body=conv2"), padding="valid", divided_by=256)
    assert np.array_equal(found.tensors["conv1.weight"], state["conv1.weight"].numpy())
