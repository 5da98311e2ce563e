"""The stack, neurons and weights are read from a state_dict in its common forms, or an error says why they can't be."""

import numpy as np
import pytest
import snntorch as snn
import torch
from foreign_networks import LAYERS, ONE, TWO, Net, as_written, built, foreign, trained
from refusals import refusing
from torch import nn

from csnn_jax.config import Config
from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import expected_shapes, on_grid
from csnn_jax.trained import Trained
from csnn_torch import model as companion
from csnn_torch.library import Torch
from csnn_torch.state_dict import UNSEEN, convert

pytestmark = pytest.mark.numeric

VALID = {"padding": "valid"}
NORMALIZED = VALID | {"normalize": (0.1307, 0.3081)}


def changed(**tensors) -> dict:
    """The state_dict of `foreign` with other tensors, `_2_beta` for 2.beta; None removes one."""
    state = foreign().state_dict()
    state |= {name[1:].replace("_", ".", 1): value for name, value in tensors.items()}
    return {name: torch.as_tensor(value) for name, value in state.items() if value is not None}


def recurrent(neurons: nn.Module) -> dict:
    """The state_dict of a linear layer of 10 neurons on images of 28 by 28 pixels."""
    return built(("fc1", nn.Linear(784, 10)), ("lif1", neurons))


def padded() -> dict:
    """`Net` with weights for padded convolutions."""
    sizes = {"conv1": (3, 1, 5, 5), "conv2": (4, 3, 3, 3), "fc1": (10, 4 * 49)}
    return Net().state_dict() | {f"{name}.weight": torch.ones(shape) for name, shape in sizes.items()}


def norms(name: str, values: torch.Tensor) -> dict:
    return trained(Net(norm=True)).state_dict() | {name: values}


THIRD = torch.ones(6, 4, 3, 3)
REFUSED = [
    (changed(_2_graded_spikes_factor=2.0), {}, ("2.graded_spikes_factor", 2, 1)),
    (changed(_5_reset_mechanism_val=7), {}, ("5.reset_mechanism_val", 7, "0 (subtract)")),
    (changed(_2_graded_spikes_factor=torch.ones(2)), {}, ("2.graded_spikes_factor", [2])),
    (changed(_5_reset_mechanism_val=torch.nan), {}, ("5.reset_mechanism_val", "nan")),
    (changed(_2_beta=torch.ones(4)), {}, ("2.beta", [4], "per channel", [4, 1, 1])),
    (changed(_2_beta=torch.ones(4, 14, 14)), {}, ("2.beta", [4, 14, 14], "per channel", [4, 1, 1])),
    (changed(_8_threshold=torch.ones(19)), {}, ("8.threshold", [19], "per neuron", [20])),
    (changed(_8_threshold=torch.arange(20)), {}, ("8.threshold", 0, "2^-100", "2^100")),
    (changed(_2_beta=float("nan")), {}, ("2.beta", "nan")),
    (changed(_3_weight=THIRD.double() * 1e300), {}, ("3.weight", 1e300)),
    (changed(_3_weight=THIRD * 3e38), {}, ("3.weight", 3e38, "magnitudes")),
    (changed(_7_bias=torch.full((20,), -(2.0**33))), {}, ("7.bias", "-8.58993e+09", "magnitudes")),
    (changed(_3_running_mean=torch.ones(6)), {}, ("3.running_var", "running statistics")),
    (changed(_gru_hidden=torch.ones(6)), {}, ("gru", "hidden", "Conv2d")),
    (changed(_10_threshold=None), {}, ("10", "beta, graded_spikes_factor, reset_mechanism_val")),
    (changed(_3_weight=THIRD * torch.nan), {}, ("3.weight", "finite")),
    (changed(_3_bias=torch.ones(6, dtype=torch.int8)), {}, ("3.bias", "torch.int8", "floats")),
    (changed(_3_bias=torch.ones(5)), {}, ("3.bias", [5], [6])),
    (changed(_3_weight=torch.ones(6, 5, 3, 3)), {}, ("3.weight", [6, 5, 3, 3], [6, 4, 3, 3])),
    (changed(_3_weight=torch.ones(6, 4, 3, 5)), {}, ("3.weight", [6, 4, 3, 5], "square")),
    (changed(_0_weight=torch.ones(4, 1, 3)), {}, ("0.weight", [4, 1, 3], "Conv2d")),
    (changed(_7_weight=torch.ones(20, 97)), {}, ("7.weight", [20, 97], [20, 294], "no padding")),
    (changed(_7_weight=torch.ones(20, 150)), {}, ("7.weight", [20, 150], [20, 294], "padding valid would fit")),
    (
        changed(_7_weight=torch.ones(20, 1176)),
        {},
        ("7.weight", [20, 1176], "pool max none or pool none max would fit"),
    ),
    (
        changed(_0_weight=torch.ones(4, 1, 4, 4), _7_weight=torch.ones(20, 150)),
        {},
        ("kernel_size 4 3", "odd", "padding valid"),
    ),
    (recurrent(snn.RLeaky(beta=0.5, linear_features=9)), {}, ("lif1.recurrent.weight", [9, 9], [10, 10])),
    (recurrent(snn.RLeaky(beta=0.5, all_to_all=False, V=torch.ones(9))), {}, ("lif1.recurrent.V", [9])),
    (
        recurrent(snn.RLeaky(beta=0.5, all_to_all=False, V=torch.tensor([torch.inf] + 9 * [1.0]))),
        {},
        ("lif1.recurrent.V", "finite"),
    ),
    (
        built(LAYERS[0], ("lif1", snn.RLeaky(beta=0.5, all_to_all=False)), LAYERS[1], TWO),
        {},
        ("lif1.recurrent.V", "linear"),
    ),
    (
        built(LAYERS[0], ("lif1", snn.RLeaky(beta=0.5, conv2d_channels=3, kernel_size=2)), LAYERS[1], TWO),
        {},
        ("lif1.recurrent.weight", "2x2", "odd"),
    ),
    (
        built(LAYERS[0], ("lif1", snn.RLeaky(beta=0.5, conv2d_channels=3, kernel_size=(3, 5))), LAYERS[1], TWO),
        {},
        ("lif1.recurrent.weight", "[3, 3, 3, 5]", "square"),
    ),
    (
        recurrent(snn.RLeaky(beta=0.5, linear_features=10, reset_mechanism="none")),
        {"output": "integrator"},
        ("output integrator", "lif1"),
    ),
    (recurrent(snn.Leaky(beta=0.5)) | {"lif1.recurrent.more": torch.ones(1)}, {}, ("lif1.recurrent.more",)),
    (built(LAYERS[1], ("lif1", snn.Lapicque(beta=0.5))), {}, ("lif1.C", "snntorch.Leaky")),
    (
        built(LAYERS[0], ONE, ("bn1", nn.BatchNorm2d(3)), LAYERS[1], TWO),
        {},
        ("bn1", "lif1", "BatchNorm", "bn1=conv1"),
    ),
    (
        built(*LAYERS, ONE, TWO) | {"delay1.delay": torch.ones(3)},
        {},
        ("net.pt", "delay1.delay", "SynapticDelay", "lif1@3"),
    ),
    (built(*LAYERS, ("gn", nn.GroupNorm(1, 3)), ONE, TWO), {}, ("gn", "GroupNorm")),
    (norms("norm1.running_var", torch.ones(7)), VALID, ("net.pt", "norm1.running_var", "[7]", "[3]")),
    (norms("norm1.running_var", torch.tensor([1.0, -1.0, 1.0])), VALID, ("net.pt", "norm1.running_var", "negative")),
    (Net(norm=True).state_dict(), VALID | {"batchnorm_eps": -1}, ("batchnorm_eps -1",)),
    (padded(), {"normalize": (0.1, 0.3)}, ("conv1", 2)),
    (Net().state_dict(), VALID | {"normalize": (0.1,)}, ("normalize 0.1", "deviation")),
    (Net().state_dict(), VALID | {"normalize": (0.1, 0.0)}, ("normalize 0.1 0", "deviation")),
    (Net().state_dict(), VALID | {"normalize": (torch.nan, 0.3)}, ("normalize nan 0.3",)),
    (Net().state_dict(), VALID | {"normalize": (0.1, 0.2, 0.3, 0.0)}, ("normalize", "deviation")),
    (Net().state_dict(), VALID | {"normalize": (0.1, 0.2, 0.3, 0.4)}, ("normalize", "2 means", "1 channels")),
    (Net().state_dict(), NORMALIZED | {"encoding": "rate"}, ("encoding rate", "normalize")),
    (Net().state_dict(), VALID | {"divided_by": -1}, ("divided_by -1",)),
    (Net().state_dict(), VALID | {"divided_by": float("nan")}, ("divided_by nan",)),
    (Net().state_dict(), VALID | {"divided_by": 255, "encoding": "rate"}, ("divided_by", "encoding rate")),
    (Net().state_dict(), VALID | {"divided_by": 255, "scale": 4096.0, "input_bits": 12}, ("divided_by", 255)),
]


@pytest.mark.parametrize(("state", "options", "facts"), REFUSED)
def test_a_state_dict_that_cannot_be_converted_is_refused(state, options, facts):
    file = [] if options else ["net.pt"]
    with refusing(UserError, *facts, *file):
        convert(state, "net.pt", **options)


def test_the_caller_supplies_what_a_state_dict_lacks():
    fields = {"pool": "avg", "surrogate": "atan", "slope": 3.0, "time_steps": 7}
    config, tensors, notes = convert(foreign().state_dict(), **fields)
    assert (config.pool, config.surrogate, config.slope, config.time_steps) == ("avg", "atan", 3.0, 7)
    assert config.beta == (0.9, 1.0, 0.3, 0.8) and config.thresholds == (1, 0.7, 1, 0.5)  # as written in the network
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected_shapes(config)
    np.testing.assert_array_equal(tensors["conv2.weight"], foreign()[3].weight.detach().numpy())
    divided, clipped, unseen = notes
    assert "divided by 255 (divided_by)" in divided
    assert clipped == "5.beta: clipped to between 0 and 1, as in snnTorch" and unseen == UNSEEN


@pytest.mark.parametrize(("fields", "fit"), [({}, True), ({"time_steps": 7}, True), ({"stride": 1}, False)])
def test_a_note_has_other_flags_that_fit_except_for_given_ones(fields, fit):
    notes = convert(foreign().state_dict(), **fields).notes
    assert any("with stride 2 pool none; " in note for note in notes) == fit


def test_older_snntorchs_have_no_factor_and_no_reset_in_the_file():
    old = {f"_{n}_{name}": None for n in (2, 5, 8, 10) for name in ("graded_spikes_factor", "reset_mechanism_val")}
    config, _, notes = convert(changed(**old))
    assert config.reset == "subtract" and "the file has no reset_mechanism_val: assuming subtract" in notes


def linear() -> nn.Sequential:
    """A network on flattened images of 6 by 5 pixels and two channels."""
    torch.manual_seed(4)
    neurons = snn.Leaky(beta=0.7, threshold=0.4, init_hidden=True, output=True)
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 10), neurons)
    with torch.no_grad():
        network[1].weight *= 3
    return network


FORMS = {
    "layers before neurons": (Net(), VALID, "a state_dict doesn't contain"),
    "one neuron for all": (Net(shared=True), VALID | {"places": [f"lif1=lif{n}" for n in (1, 2, 3)]}, ""),
    "no bias": (Net(bias=False), VALID, ""),
    "norms, no bias": (trained(Net(norm=True, bias=False)), VALID, "fc1: no bias, using 0 because the other layers"),
    "kernels of two sizes": (Net(sizes=(2, 4)), VALID, ""),
    "another order": (Net(turned=True), VALID | {"places": ["conv1=conv1", "conv2=conv2"]}, ""),
    "normalized, no bias": (trained(Net(bias=False)), NORMALIZED, "the normalization of images by mean"),
    "normalized, norms": (trained(Net(norm=True)), NORMALIZED, "the normalization of images by mean"),
    "normalized, flat": (
        linear(),
        {"input_shape": (6, 5, 2), "normalize": (0.4, 0.6, 0.3, 0.2)},
        "the normalization of images by mean",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_spikes_match_the_original_network(form):
    net, options, note = FORMS[form]
    converted = convert(net.state_dict(), "net.pt", time_steps=9, divided_by=256, **options)
    assert converted.config.bias == (form != "no bias") and any(line.startswith(note) for line in converted.notes)
    assert any("no bias, using 0" in line for line in converted.notes) == (form == "norms, no bias")
    height, width, channels = converted.config.input_shape
    x = torch.rand(20, channels, height, width, generator=torch.Generator().manual_seed(1))
    values = torch.tensor(options.get("normalize", [0.0, 1.0]))
    mean, std = values.reshape(2, 1, -1, 1, 1)
    with torch.no_grad():
        normal = (x - mean) / std
        theirs = net(normal, 9) if isinstance(net, Net) else companion.forward(net, normal, 9)
        ours = companion.forward(as_written(converted), x, 9)
    assert 0.02 < theirs.mean() < 0.95
    assert (theirs != ours).sum() <= (4 if "normalized" in form else 2 if "norms" in form else 0)  # folding rounds


def test_the_eps_of_norms_can_be_given():
    net = Net(norm=True)
    net.norm1.eps = net.norm2.eps = 1e-3
    with torch.no_grad():
        for norm in (net.norm1, net.norm2):
            norm.running_var.fill_(0.002)  # so eps matters
            norm.running_var[0] = 0  # of a channel that never changes
        net.norm1.weight[1] = -0.5
        x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(1))
        theirs, different = net.eval()(x, 9), []
        for eps in (1e-3, 1e-5):
            converted = convert(net.state_dict(), padding="valid", time_steps=9, batchnorm_eps=eps, divided_by=256)
            assert f"norm2 is folded into conv2, with its running statistics and eps {eps:g}" in converted.notes
            assert any(
                note.startswith("norm1") and "some of its weights are negative" in note for note in converted.notes
            )
            different.append((theirs != companion.forward(as_written(converted), x, 9)).sum())
    assert different[0] <= 2 < different[1]


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
    converted = convert(net.state_dict(), "net.pt", **VALID, **fields)
    state = {name: net.get_parameter(name).detach().numpy() for name in converted.tensors}
    assert any("conv1 compensates for it" in note for note in converted.notes) == (factor != 1)
    state["conv1.weight"] = (state["conv1.weight"].astype(np.float64) * factor).astype(np.float32)
    for name, tensor in converted.tensors.items():
        np.testing.assert_array_equal(tensor, state[name])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_other_floats_become_float32_with_a_note_and_names_may_have_a_prefix(kind):
    state = {f"net.0.{name}": value.to(kind) if value.ndim else value for name, value in Net().state_dict().items()}
    converted = convert(state, **VALID)
    assert {tensor.dtype for tensor in converted.tensors.values()} == {np.dtype(np.float32)}
    assert converted.config.conv_channels == (3, 4)
    assert f"weights of type {kind} are converted to float32" in converted.notes


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
        convert(state, "net.pt")
    converted = convert(state, "net.pt", (size, size, channels), padding=padding)
    assert converted.config.input_shape == (size, size, channels)


def test_an_assumed_image_size_is_reported_for_color_images():
    state = built(("conv1", nn.Conv2d(3, 4, 3)), ("fc1", nn.Linear(4 * 196, 10)), ONE, TWO)
    assert "assuming images of 28x28x3; use input_shape for another size" in convert(state).notes
    assert not any("assuming images" in note for note in convert(state, input_shape=(28, 28, 3)).notes)


class Recurrent(nn.Module):
    """A convolution and two linear layers whose neurons read their own spikes, with the loop of snnTorch's tutorials.

    Args:
        kind: RLeaky or RSynaptic.
        reset: `reset_mechanism`.
        how: `all` to all, `V` for each neuron, or one `V` for all.
    """

    def __init__(self, kind: type, reset: str, how: str):
        super().__init__()
        torch.manual_seed(1)
        of = {"beta": 0.9, "threshold": 0.6, "reset_mechanism": reset} | (
            {"alpha": 0.7} if kind is snn.RSynaptic else {}
        )

        def neurons(size: int) -> nn.Module:
            fed_back = {"linear_features": size}
            if how != "all":
                fed_back = {"all_to_all": False, "V": torch.randn(size) if how == "V" else -0.3}
            return kind(**of, **fed_back)

        self.conv1 = nn.Conv2d(1, 2, 3, padding=1)
        self.lif1 = kind(**of, conv2d_channels=2, kernel_size=5)
        self.fc1, self.lif2, self.fc2, self.lif3 = nn.Linear(32, 8), neurons(8), nn.Linear(8, 5), neurons(5)
        with torch.no_grad():
            for layer in (self.conv1, self.fc1, self.fc2):
                layer.weight *= 2

    @torch.no_grad()
    def forward(self, x: torch.Tensor, steps: int) -> list[torch.Tensor]:
        """The membranes of each layer [time, batch, ...]."""
        lifs = self.lif1, self.lif2, self.lif3
        states = [[torch.zeros(1)] * (2 + (type(lif) is snn.RSynaptic)) for lif in lifs]
        membranes = []
        for _ in range(steps):
            spikes = x
            for number, (layer, lif) in enumerate(zip((self.conv1, self.fc1, self.fc2), lifs, strict=True)):
                states[number] = lif(layer(spikes if number == 0 else spikes.flatten(1)), *states[number])
                spikes = states[number][0]
            membranes.append([state[-1] for state in states])
        return [torch.stack(layer) for layer in zip(*membranes, strict=True)]


@pytest.mark.parametrize("how", ["all", "V", "one V"])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("kind", [snn.RLeaky, snn.RSynaptic])
def test_recurrent_neurons_have_the_membranes_of_the_users_loop(kind, reset, how):
    network = Recurrent(kind, reset, how)
    options = {"input_shape": (4, 4, 1), "pool": "none", "divided_by": 256, "time_steps": 15}
    config, tensors, _ = convert(network.state_dict(), **options)
    assert all(node.operation.separate for node in config.graph.neurons) and config.output == "spiking"
    rounded = on_grid(config, tensors)
    state = network.state_dict()
    for name, tensor in rounded.items():
        number = name[3]
        named = name.replace("rec", "lif").replace(number, f"{number}.recurrent", 1) if "rec" in name else name
        named = named.replace("weight", "V") if f"lif{number}.recurrent.V" in state and "rec" in name else named
        values = torch.tensor(tensor)
        state[named] = values[0] if state[named].ndim == 0 else values
    network.load_state_dict(state)
    x = torch.randint(0, 256, (6, 1, 4, 4), generator=torch.Generator().manual_seed(2)).float() / 256
    library = Torch()
    steps = list(library.run(config.graph, library.parameters(config.graph, rounded), x, 15))
    for node, theirs in zip(config.graph.neurons, network(x, 15), strict=True):
        assert 0.02 < np.mean([one.values[node.name].mean() for one in steps]) < 0.9
        assert torch.equal(torch.stack([one.states[node.name]["mem"] for one in steps]), theirs)


def test_recurrent_neurons_run_in_jax_like_in_torch():
    config, tensors, _ = convert(Recurrent(snn.RLeaky, "zero", "all").state_dict(), input_shape=(4, 4, 1), pool="none")
    rounded, images = on_grid(config, tensors), np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
    library, x = Torch(), torch.tensor(images).movedim(-1, 1) / 256
    steps = list(library.run(config.graph, library.parameters(config.graph, rounded), x, config.time_steps))
    ours = Trained(Config(config), rounded).trace(images).membranes
    for node in config.graph.neurons:
        theirs = np.stack([one.states[node.name]["mem"] for one in steps])
        np.testing.assert_array_equal(ours[node.name], np.moveaxis(theirs, 2, -1))
