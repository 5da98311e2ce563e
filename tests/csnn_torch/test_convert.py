"""A network that someone trained in snnTorch becomes a run of ours."""

import numpy as np
import pytest
import snntorch as snn
import torch
from foreign_networks import foreign
from recordings import write_nmnist
from snntorch import utils
from torch import nn

from csnn_jax import data
from csnn_jax.runs import rundir
from csnn_jax.trained import Trained
from csnn_torch import convert

torch.set_num_threads(1)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "foreign.pt"
    torch.save(foreign().state_dict(), path)
    return path


def test_the_converted_run_gives_snntorchs_spikes(file, tmp_path, capsys):
    out = tmp_path / "run"
    assert convert.main([str(file), "--out", str(out), "--time-steps", "12"]) == 0
    printed = capsys.readouterr().out
    assert "as flags say: padding same, stride 1, pool max, atan, direct, 12 steps" in printed
    assert "Note: a state_dict does not show inhibition, reset_delay, state_quant" in printed
    run, config, tensors = rundir.open_run(str(out))
    assert config.model.conv_channels == (4, 6) and config.model.hidden == (20,) and config.model.reset == "zero"
    assert config.model.betas == pytest.approx((0.9, 1.0, 0.3, 0.8)) and config.model.time_steps == 12
    assert tensors["fc1.weight"].tobytes() == foreign()[7].weight.detach().numpy().tobytes()
    (end,) = run.records("end")
    assert run.finished and f"Final Test Accuracy: {end['accuracy']:.2%} (10000 images of mnist)" in printed

    images = data.load("mnist", (28, 28, 1)).test.images[:40]
    network, x = foreign(), torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    utils.reset(network)
    with torch.no_grad():
        theirs = torch.stack([network(x)[0] for _ in range(12)]).numpy()
    ours = Trained(config, tensors).trace(images).spikes
    assert all(0.01 < layer.mean() < 0.9 for layer in ours) and len(set(theirs.sum(0).argmax(1))) > 1
    assert np.count_nonzero(ours[-1] != theirs) <= 2  # 4,800 spikes; the pixels may differ in the last bit


def test_flags_that_contradict_the_file_are_refused(file, tmp_path, capsys):
    bars = write_nmnist(tmp_path / "bars", train=1, test=1)
    for flags, message in (
        (("--input-shape", "32", "32", "1"), "7.weight has shape [20, 294], expected [20, 384]"),
        (("--no-reset-delay",), "--no-reset-delay"),
        (("--dataset", "minst"), "--dataset 'minst'"),
        (("--dataset", bars), f"--dataset {bars}: has images of 34x34x2, expected 28x28x1, which the network takes"),
    ):
        assert convert.main([str(file), "--out", str(tmp_path / "run"), *flags]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


def small(channels: int, pixels: int) -> nn.Sequential:
    """One convolution without padding and a pool on square images of so many pixels."""
    neurons = dict(beta=0.5, init_hidden=True)
    layers = nn.Conv2d(channels, 2, 3), nn.MaxPool2d(2), snn.Leaky(**neurons), nn.Flatten()
    left = (pixels - 2) // 2
    return nn.Sequential(*layers, nn.Linear(2 * left**2, 10), snn.Leaky(**neurons, output=True))


@pytest.mark.parametrize(
    ("channels", "flags", "why", "dataset"),
    [
        (3, (), "measured; give", "arrays"),
        (1, ("--dataset", "mnist"), "measured: mnist: resized to 32x32 (bilinear, antialiased); give", "mnist"),
    ],
)
def test_no_accuracy_is_measured_on_images_of_another_shape(tmp_path, capsys, channels, flags, why, dataset):
    torch.save(small(channels, 32).state_dict(), tmp_path / "net.pt")
    shape = ("--input-shape", "32", "32", str(channels), "--padding", "valid", "--time-steps", "2")
    assert convert.main([str(tmp_path / "net.pt"), "--out", str(tmp_path / "run"), *shape, *flags]) == 0
    printed = capsys.readouterr().out
    assert "Final Test Accuracy" not in printed and f"No accuracy was {why}" in printed
    assert f"of images of 32x32x{channels} and at most 10 classes, by --dataset" in printed
    run, config, _ = rundir.open_run(str(tmp_path / "run"))
    (end,) = run.records("end")
    assert end["accuracy"] is None and run.finished and config.data.dataset == dataset


def test_the_flags_of_norms_and_normalized_images_are_taken(dataset, tmp_path, capsys):
    network = small(1, 28)
    torch.save(network.state_dict(), tmp_path / "net.pt")
    flags = ("--padding", "valid", "--time-steps", "2", "--batchnorm-eps", "1e-3", "--normalize", "0.1307", "0.3081")
    words = [str(tmp_path / "net.pt"), "--out", str(tmp_path / "run"), *flags, "--dataset", dataset]
    assert convert.main(words) == 0
    printed = capsys.readouterr().out
    assert "mean 0.1307 and standard deviation 0.3081 is folded into conv1" in printed
    assert f"images of {dataset})" in printed
    folded = rundir.open_run(str(tmp_path / "run"))[2]["conv1.weight"]
    np.testing.assert_allclose(folded, network[0].weight.detach().numpy() / 0.3081, rtol=1e-6)
