"""A network trained in snnTorch becomes a run of csnn_jax."""

import numpy as np
import pytest
import snntorch as snn
import torch
from digits import few_digits
from foreign_networks import foreign
from recordings import write_nmnist
from refusals import refused
from snntorch import utils
from torch import nn

from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_jax.runs import layouts, rundir
from csnn_jax.trained import Trained
from csnn_torch import convert

torch.set_num_threads(1)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "foreign.pt"
    torch.save(foreign().state_dict(), path)
    return path


def spikes_of(network: nn.Sequential, x: torch.Tensor, steps: int) -> list[np.ndarray]:
    """The spikes of every layer, [time, batch, *shape], from snnTorch's own modules called step by step."""
    found: dict[snn.Leaky, list[np.ndarray]] = {one: [] for one in network if isinstance(one, snn.Leaky)}
    for neuron in found:
        neuron.register_forward_hook(lambda one, _, out: found[one].append((out[0] if one.output else out).numpy()))
    utils.reset(network)
    with torch.no_grad():
        for _ in range(steps):
            network(x)
    return [np.stack(layer) for layer in found.values()]


def with_weights(tensors: dict[str, np.ndarray]) -> nn.Sequential:
    """`foreign` with different weights."""
    network = foreign()
    layers = [one for one in network if isinstance(one, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        for layer, name in zip(layers, ("conv1", "conv2", "fc1", "fc2"), strict=True):
            layer.weight.copy_(torch.tensor(tensors[f"{name}.weight"]))
            layer.bias.copy_(torch.tensor(tensors[f"{name}.bias"]))
    return network


@pytest.mark.parametrize("scale", [(), pytest.param(("--scale", "200"), marks=pytest.mark.slow)], ids=str)
def test_the_converted_run_gives_snntorchs_spikes(file, tmp_path, capsys, scale):
    out, few = tmp_path / "run", few_digits(tmp_path / "digits", test=200)
    words = [str(file), "--out", str(out), "--time-steps", "12", "--dataset", few]
    assert convert.main([*words, *scale]) == 0
    printed = capsys.readouterr().out
    divided = float(scale[1]) if scale else 255.0
    assert "from flags: padding same, stride 1, pool max, atan, direct, 12 steps" in printed
    assert "Note: a state_dict doesn't contain inhibition, reset_delay, state_quant" in printed
    assert (
        f"Note: assuming your images were divided by {divided:g} (--scale): here it's 256, and conv1 compensates for it"
        in printed
    )
    run, config, tensors = rundir.open_run(str(out))
    assert config.model.conv_channels == (4, 6) and config.model.hidden == (20,) and config.model.reset == "zero"
    assert config.model.beta == pytest.approx((0.9, 1.0, 0.3, 0.8)) and config.model.time_steps == 12

    layers = [one for one in foreign() if isinstance(one, (nn.Conv2d, nn.Linear))]
    masters = {}
    for layer, name in zip(layers, ("conv1", "conv2", "fc1", "fc2"), strict=True):
        weight = layer.weight.detach().numpy().astype(np.float64) * (256 / divided if name == "conv1" else 1)
        masters |= {f"{name}.weight": weight.astype(np.float32), f"{name}.bias": layer.bias.detach().numpy()}
    rounded = layouts.on_grid(config.model, masters)
    assert {name: tensor.tobytes() for name, tensor in tensors.items()} == {k: v.tobytes() for k, v in rounded.items()}

    test = data.load("mnist", (28, 28, 1)).test
    images, labels = test.images[:200], test.labels[:200]
    x = torch.tensor(images).permute(0, 3, 1, 2) / 256
    before, after = (spikes_of(with_weights(one), x, 12) for one in (masters, rounded))
    for layer in after:
        assert 0.01 < layer.mean() < 0.9
    changed = sum(np.count_nonzero(a != b) for a, b in zip(before, after, strict=True))
    one, other = (side[-1].sum(0).argmax(1) for side in (before, after))
    spikes, predictions = sum(layer.size for layer in before), (one != other).sum()
    assert 0 < changed < 1e-2 * spikes
    assert (
        f"Rounding the weights, on the first 200 test images: changed {changed:,} of {spikes:,} spikes and "
        f"{predictions:,} of 200 predictions; accuracy {(one == labels).mean():.2%} before, "
        f"{(other == labels).mean():.2%} after\n"
    ) in printed

    own = spikes_of(foreign(), torch.tensor(images).permute(0, 3, 1, 2) / divided, 12)
    assert np.count_nonzero(own[-1] != before[-1]) <= 1e-3 * own[-1].size  # folding rounds
    for ours, theirs in zip(Trained(config, tensors).trace(images[:40]).spikes.values(), after, strict=True):
        np.testing.assert_array_equal(ours, np.moveaxis(theirs, 2, -1)[:, :40])
    (end,) = run.records("end")
    assert run.finished and f"Final Test Accuracy: {end['accuracy']:.2%} (200 images of {few})" in printed


def test_weights_of_few_bits(file, tmp_path, capsys):
    assert convert.main([str(file), "--out", str(tmp_path / "run"), "--time-steps", "5", "--weight-bits", "3"]) == 0
    assert "Rounding the weights, on the first 1,000 test images: changed" in capsys.readouterr().out
    _, config, tensors = rundir.open_run(str(tmp_path / "run"))
    assert config.model.weight_bits == 3 and len(np.unique(abs(tensors["fc1.weight"][0]))) <= 4


def test_flags_that_contradict_the_file_are_refused(file, tmp_path):
    bars = write_nmnist(tmp_path / "bars", train=1, test=1)
    for flags, names in (
        (("--input-shape", "32", "32", "1"), ("7.weight", [20, 294], [20, 384])),
        (("--no-reset-delay",), ["--no-reset-delay"]),
        (("--scale", "-1"), ("--scale -1", "positive")),
        (("--scale", "255", "--encoding", "rate"), ("--encoding rate", "direct", "--scale")),
        (("--dataset", "minst"), ["--dataset 'minst'"]),
        (("--dataset", bars), (f"--dataset {bars}", "34x34x2", "28x28x1")),
    ):
        prints = "recordings" if bars in flags else ""
        refused("csnn_torch.convert", file, "--out", tmp_path / "run", *flags, names=names, prints=prints)


def small(channels: int, pixels: int) -> nn.Sequential:
    """One convolution without padding and one pool, for square images with `pixels` pixels a side."""
    neurons = dict(beta=0.5, init_hidden=True)
    layers = nn.Conv2d(channels, 2, 3), nn.MaxPool2d(2), snn.Leaky(**neurons), nn.Flatten()
    left = (pixels - 2) // 2
    return nn.Sequential(*layers, nn.Linear(2 * left**2, 10), snn.Leaky(**neurons, output=True))


@pytest.mark.parametrize(
    ("channels", "why"), [(3, "measured; use"), (1, "measured: {}: resized to 32x32 (bilinear, antialiased); use")]
)
def test_no_accuracy_is_measured_on_images_of_another_shape(dataset, tmp_path, capsys, channels, why):
    flags = ("--dataset", dataset) if channels == 1 else ()
    torch.save(small(channels, 32).state_dict(), tmp_path / "net.pt")
    shape = ("--input-shape", "32", "32", str(channels), "--padding", "valid", "--time-steps", "2")
    assert convert.main([str(tmp_path / "net.pt"), "--out", str(tmp_path / "run"), *shape, *flags]) == 0
    printed = capsys.readouterr().out
    assert "Final Test Accuracy" not in printed and f"No accuracy was {why.format(dataset)}" in printed
    assert f"images of 32x32x{channels} and at most 10 classes" in printed
    run, config, _ = rundir.open_run(str(tmp_path / "run"))
    (end,) = run.records("end")
    assert end["accuracy"] is None and run.finished
    assert config.data.dataset == (dataset if flags else "arrays")


def test_the_flags_for_norms_and_normalized_images_are_accepted(dataset, tmp_path, capsys):
    network = small(1, 28)
    torch.save(network.state_dict(), tmp_path / "net.pt")
    flags = ("--padding", "valid", "--time-steps", "2", "--batchnorm-eps", "1e-3", "--normalize", "0.1307", "0.3081")
    words = [str(tmp_path / "net.pt"), "--out", str(tmp_path / "run"), *flags, "--dataset", dataset]
    assert convert.main(words) == 0
    printed = capsys.readouterr().out
    assert "mean 0.1307 and standard deviation 0.3081 is folded into conv1" in printed
    assert f"images of {dataset})" in printed
    folded = rundir.open_run(str(tmp_path / "run"))[2]["conv1.weight"]
    expected = network[0].weight.detach().numpy().astype(np.float64) / 0.3081 * 256 / 255
    step = 2.0 ** -ModelConfig().graph.weighted[0].grid.bits * abs(expected).max()
    np.testing.assert_allclose(folded, expected, rtol=0, atol=step)


class Linear(nn.Module):
    """Two blocks with neurons of one kind, and a final Linear whose current is read; the weights are exact."""

    def __init__(self, kind):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 12, bias=False), nn.Linear(12, 4, bias=False)
        self.lif1 = kind
        draw = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.ndim:
                    parameter.copy_(torch.randint(-16, 17, parameter.shape, generator=draw) / 64)

    @torch.no_grad()
    def forward(self, x, steps):
        state, scores = [torch.zeros(1)] * (2 if isinstance(self.lif1, snn.Synaptic) else 1), 0
        for _ in range(steps):
            spikes, *state = self.lif1(self.fc1(x.flatten(1)), *state)
            scores = scores + self.fc2(spikes)
        return scores


@pytest.mark.parametrize("kind", [snn.Leaky(beta=0.9), snn.Synaptic(alpha=0.8, beta=0.7, reset_mechanism="zero")])
def test_a_network_read_from_a_last_linear_layer_keeps_its_classes(tmp_path, capsys, kind):
    """The labels are the network's own predictions, so the converted run classifies all of them correctly."""
    network = Linear(kind)
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (60, 8, 8, 1), np.uint8) * random.integers(0, 2, (60, 8, 8, 1), np.uint8)
    labels = network(torch.tensor(images).movedim(-1, 1) / 256, 12).argmax(1).numpy()
    assert len(set(labels)) > 2
    np.savez(tmp_path / "test.npz", images=images, labels=labels)
    torch.save(network.state_dict(), tmp_path / "net.pt")
    words = [str(tmp_path / "net.pt"), "--out", str(tmp_path / "run"), "--input-shape", "8", "8", "1"]
    flags = (
        "--scale",
        "256",
        "--time-steps",
        "12",
        "--map",
        "lif1=lif1",
        "--dataset",
        f"arrays:{tmp_path / 'test.npz'}",
    )
    assert convert.main([*words, *flags]) == 0
    printed = capsys.readouterr().out
    assert "Note: fc2 has no neuron: the class is read from its current, step by step" in printed
    assert f"{type(kind).__name__.lower()} neurons, reset" in printed and ", integrator; from flags" in printed
    assert "0 of 60 predictions; accuracy 100.00% before, 100.00% after" in printed
    assert "Final Test Accuracy: 100.00% (60 images" in printed


@pytest.mark.parametrize(("flags", "factor"), [((), 1), (("--scale", "4"), 0.25)])
def test_counts_are_not_divided(tmp_path, monkeypatch, capsys, flags, factor):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bars = write_nmnist(tmp_path / "bars", train=2, test=3)
    network = small(2, 34)
    with torch.no_grad():
        network[0].weight.copy_(torch.arange(-18, 18).reshape(2, 2, 3, 3) / 32)  # on its grid
    torch.save(network.state_dict(), tmp_path / "net.pt")
    words = [str(tmp_path / "net.pt"), "--out", str(tmp_path / "run"), "--input-shape", "34", "34", "2"]
    assert convert.main([*words, "--padding", "valid", "--dataset", bars, *flags]) == 0
    printed = capsys.readouterr().out
    assert ("your images were divided by 4 (" in printed) == bool(flags) and "by 255" not in printed
    assert "Rounding the weights, on the first 30 test images: changed " in printed
    _, config, tensors = rundir.open_run(str(tmp_path / "run"))
    assert (config.model.scale, config.model.input_bits) == (1, 4)
    np.testing.assert_array_equal(tensors["conv1.weight"], network[0].weight.detach().numpy() * factor)


def test_floats_are_quantized_with_their_own_step(tmp_path, capsys):
    """The inputs take 11 bits, which leaves 8 for each neuron's 9 weights; nothing is folded into them."""
    images = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    np.savez(tmp_path / "test.npz", images=images, labels=np.arange(20) % 10)
    torch.save((network := small(1, 28)).state_dict(), tmp_path / "net.pt")
    words = (str(tmp_path / "net.pt"), "--out", str(tmp_path / "run"), "--padding", "valid", "--time-steps", "3")
    assert convert.main([*words, "--dataset", f"arrays:{tmp_path / 'test.npz'}"]) == 0
    assert "Rounding the weights, on the first 20 test images: changed " in capsys.readouterr().out
    _, config, tensors = rundir.open_run(str(tmp_path / "run"))
    assert (config.model.scale, config.model.input_bits) == (2048, 11)
    weight, bias = (one.detach().numpy() for one in (network[0].weight, network[0].bias))
    kernel, _ = config.model.graph.weighted[0].grid.round(np.moveaxis(weight, 0, -1), bias)
    np.testing.assert_array_equal(tensors["conv1.weight"], np.moveaxis(kernel, -1, 0))


def test_pools_of_a_state_dict_follow_the_neurons_if_the_flags_say_so(dataset, tmp_path, capsys):
    """Layer by layer, these are the spikes of snnTorch's own modules."""
    neurons = dict(beta=0.5, init_hidden=True)
    layers = nn.Conv2d(1, 3, 3, padding=1), snn.Leaky(**neurons), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(147, 10)
    network = nn.Sequential(*layers, snn.Leaky(**neurons, output=True))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in (network[0], network[4]):
            layer.weight.copy_(torch.randint(-8, 9, layer.weight.shape, generator=draw) / 8)
            layer.bias.copy_(torch.randint(-8, 9, layer.bias.shape, generator=draw) / 8)
    torch.save(network.state_dict(), tmp_path / "net.pt")
    flags = ("--pool", "avg", "--pool-size", "4", "--pool-after", "--time-steps", "6", "--scale", "256")
    words = [str(tmp_path / "net.pt"), "--out", str(tmp_path / "run"), "--dataset", dataset]
    assert convert.main([*words, *flags]) == 0
    printed = capsys.readouterr().out
    assert "; from flags: padding same, stride 1, pool avg of 4 after the neurons, atan, direct, 6 steps" in printed
    _, config, tensors = rundir.open_run(str(tmp_path / "run"))
    images = data.load("mnist", (28, 28, 1)).test.images[:20]
    theirs = spikes_of(network, torch.tensor(images).permute(0, 3, 1, 2) / 256, 6)
    for ours, expected in zip(Trained(config, tensors).trace(images).spikes.values(), theirs, strict=True):
        assert 0.02 < expected.mean() < 0.98
        np.testing.assert_array_equal(ours, np.moveaxis(expected, 2, -1))


def test_flags_for_nir_files_are_refused_for_a_state_dict(file, tmp_path):
    for flags in (("--dt", "1e-3"), ("--written-by", "sinabs"), ("--reset", "zero"), ("--no-norm-input",)):
        flag = " ".join(flags).replace("1e-3", "0.001")
        refused("csnn_torch.convert", file, "--out", tmp_path / "run", *flags, names=(flag, file, "NIR"))
