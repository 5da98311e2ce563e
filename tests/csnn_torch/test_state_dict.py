"""The stack, neurons and weights of a state_dict in the forms in which people save it, or why it can't be converted."""

import numpy as np
import pytest
import snntorch as snn
import torch
from foreign_networks import foreign
from safetensors.torch import save_file
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
    ("change", "message"),
    [
        (setting("2.graded_spikes_factor", 2.0), r"2.graded_spikes_factor is 2, expected 1"),
        (
            setting("5.reset_mechanism_val", 0),
            r"5.reset_mechanism_val is 0 \(subtract\) and 2's 1 \(zero\), expected eq",
        ),
        (setting("10.reset_mechanism_val", 2), r"10.reset_m.* is 2 \(none\) .* give that layer reset_mechanism='zero'"),
        (setting("5.reset_mechanism_val", 7), r"5.reset_mechanism_val is 7, expected 0 \(subtract\)"),
        (setting("2.beta", torch.ones(4)), r"2.beta has shape \[4\], expected one value"),
        (setting("2.beta", float("nan")), r"2.beta is nan"),
        (setting("2.threshold", 1 + 2j), r"2.threshold has type torch.complex64, expected one of float16, bfloat16, f"),
        (setting("3.weight", torch.eye(6).to_sparse()), r"3.weight is sparse, expected a dense tensor of floats"),
        (setting("3.weight", torch.full((6, 4, 3, 3), 1e300, dtype=torch.float64)), r"3.weight leaves float32's range"),
        (setting("2.threshold", -1.0), r"2.threshold is -1, expected a positive number"),
        (setting("2.alpha", 0.9), r"2.alpha is no tensor of a snntorch.Leaky"),
        (setting("3.running_mean", torch.ones(6)), r"3.running_var is missing, expected the running statistics"),
        (setting("3.scale", torch.ones(6)), r"3.scale is no tensor of a Conv2d"),
        (setting("gru.hidden", torch.ones(6)), r"gru has hidden, expected a network of Conv2d"),
        (
            lambda state: state.pop("10.threshold"),
            r"10 has beta, graded_spikes_factor, reset_mechanism_val, expected a network",
        ),
        (setting("3.weight", torch.full((6, 4, 3, 3), float("nan"))), r"3.weight holds values that are not finite"),
        (
            setting("3.weight", torch.ones(6, 4, 3, 3, dtype=torch.int8)),
            r"3.weight has type torch.int8, expected floats",
        ),
        (setting("3.bias", torch.ones(5)), r"3.bias has shape \[5\], expected \[6\]"),
        (
            setting("3.weight", torch.ones(6, 5, 3, 3)),
            r"3.weight has shape \[6, 5, 3, 3\], expected \[6, 4, 3, 3\]; say",
        ),
        (setting("3.weight", torch.ones(6, 4, 3, 5)), r"3.weight has shape \[6, 4, 3, 5\], expected a square kernel"),
        (
            setting("0.weight", torch.ones(4)),
            r"0.running_mean is missing, expected the running statistics of a BatchNorm",
        ),
        (setting("0.weight", torch.ones(4, 1, 3)), r"0.weight has shape \[4, 1, 3\], expected that of a Conv2d or Lin"),
        (
            setting("7.weight", torch.ones(20, 97)),
            r"7.weight .*expected \[20, 294\]: images of --input-shape 28 28 1 .*it; no --padding",
        ),
        (setting("7.weight", torch.ones(20, 150)), r"expected \[20, 294\]: .* to it; --padding valid would fit$"),
        (setting("7.weight", torch.ones(20, 4704)), r"expected \[20, 294\]: .* to it; --pool none would fit$"),
        (
            setting("7.weight", torch.ones(20, 1176)),
            r"expected \[20, 294\]: .* to it; --pool max none or --pool none max would fit$",
        ),
        (
            even,
            r"--kernel-size 4 3: expected odd sizes.*; --padding valid .*fit",
        ),
    ],
)
def test_what_can_not_be_converted_is_refused_by_name(change, message):
    with pytest.raises(UserError, match=f"^net.pt: .*{message}"):
        state_dict.convert(broken(change), "net.pt")


def test_what_a_state_dict_lacks_comes_from_the_caller():
    given = {"pool": "avg", "surrogate": "atan", "slope": 3.0, "time_steps": 7}
    config, tensors, notes = state_dict.convert(foreign().state_dict(), **given)
    assert (config.pool, config.surrogate, config.slope, config.time_steps) == ("avg", "atan", 3.0, 7)
    assert config.betas == (0.9, 1.0, 0.3, 0.8) and config.thresholds == (1, 0.7, 1, 0.5)  # as they were written
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected_shapes(config)
    np.testing.assert_array_equal(tensors["conv2.weight"], foreign()[3].weight.detach().numpy())
    assert notes[-1] == state_dict.UNSEEN and len(notes) == 2
    assert (
        notes[0]
        == "the weights fit with --stride 2 --pool none as well; a state_dict does not show which of them it was"
    )


def test_older_snntorchs_have_no_factor_and_no_reset_in_the_file():
    old = [f"{n}.{name}" for n in (2, 5, 8, 10) for name in ("graded_spikes_factor", "reset_mechanism_val")]
    config, _, notes = state_dict.convert(broken(lambda state: [state.pop(name) for name in old]))
    assert config.reset == "subtract" and "no reset_mechanism_val is in the file: taken as subtract" in notes


class Net(nn.Module):
    """Layers before neurons, as the tutorials' classes have them; what is in it depends on the arguments."""

    def __init__(self, norm=False, bias=True, shared=False, sizes=(5, 3), turned=False):
        super().__init__()
        torch.manual_seed(3)
        convs = [("conv1", nn.Conv2d(1, 3, sizes[0], bias=bias)), ("conv2", nn.Conv2d(3, 4, sizes[1], bias=bias))]
        for name, conv in reversed(convs) if turned else convs:
            self.add_module(name, conv)
        if norm:
            self.norm1, self.norm2 = nn.BatchNorm2d(3), nn.BatchNorm2d(4)
        self.fc1 = nn.Linear(4 * 25, 10, bias=bias)
        neurons = dict(beta=0.7, threshold=0.4)
        self.lif1 = snn.Leaky(**neurons)
        if not shared:
            self.lif2, self.lif3 = snn.Leaky(**neurons), snn.Leaky(**neurons)
        self.norm = norm
        with torch.no_grad():
            for module in (self.conv1, self.conv2, self.fc1):
                module.weight *= 4

    def forward(self, x, steps):
        lifs = [getattr(self, name, self.lif1) for name in ("lif1", "lif2", "lif3")]
        membranes, found = [torch.zeros(1)] * 3, []
        for _ in range(steps):
            spikes = x
            for number, layer in enumerate((self.conv1, self.conv2, self.fc1)):
                current = layer(spikes if number < 2 else spikes.flatten(1))
                if number < 2:
                    if self.norm:
                        current = (self.norm1, self.norm2)[number](current)
                    current = nn.functional.max_pool2d(current, 2)
                spikes, membranes[number] = lifs[number](current, membranes[number])
            found.append(spikes)
        return torch.stack(found)


def trained(net: Net) -> Net:
    """With running statistics of its own, in evaluation."""
    with torch.no_grad():
        net.train()(torch.rand(32, 1, 28, 28), 2)
    return net.eval()


FORMS = {
    "layers before neurons": (Net(), ()),
    "one neuron for all": (Net(shared=True), ()),
    "no bias": (Net(bias=False), ()),
    "norms": (trained(Net(norm=True)), ()),
    "norms, no bias": (trained(Net(norm=True, bias=False)), ()),
    "kernels of two sizes": (Net(sizes=(2, 4)), ()),
    "another order": (Net(turned=True), ("conv1=conv1", "conv2=conv2")),
}
NOTES = {
    "one neuron for all": "lif1 is the neuron of all 3 layers",
    "norms": "norm2 is folded into conv2, with its running statistics and eps 1e-05",
    "norms, no bias": "fc1 without a bias get one of 0, as the others have one",
}


@pytest.mark.parametrize("form", FORMS)
def test_the_spikes_are_the_networks_own(form):
    net, places = FORMS[form]
    found = state_dict.convert(net.state_dict(), "net.pt", places=places, padding="valid", time_steps=9)
    assert found.config.bias == (form != "no bias") and found.config.conv_channels == (3, 4)
    assert form not in NOTES or NOTES[form] in found.notes
    x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    network = companion.sequential(found.config)
    companion.load_tensors(network, found.tensors)
    with torch.no_grad():
        theirs, ours = net(x, 9), companion.run(network, x, 9)
    assert 0.02 < theirs.mean() < 0.9
    assert (theirs != ours).sum() <= (2 if "norm" in form else 0)  # folding rounds


def test_norms_that_are_folded_with_negative_weights_are_told():
    net = trained(Net(norm=True))
    with torch.no_grad():
        net.norm1.weight[1] = -0.5
    found = state_dict.convert(net.state_dict(), padding="valid")
    assert any("norm1 is folded" in note and "some of its weights are negative" in note for note in found.notes)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32_with_a_word(kind):
    state = {name: value.to(kind) if value.ndim else value for name, value in Net().state_dict().items()}
    found = state_dict.convert(state, padding="valid")
    assert {tensor.dtype for tensor in found.tensors.values()} == {np.dtype(np.float32)}
    assert f"weights of type {kind} become float32" in found.notes


def test_names_may_have_a_prefix():
    for prefix in ("model.", "module.", "net.0.", "_orig_mod."):
        state = {prefix + name: value for name, value in Net().state_dict().items()}
        found = state_dict.convert(state, padding="valid")
        assert found.config.conv_channels == (3, 4)


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
        state_dict.convert(Net(turned=True).state_dict(), "net.pt", places=places, padding="valid")


def test_one_neuron_may_have_several_places():
    state = {name: value for name, value in Net().state_dict().items() if not name.startswith("lif3")}
    with pytest.raises(
        UserError, match=r"3 layers have weights and 2 neurons were found, .*found conv1 \[3, 1, 5, 5\], "
    ):
        state_dict.convert(state, "net.pt", padding="valid")
    state["lif2.beta"] = torch.tensor(0.25)
    found = state_dict.convert(state, places=("lif1=lif1", "lif1=lif3", "lif2=lif2"), padding="valid")
    assert found.config.betas == (0.7, 0.25, 0.7)


def test_norms_are_counted_and_measured():
    state = trained(Net(norm=True)).state_dict()
    one = {name: value for name, value in state.items() if not name.startswith("norm1")}
    assert (
        "norm2 is folded into conv2, with its running statistics and eps 1e-05"
        in state_dict.convert(one, places=("norm2=conv2",), padding="valid").notes
    )
    with pytest.raises(UserError, match="norm1 has 3 channels and conv2 4, expected equal numbers"):
        state_dict.convert(state, places=("norm1=conv2", "norm2=conv1"), padding="valid")
    with pytest.raises(
        UserError, match=r"norm2 is a BatchNorm, expected conv1, conv2, ... or fc1, fc2, ... as its place"
    ):
        state_dict.convert(state, places=("norm2=lif1",), padding="valid")
    for part in ("running_mean", "running_var"):
        without = {name: value for name, value in state.items() if name != f"norm1.{part}"}
        with pytest.raises(UserError, match=f"norm1.{part} is missing, expected the running statistics"):
            state_dict.convert(without, padding="valid")


def saved(*found: tuple[str, nn.Module]) -> dict:
    network = nn.Module()
    for one, module in found:
        network.add_module(one, module)
    return network.state_dict()


LAYERS = (("conv1", nn.Conv2d(1, 3, 3, padding=1)), ("fc1", nn.Linear(3 * 196, 10)))
ONE, TWO = (("lif1", snn.Leaky(beta=0.5)), ("lif2", snn.Leaky(beta=0.7)))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (saved(LAYERS[0], ONE, LAYERS[1]), "no snntorch.Leaky comes after fc1, expected one after every layer"),
        (
            saved(LAYERS[1], ("lif1", snn.RLeaky(beta=0.5, linear_features=10))),
            "lif1.recurrent.weight belongs to the neuron lif1, a recurrent one such as snntorch.RLeaky",
        ),
        (saved(LAYERS[1], ("lif1", snn.Synaptic(alpha=0.9, beta=0.5))), "lif1.alpha is no tensor of a snntorch.L"),
        (
            saved(LAYERS[0], ONE, ("bn1", nn.BatchNorm2d(3)), LAYERS[1], TWO),
            "bn1 stands after the neuron lif1, where csnn_jax has no BatchNorm; .* by --map bn1=conv1",
        ),
        (saved(*LAYERS, ("gn", nn.GroupNorm(1, 3)), ONE, TWO), "gn.* such as GroupNorm, are not supported"),
        (
            saved(("conv1", nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 3, 3))), LAYERS[1], ONE, TWO),
            "conv1 has bias, expected a network of Conv2d, Linear, BatchNorm2d and snntorch.Leaky alone",
        ),
        (
            saved(("conv1", nn.Conv2d(1, 3, 5, padding=1)), ("fc1", nn.Linear(507, 10)), ONE, TWO),
            "no --padding, --stride and --pool make them fit: a padding is 0 here, or half a kernel",
        ),
        (
            saved(
                *(("conv1", nn.Conv2d(1, 3, 5)), ("conv2", nn.Conv2d(3, 4, 3, padding=1))),
                *(("fc1", nn.Linear(4 * 36, 10)), ONE, TWO, ("lif3", snn.Leaky(beta=0.5))),
            ),
            "to it; --padding same valid or --padding valid same would fit",
        ),
    ],
)
def test_networks_of_other_modules_are_refused_by_what_they_are(state, message):
    with pytest.raises(UserError, match=f"^net.pt: .*{message}"):
        state_dict.convert(state, "net.pt")


def test_numbers_in_names_that_contradict_the_order_are_told():
    found = state_dict.convert(saved(*LAYERS, TWO, ONE))
    assert found.config.betas == (0.7, 0.5)
    assert (
        "lif2, lif1 are taken in this order, in which they were declared; --map gives them other places" in found.notes
    )
    placed = state_dict.convert(saved(*LAYERS, TWO, ONE), places=("lif1=lif1", "lif2=lif2"))
    assert placed.config.betas == (0.5, 0.7) and not any("taken in this order" in note for note in placed.notes)


@pytest.mark.parametrize("eps", [1e-3, 1e-5])
def test_the_eps_of_norms_is_given(eps):
    net = Net(norm=True)
    net.norm1.eps = net.norm2.eps = eps
    with torch.no_grad():
        for norm in (net.norm1, net.norm2):
            norm.running_var.fill_(0.002)  # so that eps counts
    net.eval()
    x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    spikes = {}
    for given in (1e-3, 1e-5):
        found = state_dict.convert(net.state_dict(), padding="valid", time_steps=9, batchnorm_eps=given)
        assert f"norm2 is folded into conv2, with its running statistics and eps {given:g}" in found.notes
        network = companion.sequential(found.config)
        companion.load_tensors(network, found.tensors)
        with torch.no_grad():
            spikes[given] = companion.run(network, x, 9)
    with torch.no_grad():
        theirs = net(x, 9)
    assert (theirs != spikes[eps]).sum() <= 2 < (theirs != spikes[1e-3 if eps == 1e-5 else 1e-5]).sum()
    assert "a BatchNorm's eps" in state_dict.UNSEEN
    with pytest.raises(UserError, match="--batchnorm-eps -1: expected a number of at least 0"):
        state_dict.convert(net.state_dict(), padding="valid", batchnorm_eps=-1)


def linear() -> nn.Sequential:
    """On flattened images of 6 by 5 pixels and two channels."""
    torch.manual_seed(4)
    found = nn.Sequential(
        nn.Flatten(), nn.Linear(60, 10), snn.Leaky(beta=0.7, threshold=0.4, init_hidden=True, output=True)
    )
    with torch.no_grad():
        found[1].weight *= 3
    return found


@pytest.mark.parametrize("kind", ["convolution", "no bias", "norm", "linear"])
def test_a_normalization_is_folded_into_a_first_layer_without_padding(kind):
    generator = torch.Generator().manual_seed(1)
    if kind == "linear":
        net, x = linear(), torch.rand(20, 2, 6, 5, generator=generator)
        values, more = (0.4, 0.6, 0.3, 0.2), {"input_shape": (6, 5, 2)}
    else:
        net, x = (
            trained(Net(norm=kind == "norm", bias=kind != "no bias")),
            torch.rand(20, 1, 28, 28, generator=generator),
        )
        values, more = (0.1307, 0.3081), {"padding": "valid"}
    half = len(values) // 2
    mean, std = (torch.tensor(part).reshape(1, half, 1, 1) for part in (values[:half], values[half:]))
    found = state_dict.convert(net.state_dict(), "net.pt", time_steps=9, normalize=values, **more)
    assert any(note.startswith("the normalization of images by mean") for note in found.notes)
    network = companion.sequential(found.config)
    companion.load_tensors(network, found.tensors)
    with torch.no_grad():
        normal = (x - mean) / std
        theirs = companion.run(net, normal, 9) if kind == "linear" else net(normal, 9)
        ours = companion.run(network, x, 9)
    assert 0.02 < theirs.mean() < 0.95
    assert (theirs != ours).sum() <= 4  # of 1,800 spikes; folding rounds


@pytest.mark.parametrize(
    ("values", "given", "message"),
    [
        (
            (0.1, 0.3),
            {"padding": "same"},
            "--normalize: conv1 pads its input by 2, and its zeros are the mean of a norm",
        ),
        ((0.1,), {}, "--normalize 0.1: expected a mean and a positive standard deviation"),
        ((0.1, 0.0), {}, "--normalize 0.1 0: expected a mean and a positive"),
        ((0.1, float("inf")), {}, "--normalize 0.1 inf: expected a mean and a positive"),
        ((0.1, 0.2, 0.3, 0.4), {}, "--normalize: 2 means, expected one, or one for each of 1 channels"),
        ((0.1, 0.3), {"encoding": "rate"}, "--encoding rate: expected direct, beside --normalize"),
    ],
)
def test_a_normalization_that_can_not_be_folded_is_refused(values, given, message):
    state = Net().state_dict()
    if given.get("padding") == "same":
        state["fc1.weight"] = torch.ones(10, 4 * 49)
        state["conv2.weight"], state["conv1.weight"] = torch.ones(4, 3, 3, 3), torch.ones(3, 1, 5, 5)
    with pytest.raises(UserError, match=message):
        state_dict.convert(state, "net.pt", normalize=values, **{"padding": "valid"} | given)


def numbered(state: dict, path) -> str:
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return str(path)


@pytest.mark.parametrize("net", [Net(), trained(Net(norm=True)), foreign()], ids=["module", "norms", "sequential"])
def test_a_safetensors_file_gives_the_same_network(net, tmp_path):
    given = {} if isinstance(net, nn.Sequential) else {"padding": "valid"}
    torch.save(net.state_dict(), tmp_path / "net.pt")
    theirs = state_dict.read(str(tmp_path / "net.pt"), **given)
    found = state_dict.read(numbered(net.state_dict(), tmp_path / "net.safetensors"), **given)
    assert found.config == theirs.config and found.tensors.keys() == theirs.tensors.keys()
    assert all(np.array_equal(found.tensors[name], theirs.tensors[name]) for name in found.tensors)


def test_names_without_numbers_have_no_order_in_a_safetensors_file(tmp_path):
    names = {"conv1": "stem", "conv2": "body"}
    state = Net().state_dict()
    renamed = {
        ".".join([names.get(name.split(".")[0], name.split(".")[0]), name.split(".")[1]]): v
        for name, v in state.items()
    }
    path = numbered(renamed, tmp_path / "net.safetensors")
    with pytest.raises(UserError, match=r"body, stem: a safetensors file does not hold their order, .* by --map"):
        state_dict.read(path, padding="valid")
    found = state_dict.read(path, places=("stem=conv1", "body=conv2"), padding="valid")
    assert np.array_equal(found.tensors["conv1.weight"], state["conv1.weight"].numpy())


@pytest.mark.parametrize(
    ("size", "channels", "padding", "message"),
    [
        (34, 2, "same", "; --input-shape 32 32 2 or --input-shape 34 34 2 would fit$"),
        (32, 3, "valid", " --input-shape 32 32 3 --padding valid or --input-shape 24 24 3 would fit$"),
        (40, 2, "same", " or --input-shape 40 40 2 would fit$"),
        (32, 1, "same", "; --input-shape 32 32 1 or --input-shape 34 34 1 would fit$"),
    ],
)
def test_the_size_of_the_images_is_found_in_the_weights(size, channels, padding, message):
    left = size // 2 // 2 if padding == "same" else ((size - 2) // 2 - 2) // 2
    convs = (("conv1", nn.Conv2d(channels, 4, 3)), ("conv2", nn.Conv2d(4, 8, 3)))
    state = saved(*convs, ("fc1", nn.Linear(8 * left**2, 10)), ONE, TWO, ("lif3", snn.Leaky(beta=0.5)))
    with pytest.raises(UserError, match=f"^net.pt: fc1.weight .*{message}"):
        state_dict.convert(state, "net.pt")
    found = state_dict.convert(state, "net.pt", (size, size, channels), padding=padding)
    assert found.config.input_shape == (size, size, channels)


def test_the_size_of_images_without_convolutions_is_found_too():
    state = saved(("fc1", nn.Linear(34 * 34 * 2, 10)), ONE)
    with pytest.raises(UserError, match=r"fc1.weight has shape \[10, 2312\], .*; --input-shape 34 34 2 would fit$"):
        state_dict.convert(state, "net.pt")


def test_a_size_that_nobody_gave_is_told_for_colour():
    state = saved(("conv1", nn.Conv2d(3, 4, 3)), ("fc1", nn.Linear(4 * 196, 10)), ONE, TWO)
    assert "images are taken as 28x28x3; --input-shape gives another size" in state_dict.convert(state).notes
    assert not any("images are taken" in note for note in state_dict.convert(state, input_shape=(28, 28, 3)).notes)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("running_var", torch.ones(7), r"norm1.running_var has shape \[7\], expected \[3\]"),
        ("weight", torch.ones(1), r"norm1.weight has shape \[1\], expected \[3\]"),
        ("running_var", -torch.ones(3), "norm1.running_var holds negative values, expected variances"),
    ],
)
def test_norms_that_do_not_fit_are_named(part, value, message):
    state = trained(Net(norm=True)).state_dict() | {f"norm1.{part}": value}
    with pytest.raises(UserError, match=f"^net.pt: {message}"):
        state_dict.convert(state, "net.pt", padding="valid")
