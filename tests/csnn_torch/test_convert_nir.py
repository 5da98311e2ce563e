"""A NIR file becomes a run of csnn_jax, or one line says why not and existing files are kept."""

import numpy as np
import pytest
from bundles import SMALL, drawn
from nir_files import affine, chained, conv, flatten, lif, pool, sixteenths, write
from refusals import refused

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.runs import layouts, rundir
from csnn_jax.trained import Trained
from csnn_torch import convert
from csnn_torch.foreign import nir_network
from export.graphs import nir_graph


def test_a_run_that_was_exported_comes_back_from_its_nir_file(tmp_path, capsys):
    tensors = drawn(SMALL)
    nir_graph.write(tmp_path / "network.nir", SMALL, tensors)
    assert convert.main([str(tmp_path / "network.nir"), "--out", str(tmp_path / "run"), "--dataset", "mnist"]) == 0
    printed = capsys.readouterr().out
    assert "Note:" not in printed and ", padding same, stride 1, pool avg; from flags: atan, direct, 6 steps" in printed
    assert "Rounding the weights, on the first 1,000 test images: changed 0 of " in printed
    assert "and 0 of 1,000 predictions; accuracy " in printed and "Final Test Accuracy: " in printed
    run, config, found = rundir.open_run(str(tmp_path / "run"))
    assert {name: value.tobytes() for name, value in found.items()} == {k: v.tobytes() for k, v in tensors.items()}
    assert run.finished and config.model.time_steps == 6 and config.model.beta == SMALL.beta
    images = data.load("mnist", (28, 28, 1)).test.images[:50]
    one, other = Trained(config, found), Trained(Config(SMALL), tensors)
    np.testing.assert_array_equal(one.classify(images).scores, other.classify(images).scores)


def nir_file(path, **values):
    """Two blocks for images of 8x6 pixels and 2 channels, with a time constant that no grid can represent."""
    layers = (
        conv(sixteenths(0, 4, 2, 3, 3)),
        lif(**{"tau": 3.0, "r": 1.0} | values),
        pool(2),
        flatten(),
        affine(sixteenths(1, 3, 48)),
    )
    return write(path, chained((2, 8, 6), *layers, lif(tau=3.0, r=1.0)))


def test_effects_of_rounding_are_reported_without_images_too(tmp_path, capsys):
    path = nir_file(tmp_path / "net.h5")
    assert (
        convert.main([path, "--out", str(tmp_path / "run"), "--dt", "1", "--time-steps", "8", "--weight-bits", "3"])
        == 0
    )
    printed = capsys.readouterr().out
    assert "Network: 8x6x2 4C3 fc3, no bias, leaky neurons, reset zero, beta 0.6666667, threshold 1, " in printed
    assert "pool sum after the neurons; from flags: atan, direct, 8 steps" in printed
    assert "Rounding the weights, on 20 random images with a fifth of their pixels above 0: changed " in printed
    changed, spikes = printed.partition("above 0: changed ")[2].split()[0:3:2]
    assert 0 < int(changed.replace(",", "")) < int(spikes.replace(",", "")) == 20 * 8 * (8 * 6 * 4 + 3)
    run, config, tensors = rundir.open_run(str(tmp_path / "run"))
    found = nir_network.read(path, dt=1.0)
    assert run.finished and config.data.dataset == "arrays" and config.model.weight_bits == 3
    rounded = layouts.on_grid(config.model, found.tensors)
    assert {name: value.tobytes() for name, value in tensors.items()} == {k: v.tobytes() for k, v in rounded.items()}


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
def test_a_nir_file_that_cannot_be_converted_changes_nothing(tmp_path, change, flags, facts):
    path, run = tmp_path / "net.nir", tmp_path / "run"
    assert convert.main([nir_file(path), "--out", str(run), "--dt", "1", "--time-steps", "2"]) == 0
    if change:
        change(path)
    line = refused("csnn_torch.convert", path, "--out", run, "--overwrite", "--dt", 1, *flags, names=facts)
    assert "synchronously" not in line and "None" not in line  # HDF5's and the parser's own words
