"""A training that starts from the weights of a run: its stack, what flags change of it, and what is refused."""

import re
import shutil

import numpy as np
import pytest
from bundles import SMALL, drawn, make_run
from commands import call

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags, parse_train
from csnn_jax.initial import given
from csnn_jax.initial import start as initial
from csnn_jax.runs import rundir, weights
from csnn_jax.runs.config_json import job_to_json

LEARNT = ModelConfig(conv_channels=(4,), hidden=(6,), time_steps=5, learn_beta=True, learn_threshold=True)
VALID = ModelConfig(conv_channels=(4, 3), kernel_size=(5, 2), padding="valid", bias=False, hidden=(), time_steps=5)


def job(*arguments: object) -> Config:
    return parse_train(TrainFlags, "csnn-train", "", list(map(str, arguments))).config


@pytest.fixture
def source(tmp_path):
    return make_run(tmp_path / "source", SMALL)


@pytest.mark.parametrize("model", [SMALL, LEARNT, VALID], ids=["small", "learnt", "no padding, no bias"])
def test_the_stack_and_the_weights_are_the_runs(model, tmp_path):
    out = make_run(tmp_path / "run", model)
    for source in (out, out / "weights.safetensors"):
        config = decided(job("--init-from", source))
        for name in ("conv_channels", "kernel_size", "padding", "bias", "hidden", "pool", "reset", "time_steps"):
            assert getattr(config.model, name) == getattr(model, name)
        assert config.train.init_from == str(source) and f'"init_from": "{source}"' in job_to_json(config)
        made = initial.start(config, data.load("mnist", (28, 28, 1)).train)
        assert made.before is None and initial.told(made, config) == f"Initial weights: those of {source}"
        expected = drawn(model, 0)
        assert made.tensors.keys() == expected.keys()
        for name, tensor in made.tensors.items():
            np.testing.assert_array_equal(tensor, expected[name])


def test_a_flag_beside_it_wins(source, tmp_path):
    config = job("--init-from", source, "--time-steps", 9, "--reset", "none", "--pool", "max", "--beta", 0.25)
    assert (config.model.time_steps, config.model.reset, config.model.pool) == (9, "none", "max")
    assert config.model.conv_channels == SMALL.conv_channels and config.model.betas == (0.25,) * 3
    learnt = make_run(tmp_path / "learnt", LEARNT)
    found = given.tensors(job("--init-from", learnt, "--threshold", 2, "--seed", 5))
    assert [float(found[f"lif{number}.threshold"]) for number in (1, 2, 3)] == [2, 2, 2]
    np.testing.assert_array_equal(found["lif2.beta"], drawn(LEARNT, 0)["lif2.beta"])
    fixed = job("--init-from", learnt, "--no-learn-beta").model
    assert fixed.betas == tuple(float(drawn(LEARNT, 0)[f"lif{number}.beta"]) for number in (1, 2, 3))


def test_the_last_layer_is_drawn_anew_for_other_classes(source):
    config = job("--init-from", source, "--init-from-output", "new", "--num-classes", 12, "--seed", 4)
    made = given.tensors(config)
    expected = drawn(SMALL, 0)
    for name in ("conv1.weight", "fc1.weight", "fc1.bias"):
        np.testing.assert_array_equal(made[name], expected[name])
    assert made["fc2.weight"].shape == (12, 16) and abs(made["fc2.weight"]).max() <= 16**-0.5
    start = initial.start(config, data.load("mnist", (28, 28, 1)).train)
    assert initial.told(start, config) == f"Initial weights: those of {config.train.init_from}, fc2 drawn anew"
    assert job("--init-from", source, "--init-from-output", "new").model.num_classes == ModelConfig.num_classes


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--hidden", 8), r"has shape \[16, 784\] for fc1.weight, this network needs \[8, 784\]"),
        (("--conv-channels", 4, 8), r"has nothing for conv2.weight, this network needs \[8, 4, 3, 3\]"),
        (
            ("--num-classes", 12),
            r"has .* for fc2.weight, .* \[12, 16\]; --init-from-output new draws the last layer anew",
        ),
        (("--no-bias",), "has conv1.bias, for which this network has no place"),
        (("--padding", "valid"), r"has .* for fc1.weight, this network needs \[16, 676\]"),
    ],
)
def test_another_network_is_refused_by_the_layer_that_differs(source, flags, message):
    with pytest.raises(UserError, match=f"^--init-from {source}: {message}$"):
        given.tensors(job("--init-from", source, *flags))


def test_what_holds_no_weights_is_refused(source, tmp_path):
    (tmp_path / "net.pt").write_bytes(b"x")
    (tmp_path / "broken.safetensors").write_bytes((source / "weights.safetensors").read_bytes()[:-50])
    for path, message in (
        ("nowhere", "nowhere: no such directory, expected a run directory"),
        ("net.pt", r"net.pt: expected a run directory or a weights.safetensors; `python -m csnn_torch.convert FILE"),
        ("broken.safetensors", "broken.safetensors: expected a safetensors file"),
    ):
        with pytest.raises(UserError, match=f"^--init-from .*{message}"):
            job("--init-from", tmp_path / path)


def test_it_stands_alone(source):
    with pytest.raises(UserError, match=r"^--init torch: expected no --init-from beside it"):
        job("--init-from", source, "--init", "torch")
    with pytest.raises(UserError, match=r"^--resume: expected no --init-from beside it"):
        job("--init-from", source, "--resume", "--out", source)
    with pytest.raises(UserError, match=r"^--init-from-output new: expected --init-from beside it"):
        TrainConfig(init_from_output="new")
    with pytest.raises(UserError, match=r"^--init-from-output old: expected keep or new"):
        TrainConfig(init_from=str(source), init_from_output="old")
    with pytest.raises(UserError, match=r"^--init-from : expected a run directory"):
        TrainConfig(init_from="")


def test_rate_and_accuracy_are_printed_before_the_first_step(source, dataset, tmp_path):
    """Also where evaluations are switched off."""
    flags = ("--dataset", dataset, "--batch-size", 32, "--max-iters", 2, "--eval-every", 0, "--out", tmp_path / "run")
    done = call("csnn_jax.train", "--init-from", source, *flags)
    assert done.returncode == 0 and "\nChosen for this network: --surrogate atan, --lr 0.0005\n" in done.stdout, done
    (accuracy,) = re.findall(r"^Iter 0, Test Acc: (\S+)$", done.stdout, re.M)
    assert accuracy in call("csnn_jax.evaluate", source, "--dataset", dataset).stdout
    assert [record["iter"] for record in rundir.RunDir(tmp_path / "run").records("test")] == [0]


@pytest.mark.parametrize("module", ["csnn_jax.train", "csnn_torch.train"])
def test_both_frameworks_train_on_from_a_run_and_resume_without_it(module, source, dataset, tmp_path):
    flags = ("--init-from", source, "--dataset", dataset, "--batch-size", 32, "--eval-every", 0, "--dtype", "float64")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert call(module, *flags, "--max-iters", 4, "--out", whole).returncode == 0
    first = call(module, *flags, "--max-iters", 2, "--out", parts)
    assert first.returncode == 0 and f"Initial weights: those of {source}" in first.stdout
    shutil.rmtree(source)
    assert call(module, "--resume", "--max-iters", 4, "--out", parts).returncode == 0
    a, b = (weights.load(out / "weights.safetensors")[1] for out in (whole, parts))
    before = drawn(SMALL, 0)
    for name, tensor in a.items():
        np.testing.assert_array_equal(tensor, b[name])
        assert (tensor != before[name]).any()
    losses = [record["loss"] for record in rundir.RunDir(parts).records("train")]
    assert losses == [record["loss"] for record in rundir.RunDir(whole).records("train")] and len(losses) == 4
