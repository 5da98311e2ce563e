"""A network from snnTorch or a NIR file becomes a run of csnn_jax, or one line says why not and files are kept."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import snntorch as snn
import torch
from bundles import SMALL, drawn
from digits import few_digits
from foreign_networks import foreign
from nir_files import affine, chained, conv, flatten, lif, pool, sixteenths, write
from recordings import write_nmnist
from refusals import refused
from snntorch import utils
from torch import nn

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig
from csnn_jax.config import nodes as config_nodes
from csnn_jax.runs import layouts, rundir
from csnn_jax.trained import Trained
from csnn_torch import convert
from csnn_torch.foreign import nir_network
from export.graphs import nir_graph

torch.set_num_threads(1)
MODULE = "csnn_torch.convert"


class Converted(NamedTuple):
    """A run that was converted, and what was printed."""

    run: rundir.RunDir
    config: Config
    tensors: layouts.Tensors
    printed: str


@pytest.fixture
def converted(tmp_path, capsys) -> Callable[..., Converted]:
    """Converts a network or a file."""

    def call(source, *flags) -> Converted:
        if isinstance(source, nn.Module):
            torch.save(source.state_dict(), source := tmp_path / "net.pt")
        assert convert.main([str(word) for word in (source, "--out", tmp_path / "run", *flags)]) == 0
        conversion = Converted(*rundir.open_run(str(tmp_path / "run")), capsys.readouterr().out)
        assert conversion.run.finished
        return conversion

    return call


@pytest.fixture
def file(tmp_path):
    torch.save(foreign().state_dict(), tmp_path / "foreign.pt")
    return tmp_path / "foreign.pt"


def assert_equal(tensors: layouts.Tensors, expected: layouts.Tensors) -> None:
    assert {name: one.tobytes() for name, one in tensors.items()} == {k: v.tobytes() for k, v in expected.items()}


def spikes_of(network: nn.Sequential, x: torch.Tensor, steps: int) -> list[np.ndarray]:
    """The spikes of every layer, [time, batch, *shape], from snnTorch's own modules called step by step."""
    spikes: dict[snn.Leaky, list[np.ndarray]] = {one: [] for one in network if isinstance(one, snn.Leaky)}
    for neuron in spikes:
        neuron.register_forward_hook(lambda one, _, out: spikes[one].append((out[0] if one.output else out).numpy()))
    utils.reset(network)
    with torch.no_grad():
        for _ in range(steps):
            network(x)
    return [np.stack(layer) for layer in spikes.values()]


def layers_of(network: nn.Sequential) -> dict[str, nn.Module]:
    layers = [one for one in network if isinstance(one, (nn.Conv2d, nn.Linear))]
    return dict(zip(("conv1", "conv2", "fc1", "fc2"), layers, strict=True))


def with_weights(tensors: dict[str, np.ndarray]) -> nn.Sequential:
    """`foreign` with different weights."""
    network = foreign()
    with torch.no_grad():
        for name, layer in layers_of(network).items():
            layer.weight.copy_(torch.tensor(tensors[f"{name}.weight"]))
            layer.bias.copy_(torch.tensor(tensors[f"{name}.bias"]))
    return network


@pytest.mark.parametrize("scale", [(), pytest.param(("--scale", "200"), marks=pytest.mark.slow)], ids=str)
def test_the_converted_run_gives_snntorchs_spikes(converted, tmp_path, scale):
    few, divided = few_digits(tmp_path / "digits", test=200), float(scale[1]) if scale else 255.0
    run, config, tensors, printed = converted(foreign(), "--time-steps", 12, "--dataset", few, *scale)
    of_file, settings = printed.partition("Network: ")[2].partition("\n")[0].split("; settings: ")
    assert "padding" not in of_file and settings == (
        "padding same (default), stride 1 (default), pool max (default), atan (default), direct (default), 12 steps"
    )
    assert "Note: a state_dict doesn't contain inhibition, reset_delay, state_quant" in printed
    assert f"Note: assuming your images were divided by {divided:g} (--scale): here it's 256, and conv1 " in printed
    assert config.model.conv_channels == (4, 6) and config.model.hidden == (20,) and config.model.reset == "zero"
    assert config.model.beta == pytest.approx((0.9, 1.0, 0.3, 0.8)) and config.model.time_steps == 12

    masters = {}
    for name, layer in layers_of(foreign()).items():
        weight = layer.weight.detach().numpy().astype(np.float64) * (256 / divided if name == "conv1" else 1)
        masters |= {f"{name}.weight": weight.astype(np.float32), f"{name}.bias": layer.bias.detach().numpy()}
    rounded = layouts.on_grid(config.model, masters)
    assert_equal(tensors, rounded)

    test = data.load("mnist", (28, 28, 1)).test
    images, labels = test.images[:200], test.labels[:200]
    x = torch.tensor(images).permute(0, 3, 1, 2)
    before, after = (spikes_of(with_weights(one), x / 256, 12) for one in (masters, rounded))
    assert all(0.01 < layer.mean() < 0.9 for layer in after)
    changed = sum(np.count_nonzero(a != b) for a, b in zip(before, after, strict=True))
    one, other = (side[-1].sum(0).argmax(1) for side in (before, after))
    spikes, predictions = sum(layer.size for layer in before), (one != other).sum()
    assert 0 < changed < 1e-2 * spikes
    assert (
        f"Rounding the weights, on the first 200 test images: changed {changed:,} of {spikes:,} spikes and "
        f"{predictions:,} of 200 predictions; accuracy {(one == labels).mean():.2%} before, "
        f"{(other == labels).mean():.2%} after\n"
    ) in printed

    original = spikes_of(foreign(), x / divided, 12)
    assert np.count_nonzero(original[-1] != before[-1]) <= 1e-3 * original[-1].size  # folding rounds
    for layer, expected in zip(Trained(config, tensors).trace(images[:40]).spikes.values(), after, strict=True):
        np.testing.assert_array_equal(layer, np.moveaxis(expected, 2, -1)[:, :40])
    (end,) = run.records("end")
    assert f"Final Test Accuracy: {end['accuracy']:.2%} (200 images of {few})" in printed


def test_weights_of_few_bits(converted):
    conversion = converted(foreign(), "--time-steps", 5, "--weight-bits", 3)
    assert "Rounding the weights, on the first 1,000 test images: changed" in conversion.printed
    assert conversion.config.model.weight_bits == 3 and len(np.unique(abs(conversion.tensors["fc1.weight"][0]))) <= 4


def test_flags_that_contradict_a_state_dict_are_refused(file, tmp_path):
    bars = write_nmnist(tmp_path / "bars", train=1, test=1)
    for flags, names in (
        (("--input-shape", "32", "32", "1"), ("7.weight", [20, 294], [20, 384])),
        (("--no-reset-delay",), ["--no-reset-delay"]),
        (("--scale", "-1"), ("--scale -1", "positive")),
        (("--scale", "255", "--encoding", "rate"), ("--encoding rate", "direct", "--scale")),
        (("--dataset", "minst"), ["--dataset 'minst'"]),
        (("--dataset", bars), (f"--dataset {bars}", "34x34x2", "28x28x1")),
        (("--dt", "0.001"), ("--dt 0.001", file, "NIR")),
        (("--written-by", "sinabs"), ("--written-by sinabs", file, "NIR")),
        (("--reset", "zero"), ("--reset zero", file, "NIR")),
        (("--no-norm-input",), ("--no-norm-input", file, "NIR")),
    ):
        prints = "recordings" if bars in flags else ""
        refused(MODULE, file, "--out", tmp_path / "run", *flags, names=names, prints=prints)


def small(channels: int, pixels: int) -> nn.Sequential:
    """One convolution without padding and one pool, for square images with `pixels` pixels a side."""
    neurons = dict(beta=0.5, init_hidden=True)
    layers = nn.Conv2d(channels, 2, 3), nn.MaxPool2d(2), snn.Leaky(**neurons), nn.Flatten()
    left = (pixels - 2) // 2
    return nn.Sequential(*layers, nn.Linear(2 * left**2, 10), snn.Leaky(**neurons, output=True))


@pytest.mark.parametrize(
    ("channels", "why"),
    [(3, "measured; use"), (1, "measured: {}: resized to 32x32 (bilinear, antialiased); use")],
)
def test_no_accuracy_is_measured_on_images_of_another_shape(dataset, converted, channels, why):
    flags = ("--dataset", dataset) if channels == 1 else ()
    shape = ("--input-shape", 32, 32, channels, "--padding", "valid", "--time-steps", 2)
    run, config, _, printed = converted(small(channels, 32), *shape, *flags)
    assert "Final Test Accuracy" not in printed and f"No accuracy was {why.format(dataset)}" in printed
    assert f"images of 32x32x{channels} and at most 10 classes" in printed
    (end,) = run.records("end")
    assert end["accuracy"] is None and end["iter"] == 0 and config.data.dataset == (dataset if flags else "arrays")


def test_the_flags_for_norms_and_normalized_images_are_accepted(dataset, converted):
    network = small(1, 28)
    flags = ("--padding", "valid", "--time-steps", 2, "--batchnorm-eps", "1e-3", "--normalize", 0.1307, 0.3081)
    conversion = converted(network, *flags, "--pool-size", 2, "--dataset", dataset)
    assert "mean 0.1307 and standard deviation 0.3081 is folded into conv1" in conversion.printed
    assert f"images of {dataset})" in conversion.printed
    expected = network[0].weight.detach().numpy().astype(np.float64) / 0.3081 * 256 / 255
    step = 2.0 ** -ModelConfig().graph.weighted[0].grid.bits * abs(expected).max()
    np.testing.assert_allclose(conversion.tensors["conv1.weight"], expected, rtol=0, atol=step)


class Linear(nn.Module):
    """Two blocks with neurons of one kind, and a final Linear whose current is read; the weights are exact."""

    def __init__(self, kind):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 12, bias=False), nn.Linear(12, 4, bias=False)
        self.lif1 = kind
        draw = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in (self.fc1.weight, self.fc2.weight):
                parameter.copy_(torch.randint(-16, 17, parameter.shape, generator=draw) / 64)

    @torch.no_grad()
    def forward(self, x, steps):
        state, scores = [torch.zeros(1)] * (2 if isinstance(self.lif1, snn.Synaptic) else 1), 0
        for _ in range(steps):
            spikes, *state = self.lif1(self.fc1(x.flatten(1)), *state)
            scores = scores + self.fc2(spikes)
        return scores


@pytest.mark.parametrize("kind", [snn.Leaky(beta=0.9), snn.Synaptic(alpha=0.8, beta=0.7, reset_mechanism="zero")])
def test_a_network_read_from_a_last_linear_layer_keeps_its_classes(tmp_path, converted, kind):
    """The labels are the network's own predictions, so the converted run classifies all of them correctly."""
    network = Linear(kind)
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (60, 8, 8, 1), np.uint8) * random.integers(0, 2, (60, 8, 8, 1), np.uint8)
    labels = network(torch.tensor(images).movedim(-1, 1) / 256, 12).argmax(1).numpy()
    assert len(set(labels)) > 2
    np.savez(tmp_path / "test.npz", images=images, labels=labels)
    flags = ("--scale", 256, "--time-steps", 12, "--map", "lif1=lif1", "--dataset", f"arrays:{tmp_path / 'test.npz'}")
    printed = converted(network, "--input-shape", 8, 8, 1, *flags).printed
    assert "Note: fc2 has no neuron: the class is read from its current, step by step" in printed
    assert f"{type(kind).__name__.lower()} neurons, reset" in printed and ", integrator; settings" in printed
    assert "0 of 60 predictions; accuracy 100.00% before, 100.00% after" in printed
    assert "Final Test Accuracy: 100.00% (60 images" in printed


@pytest.mark.parametrize(("flags", "factor"), [((), 1), (("--scale", "4"), 0.25)])
def test_counts_are_not_divided(tmp_path, monkeypatch, converted, flags, factor):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bars = write_nmnist(tmp_path / "bars", train=2, test=3)
    network = small(2, 34)
    with torch.no_grad():
        network[0].weight.copy_(torch.arange(-18, 18).reshape(2, 2, 3, 3) / 32)  # on its grid
    shape = ("--input-shape", 34, 34, 2, "--padding", "valid")
    _, config, tensors, printed = converted(network, *shape, "--dataset", bars, *flags)
    assert ("your images were divided by 4 (" in printed) == bool(flags) and "by 255" not in printed
    assert "Rounding the weights, on the first 30 test images: changed " in printed
    assert (config.model.scale, config.model.input_bits) == (1, 4)
    np.testing.assert_array_equal(tensors["conv1.weight"], network[0].weight.detach().numpy() * factor)


def test_floats_are_quantized_with_their_own_step(tmp_path, converted):
    """The inputs take 11 bits, which leaves 8 for each neuron's 9 weights; nothing is folded into them."""
    images = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    np.savez(tmp_path / "test.npz", images=images, labels=np.arange(20) % 10)
    network, flags = small(1, 28), ("--padding", "valid", "--time-steps", 3)
    _, config, tensors, printed = converted(network, *flags, "--dataset", f"arrays:{tmp_path / 'test.npz'}")
    assert "Rounding the weights, on the first 20 test images: changed " in printed
    assert (config.model.scale, config.model.input_bits) == (2048, 11)
    weight, bias = (one.detach().numpy() for one in (network[0].weight, network[0].bias))
    kernel, _ = config.model.graph.weighted[0].grid.round(np.moveaxis(weight, 0, -1), bias)
    np.testing.assert_array_equal(tensors["conv1.weight"], np.moveaxis(kernel, -1, 0))


def test_pools_of_a_state_dict_follow_the_neurons_if_the_flags_say_so(dataset, converted):
    """Layer by layer, these are the spikes of snnTorch's own modules."""
    neurons = dict(beta=0.5, init_hidden=True)
    layers = nn.Conv2d(1, 3, 3, padding=1), snn.Leaky(**neurons), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(147, 10)
    network = nn.Sequential(*layers, snn.Leaky(**neurons, output=True))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for values in (one for layer in (network[0], network[4]) for one in (layer.weight, layer.bias)):
            values.copy_(torch.randint(-8, 9, values.shape, generator=draw) / 8)
    flags = ("--pool", "avg", "--pool-size", 4, "--pool-after", "--time-steps", 6, "--scale", 256)
    _, config, tensors, printed = converted(network, *flags, "--dataset", dataset)
    assert "stride 1 (default), pool avg of 4 after the neurons, atan (default), direct (default), 6 steps\n" in printed
    images = data.load("mnist", (28, 28, 1)).test.images[:20]
    theirs = spikes_of(network, torch.tensor(images).permute(0, 3, 1, 2) / 256, 6)
    for layer, expected in zip(Trained(config, tensors).trace(images).spikes.values(), theirs, strict=True):
        assert 0.02 < expected.mean() < 0.98
        np.testing.assert_array_equal(layer, np.moveaxis(expected, 2, -1))


def test_a_run_that_was_exported_comes_back_from_its_nir_file(tmp_path, converted):
    tensors = drawn(SMALL)
    nir_graph.write(tmp_path / "network.nir", SMALL, tensors)
    _, config, imported, printed = converted(tmp_path / "network.nir", "--dataset", "mnist")
    assert (
        "Note:" not in printed
        and ", padding same, stride 1, pool avg; settings: atan (default), direct (default or the file's), 6 steps"
        in printed
    )
    assert "Rounding the weights, on the first 1,000 test images: changed 0 of " in printed
    assert "and 0 of 1,000 predictions; accuracy " in printed and "Final Test Accuracy: " in printed
    assert_equal(imported, tensors)
    assert config.model.time_steps == 6 and config.model.beta == SMALL.beta
    images = data.load("mnist", (28, 28, 1)).test.images[:50]
    one, other = Trained(config, imported), Trained(Config(SMALL), tensors)
    np.testing.assert_array_equal(one.classify(images).scores, other.classify(images).scores)


def nir_file(path, **values):
    """Two blocks for images of 8x6 pixels and 2 channels, with a time constant that no grid can represent."""
    neurons, dense = lif(**{"tau": 3.0, "r": 1.0} | values), affine(sixteenths(1, 3, 48))
    layers = conv(sixteenths(0, 4, 2, 3, 3)), neurons, pool(2), flatten(), dense, lif(tau=3.0, r=1.0)
    return write(path, chained((2, 8, 6), *layers))


def test_a_recurrent_network_of_a_nir_file_becomes_a_run_and_a_network_to_train(tmp_path, converted):
    """For `--network FILE.nir`, see also foreign/test_nir_network.py."""
    neurons = lif(**{name: np.full(4, value) for name, value in lif()[1].items()})
    nodes = chained((36,), affine(sixteenths(1, 4, 36)), neurons, affine(sixteenths(2, 3, 4)), lif())
    nodes["rec"] = affine(sixteenths(3, 4, 4))
    edges = [("input", "0"), ("0", "1"), ("1", "2"), ("2", "3"), ("3", "output"), ("1", "rec"), ("rec", "1")]
    path = write(tmp_path / "net.nir", nodes, edges, metadata={"dt": 1.0})
    _, config, tensors, printed = converted(path, "--time-steps", 8, "--scale", 256)
    assert "Network: 6x6x1, flatten flatten of image, n0 linear of flatten, n1 leaky of n0 and rec" in printed
    assert "rec linear of n1@1" in printed and "changed 0 of 1,120 spikes" in printed
    np.testing.assert_array_equal(tensors["rec.weight"], nodes["rec"][1]["weight"])
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 1), np.uint8)
    assert Trained(config, tensors).trace(images).spikes["n1"].any()
    assert config_nodes.read(str(path)) == config.model.network


def test_effects_of_rounding_are_reported_without_images_too(tmp_path, converted):
    path = nir_file(tmp_path / "net.h5")
    _, config, tensors, printed = converted(path, "--dt", 1, "--time-steps", 8, "--weight-bits", 3)
    assert "Network: 8x6x2 4C3 fc3, no bias, leaky neurons, reset zero, beta 0.6666667, threshold 1, " in printed
    assert "pool sum after the neurons; settings: atan (default), direct (default or the file's), 8 steps" in printed
    assert "Rounding the weights, on 20 random images with a fifth of their pixels above 0: changed " in printed
    changed, spikes = printed.partition("above 0: changed ")[2].split()[0:3:2]
    assert 0 < int(changed.replace(",", "")) < int(spikes.replace(",", "")) == 20 * 8 * (8 * 6 * 4 + 3)
    assert config.data.dataset == "arrays" and config.model.weight_bits == 3
    assert_equal(tensors, layouts.on_grid(config.model, nir_network.read(path, dt=1.0).tensors))


@pytest.mark.parametrize(
    ("change", "flags", "facts"),
    [
        (None, ("--padding", "valid"), ["--padding valid"]),
        (None, ("--map", "0=conv1"), ["--map 0=conv1"]),
        (None, ("--written-by", "foo"), ("--written-by foo", "snntorch, norse, sinabs, spikingjelly")),
        (None, ("--no-reset-delay",), ["--no-reset-delay"]),
        (None, ("--dt", "0"), ("--dt 0", "positive")),
        (None, ("--written-by", "norse", "--no-norm-input"), ("--no-norm-input", "--written-by sinabs")),
        (None, ("--dataset", "mnist"), ("--input-shape 8 6 2", "1 channel", "mnist")),
        (lambda path: nir_file(path, tau=0.0), (), ("net.nir", "node 2, `1`", "tau", 0)),
        (lambda path: nir_file(path, v_threshold=-1.0), (), ("net.nir", "node 2, `1`", "v_threshold", -1)),
        (lambda path: path.write_bytes(b"no graph"), (), ("net.nir", "HDF5")),
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), (), ("net.nir", "damaged")),
        (lambda path: path.unlink(), (), ("net.nir", "no such file")),
        (lambda path: write(path, chained((4,), lif()), version="9.0"), (), ("net.nir", "nir 9.0", "1.")),
    ],
)
def test_a_nir_file_that_cannot_be_converted_changes_nothing(tmp_path, converted, change, flags, facts):
    path = tmp_path / "net.nir"
    converted(nir_file(path), "--dt", 1, "--time-steps", 2)
    if change:
        change(path)
    line = refused(MODULE, path, "--out", tmp_path / "run", "--overwrite", "--dt", 1, *flags, names=facts)
    assert "synchronously" not in line and "None" not in line  # HDF5's and the parser's own words
