"""The stack, neurons and weights of a state_dict, or why it can't be converted."""

import numpy as np
import pytest
import torch
from foreign_networks import foreign

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import expected_shapes
from csnn_torch import state_dict


def broken(change) -> dict:
    state = foreign().state_dict()
    change(state)
    return state


def setting(name, value):
    return lambda state: state.__setitem__(name, torch.as_tensor(value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting("2.graded_spikes_factor", 2.0), r"2.graded_spikes_factor is 2, expected 1"),
        (setting("5.reset_mechanism_val", 0), r"5.reset_mechanism_val is 0, expected .* \(the first has 1\)"),
        (setting("5.reset_mechanism_val", 7), r"5.reset_mechanism_val is 7, expected 0 \(subtract\)"),
        (setting("2.beta", torch.ones(4)), r"2.beta has shape \[4\], expected one value"),
        (setting("2.beta", float("nan")), r"2.beta is nan"),
        (setting("2.threshold", -1.0), r"2.threshold is -1, expected a positive number"),
        (setting("2.alpha", 0.9), r"2.alpha is not a tensor of a snntorch.Leaky"),
        (setting("3.running_mean", torch.ones(4)), r"3.running_mean is not a tensor of a Conv2d or Linear"),
        (lambda state: state.pop("3.bias"), r"3.bias is missing, expected a Conv2d or Linear with a bias"),
        (lambda state: state.pop("10.threshold"), r"10.threshold is missing, expected a snntorch.Leaky"),
        (setting("11.weight", torch.ones(3, 10)), r"11.bias is missing"),
        (setting("3.weight", torch.full((6, 4, 3, 3), float("nan"))), r"3.weight holds values that are not finite"),
        (
            setting("3.weight", torch.ones(6, 4, 3, 3).double()),
            r"3.weight has type torch.float64, expected torch.float32",
        ),
        (setting("3.weight", torch.ones(6, 5, 3, 3)), r"3.weight has shape \[6, 5, 3, 3\], expected \[6, 4, 3, 3\]"),
        (setting("0.weight", torch.ones(4)), r"0.weight has shape \[4\], expected that of a Conv2d or Linear"),
        (setting("7.weight", torch.ones(20, 96)), r"7.weight .*expected \[20, 294\]: images of --input-shape 28 28 1"),
    ],
)
def test_what_can_not_be_converted_is_refused_by_name(change, message):
    with pytest.raises(UserError, match=f"^net.pt: {message}"):
        state_dict.convert(broken(change), ModelConfig(), None, "net.pt")


def test_an_older_snntorchs_state_has_no_graded_spikes_factor():
    state = broken(lambda state: [state.pop(f"{n}.graded_spikes_factor") for n in (2, 5, 8, 10)])
    config, _ = state_dict.convert(state, ModelConfig(pool="avg"), None, "net.pt")
    assert config.pool == "avg" and config.num_classes == 10


def test_what_a_state_dict_lacks_comes_from_the_flags():
    given = ModelConfig(pool="avg", surrogate="atan", slope=3.0, time_steps=7)
    config, tensors = state_dict.convert(foreign().state_dict(), given, None, "net.pt")
    assert (config.pool, config.surrogate, config.slope, config.time_steps) == ("avg", "atan", 3.0, 7)
    assert config.betas == pytest.approx((0.9, 1.0, 0.3, 0.8)) and config.thresholds == pytest.approx((1, 0.7, 1, 0.5))
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected_shapes(config)
    np.testing.assert_array_equal(tensors["conv2.weight"], foreign()[3].weight.detach().numpy())


def test_layers_of_another_order_are_refused():
    state = foreign().state_dict()
    order = ("7", "8", "0", "2", "3", "5", "9", "10")  # a linear layer first
    turned = {key: value for layer in order for key, value in state.items() if key.partition(".")[0] == layer}
    with pytest.raises(UserError, match="a convolution comes after a linear layer"):
        state_dict.convert(turned, ModelConfig(), None, "net.pt")
    alone = {key: value for key, value in state.items() if not key.startswith("10.")}
    with pytest.raises(UserError, match=r"no snntorch.Leaky after 9, expected one after every Conv2d and Linear"):
        state_dict.convert(alone, ModelConfig(), None, "net.pt")


def test_a_saved_file_gives_its_tensors_and_other_content_is_named(tmp_path):
    path = tmp_path / "net.pt"
    torch.save(foreign().state_dict(), path)
    found = state_dict.load(str(path))
    assert list(found) == list(foreign().state_dict()) and torch.equal(found["3.weight"], foreign()[3].weight)
    torch.save({"epoch": 3} | foreign().state_dict(), path)
    with pytest.raises(UserError, match=r"epoch is a int, expected a state_dict .*of tensors only"):
        state_dict.load(str(path))
    torch.save({}, path)
    with pytest.raises(UserError, match="holds a dict, expected a state_dict"):
        state_dict.load(str(path))


def test_what_is_saved_around_it_or_needs_no_conversion_is_told(tmp_path):
    path = str(tmp_path / "net.pt")
    torch.save({"model": foreign().state_dict()}, path)
    with pytest.raises(UserError, match=r"model is a \w+, expected .*; save network.state_dict\(\) alone"):
        state_dict.load(path)
    with pytest.raises(UserError, match="holds the weights of a run, which needs no conversion"):
        state_dict.load(str(tmp_path / "weights.safetensors"))


def test_layers_declared_before_their_neurons_are_told_the_order():
    state = foreign().state_dict()
    weights_first = dict(sorted(state.items(), key=lambda item: "weight" not in item[0] and "bias" not in item[0]))
    with pytest.raises(UserError, match="layers are declared in the order in which they run: Conv2d, Leaky"):
        state_dict.convert(weights_first, ModelConfig(), None, "net.pt")


def test_values_are_told_as_they_were_written():
    config, _ = state_dict.convert(foreign().state_dict(), ModelConfig(), None, "net.pt")
    assert config.betas == (0.9, 1.0, 0.3, 0.8)
