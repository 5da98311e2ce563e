"""The place of each module of a state_dict, found or refused by name."""

import numpy as np
import pytest
import snntorch as snn
import torch
from foreign_networks import LAYERS, ONE, TWO, Net, built, foreign, trained
from safetensors.torch import save_file
from torch import nn

from csnn_jax.errors import UserError
from csnn_torch import state_dict
from csnn_torch.state_dict import convert


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ((), r"conv1.weight has shape \[3, 1, 5, 5\], expected .*by --map NAME=conv1"),
        (
            ("first=conv1",),
            r"--map first=conv1: net.pt has no module first, expected one of conv2, conv1, fc1, lif1, lif2",
        ),
        (("conv1=conv1", "conv2=conv1"), "--map: conv1 and conv2 are both given the place conv1, expected one module"),
        (("conv1=fc1",), "--map conv1=fc1: conv1 is a Conv2d, expected conv1, conv2, ... as its place"),
        (("conv1=conv3",), "--map conv1=conv3: net.pt has only 2 such places"),
        (("conv1",), "--map conv1: expected NAME=PLACE"),
        (("conv1=conv" + 5000 * "9",), "--map conv1=conv9{60,80}: expected NAME=PLACE, such as encoder=conv1"),
        (("lif1=lif0",), "--map lif1=lif0: lif1 is a snntorch.Leaky, expected lif1, lif2, ... as its place"),
    ],
)
def test_a_place_that_there_is_not_is_refused(places, message):
    with pytest.raises(UserError, match=message):
        convert(Net(turned=True).state_dict(), "net.pt", places=places, padding="valid")


def test_one_neuron_may_have_several_places():
    state = {name: value for name, value in Net().state_dict().items() if not name.startswith("lif3")}
    with pytest.raises(
        UserError, match=r"3 layers have weights and 2 neurons were found, .*found conv1 \[3, 1, 5, 5\], "
    ):
        convert(state, "net.pt", padding="valid")
    state["lif2.beta"] = torch.tensor(0.25)
    found = convert(state, places=("lif1=lif1", "lif1=lif3", "lif2=lif2"), padding="valid")
    assert found.config.betas == (0.7, 0.25, 0.7)


def test_norms_are_counted_and_measured():
    state = trained(Net(norm=True)).state_dict()
    one = {name: value for name, value in state.items() if not name.startswith("norm1")}
    assert (
        "norm2 is folded into conv2, with its running statistics and eps 1e-05"
        in convert(one, places=("norm2=conv2",), padding="valid").notes
    )
    with pytest.raises(UserError, match="norm1 has 3 channels and conv2 4, expected equal numbers"):
        convert(state, places=("norm1=conv2", "norm2=conv1"), padding="valid")
    with pytest.raises(
        UserError, match=r"norm2 is a BatchNorm, expected conv1, conv2, ... or fc1, fc2, ... as its place"
    ):
        convert(state, places=("norm2=lif1",), padding="valid")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (built(LAYERS[0], ONE, LAYERS[1]), "no snntorch.Leaky comes after fc1, expected one after every layer"),
        (
            built(LAYERS[1], ("lif1", snn.RLeaky(beta=0.5, linear_features=10))),
            "lif1.recurrent.weight belongs to the neuron lif1, a recurrent one such as snntorch.RLeaky",
        ),
        (built(LAYERS[1], ("lif1", snn.Synaptic(alpha=0.9, beta=0.5))), "lif1.alpha is no tensor of a snntorch.L"),
        (
            built(LAYERS[0], ONE, ("bn1", nn.BatchNorm2d(3)), LAYERS[1], TWO),
            "bn1 stands after the neuron lif1, where csnn_jax has no BatchNorm; .* by --map bn1=conv1",
        ),
        (built(*LAYERS, ("gn", nn.GroupNorm(1, 3)), ONE, TWO), "gn.* such as GroupNorm, are not supported"),
        (
            built(("conv1", nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 3, 3))), LAYERS[1], ONE, TWO),
            "conv1 has bias, expected a network of Conv2d, Linear, BatchNorm2d and snntorch.Leaky alone",
        ),
        (
            built(("conv1", nn.Conv2d(1, 3, 5, padding=1)), ("fc1", nn.Linear(507, 10)), ONE, TWO),
            "no --padding, --stride and --pool make them fit: a padding is 0 here, or half a kernel",
        ),
        (
            built(
                *(("conv1", nn.Conv2d(1, 3, 5)), ("conv2", nn.Conv2d(3, 4, 3, padding=1))),
                *(("fc1", nn.Linear(4 * 36, 10)), ONE, TWO, ("lif3", snn.Leaky(beta=0.5))),
            ),
            "to it; --padding same valid or --padding valid same would fit",
        ),
    ],
)
def test_networks_of_other_modules_are_refused_by_what_they_are(state, message):
    with pytest.raises(UserError, match=f"^net.pt: .*{message}"):
        convert(state, "net.pt")


def test_numbers_in_names_that_contradict_the_order_are_told():
    found = convert(built(*LAYERS, TWO, ONE))
    assert found.config.betas == (0.7, 0.5)
    assert (
        "lif2, lif1 are taken in this order, in which they were declared; --map gives them other places" in found.notes
    )
    placed = convert(built(*LAYERS, TWO, ONE), places=("lif1=lif1", "lif2=lif2"))
    assert placed.config.betas == (0.5, 0.7) and not any("taken in this order" in note for note in placed.notes)


def numbered(state: dict, path) -> str:
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return str(path)


@pytest.mark.parametrize("net", [trained(Net(norm=True)), foreign()], ids=["module", "sequential"])
def test_a_safetensors_file_gives_the_same_network(net, tmp_path):
    flags = {} if isinstance(net, nn.Sequential) else {"padding": "valid"}
    torch.save(net.state_dict(), tmp_path / "net.pt")
    theirs = state_dict.read(str(tmp_path / "net.pt"), **flags)
    found = state_dict.read(numbered(net.state_dict(), tmp_path / "net.safetensors"), **flags)
    assert found.config == theirs.config and found.tensors.keys() == theirs.tensors.keys()
    assert all(np.array_equal(found.tensors[name], theirs.tensors[name]) for name in found.tensors)


def test_names_without_numbers_have_no_order_in_a_safetensors_file(tmp_path):
    state = Net().state_dict()
    renamed = {name.replace("conv1", "stem").replace("conv2", "body"): value for name, value in state.items()}
    path = numbered(renamed, tmp_path / "net.safetensors")
    with pytest.raises(UserError, match=r"body, stem: a safetensors file does not hold their order, .* by --map"):
        state_dict.read(path, padding="valid")
    found = state_dict.read(path, places=("stem=conv1", "body=conv2"), padding="valid")
    assert np.array_equal(found.tensors["conv1.weight"], state["conv1.weight"].numpy())
