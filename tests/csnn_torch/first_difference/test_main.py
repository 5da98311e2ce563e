"""The command's output, from what it compares to the cause."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bundles import SMALL, make_run
from commands import call
from refusals import refused
from two_sides import coarse_run, nir_of, step_of, with_tensors

from csnn_jax.runs import layouts, rundir, weights

torch.set_num_threads(1)
MODULE = "csnn_torch.first_difference"


@pytest.fixture
def run(tmp_path):
    return coarse_run(tmp_path / "run")


def output_of(*arguments) -> str:
    done = call(MODULE, *arguments, "--images", 20)
    assert (done.returncode, done.stderr) == (1, ""), done
    return done.stdout


def test_equal_networks(run, tmp_path):
    done = call(MODULE, run, step_of(run, tmp_path / "bundle"), "--images", 20)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"A  {run}: the run's network in torch ")
    assert lines[1].startswith(f"B  {tmp_path / 'bundle' / 'step.onnx'}: ONNX Runtime ")
    assert lines[2].startswith("On the first 20 test images of mnist, 6 steps. ")
    assert lines[3].startswith("  lif1  94,080 spikes compared; A has ")
    assert lines[-1].startswith("No spike differs. Membranes")


@pytest.mark.parametrize("swapped", [False, True], ids=["B's", "A's"])
def test_a_spike_at_the_threshold(run, tmp_path, swapped):
    sides = [run, step_of(run, tmp_path / "edited", at_least=True)]
    printed = output_of(*sides[:: -1 if swapped else 1])
    own, other = "BA" if swapped else "AB"
    first = "first at step 0, lif1, image 0, channel 0, row 3, column 5: spike {1}, A's {0}"
    assert first.format(*("10" if swapped else "01")) in printed
    assert "  membrane after step 0                 0.5            0.5" in printed
    assert "  Membranes on both sides are before the reset that a spike causes." in printed
    *_, head, cause, explains = printed.splitlines()
    assert head == f"Causes: {own}'s network gives {other}'s values when it's computed with"
    assert cause == "  spikes at the threshold: >= instead of >"
    assert explains.startswith("    explains all ")


def test_flipped_kernels(run, tmp_path):
    tensors = rundir.open_run(str(run))[2]
    flipped = tensors | {"conv1.weight": np.ascontiguousarray(tensors["conv1.weight"][..., ::-1, ::-1])}
    printed = output_of(run, with_tensors(run, tmp_path / "flipped", flipped))
    assert "  kernels flipped, as in a true convolution\n    explains all " in printed
    assert "  other weights: conv1.weight (" in printed


def test_weights_before_they_were_rounded(tmp_path):
    """A NIR file has the original weights; the run has rounded them to 4 bits."""
    fine = make_run(tmp_path / "fine", SMALL)
    file = nir_of(fine, tmp_path / "network.nir")
    _, config, tensors = rundir.open_run(str(fine))
    model, few = layouts.with_bits(config.model, tensors, 4)
    run = rundir.create(str(tmp_path / "run"), replace(config, model=model))
    weights.save(run.weights, few, model)
    printed = output_of(run.path, file, "--dt", 1e-4)
    assert "  other weights: conv1.weight (36 of 36 differ, by up to 0." in printed
    assert "    explains all " in printed


def test_no_causes_are_searched_without_a_network(run, tmp_path):
    paths = [step_of(run, tmp_path / name, at_least=name == "b") for name in "ab"]
    for path in paths:
        (path.parent / "weights.safetensors").unlink()
    printed = output_of(*paths, "--time-steps", 6)
    assert "On 20 random images, 6 steps" in printed
    assert printed.splitlines()[-3:] == [
        "Causes: unknown, because neither side's network can be computed here:",
        "  A: it's not in a folder with a bundle's config.json and weights.safetensors",
        "  B: it's not in a folder with a bundle's config.json and weights.safetensors",
    ]


def test_other_networks_are_refused(run, tmp_path):
    other = coarse_run(tmp_path / "other", hidden=(17,))
    refused(MODULE, run, other, names=(other, "lif2", 17, 16, run), prints=str(other))
    deeper = coarse_run(tmp_path / "deeper", hidden=(16, 16))
    refused(MODULE, run, deeper, names=(deeper, "4 layers", 3, run), prints=str(deeper))
    larger = coarse_run(tmp_path / "larger", input_shape=(20, 20, 1))
    refused(MODULE, run, larger, names=[larger])
    binary = coarse_run(tmp_path / "binary", scale=1.0, input_bits=0)
    refused(MODULE, run, binary, names=[binary, 255, 1])


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("missing",), ("missing", "run directory", "step.onnx", "FILE.nir")),
        (("norse:missing.nir",), ("norse:missing.nir", "NIR")),
        (("README.md",), ("README.md", "run directory", "step.onnx")),
        (("missing", "--images", 0), ("--images 0", "at least 1")),
        (("missing", "--dt", -1), ("--dt -1", "positive")),
        (("missing", "--time-steps", 0), ("--time-steps 0", "at least 1")),
        (("missing", "--scale", 2), ("--scale 2", "NIR")),
    ],
    ids=str,
)
def test_bad_input(run, flags, names):
    refused(MODULE, run, *flags, names=names)
