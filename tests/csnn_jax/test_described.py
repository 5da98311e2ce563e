"""Networks from --network are trained, continued, evaluated, reported and refused like those from flags."""

import json
import shlex

import numpy as np
import pytest
import safetensors.numpy
from bundles import drawn
from commands import passed
from refusals import refused
from trainings import read_flags, records

import csnn_jax
from csnn_jax.config import Config, ModelConfig, NodeConfig, TrainConfig, decided
from csnn_jax.config.nodes import Nodes
from csnn_jax.flags import job_words
from csnn_jax.health import advice
from csnn_jax.health.health import HealthMonitor
from csnn_jax.recipes import RECIPES
from csnn_jax.report.origin import repeating
from csnn_jax.runs.metrics import Records
from csnn_jax.trained import Trained

TRAIN = "csnn_jax.train"
FEW = ("--time-steps", 4, "--batch-size", 32, "--max-iters", 4, "--eval-every", 0, "--schedule", "constant")


def nodes(classes=10, **of_first):
    return [
        NodeConfig("small", "max_pool", "image", size=4),  # the groups of more pixels take XLA seconds to compile
        NodeConfig("flat", "flatten", "small"),
        NodeConfig("a", "linear", "flat", channels=20),
        NodeConfig("back", "linear", "s1@1", channels=20, bias=False),
        NodeConfig("s1", "synaptic", ["a", "back"], reset="zero", learn=["alpha"], per_channel=["beta"], **of_first),
        NodeConfig("top", "linear", "s1", channels=classes),
        NodeConfig("skip", "linear", "flat", channels=classes, bias=False),
        NodeConfig("each", "one_to_one", "out@1", channels=classes),
        NodeConfig("out", "leaky", ["top", "each", "skip"], learn=["threshold"]),
    ]


def write(path, **settings):
    path.write_text(json.dumps(Nodes(tuple(nodes(**settings))).described()))
    return path


@pytest.mark.slow
def test_a_described_network_is_trained_tuned_evaluated_and_reported(dataset, tmp_path):
    whole, tuned = tmp_path / "whole", tmp_path / "tuned"
    printed = passed(TRAIN, "--dataset", dataset, *FEW, "--network", write(tmp_path / "net.json"), "--out", whole)
    assert "scan engine (the event engine doesn't support synaptic neurons, as in s1)" in printed
    assert list(records(whole, "train")[-1]["density"]) == ["s1", "out"]
    assert list(records(whole, "train")[-1]["gradient"]) == ["a", "back", "top", "skip", "each"]
    tensors = safetensors.numpy.load_file(whole / "weights.safetensors")
    assert tensors["s1.beta"].shape == (20,) and tensors["each.weight"].shape == (10,)
    accuracy = records(whole, "end")[-1]["accuracy"]
    assert f"{accuracy:.2%}" in passed("csnn_jax.evaluate", whole)
    assert f"from {whole}" in passed(TRAIN, "--init-from", whole, "--max-iters", 2, "--out", tuned)
    passed("csnn_jax.report", whole, "--out", tmp_path / "report.html")
    assert read_flags("--network", whole / "config.json").config.model.network == Nodes(tuple(nodes()))


def test_a_stream_of_a_recurrent_network_equals_its_window():
    model = ModelConfig((8, 8, 1), conv_channels=(4,), hidden=(12,), recurrent=("fc1", "fc2:one"), time_steps=4)
    trained, images = Trained(Config(model), drawn(model)), np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1))
    assert "event engine" in repr(trained)
    images = images.astype(np.uint8)
    stream, spikes = trained.stream(3), trained.trace(images).spikes["lif3"]
    assert spikes.any()
    for step in spikes:
        assert np.array_equal(stream(images)[0], step)


def delayed():
    """Sums of delayed spikes, pools and currents, also in a cycle."""
    conv = {"channels": 4, "kernel": 3, "padding": 1}
    return [
        NodeConfig("c1", "convolution", ["image", "image@1"], **conv),
        NodeConfig("mean", "avg_pool", "c1", size=4),
        NodeConfig("s1", "leaky", ["mean", "mean@2"], reset="zero"),
        NodeConfig("c2", "convolution", ["s1", "s1@2", "s2@3"], **conv),
        NodeConfig("s2", "leaky", "c2", learn=["beta"]),
        NodeConfig("flat", "flatten", ["s2", "s1@1"]),
        NodeConfig("fc", "linear", ["flat", "flat@4"], channels=10),
        NodeConfig("out", "leaky", ["fc", "fc@1"]),
    ]


BLOCKS = ("--conv-channels", 4, 4, 6, "--hidden", "--residual", "conv2", "conv3", "--pool", "max", "none", "avg")


SUMS = {"blocks": BLOCKS, "few bits": (*BLOCKS, "--weight-bits", 5, "--pool-after"), "delays": ()}


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), [*((TRAIN, name) for name in SUMS), ("csnn_torch.train", "delays")])
def test_residual_and_delayed_runs_are_resumed_evaluated_and_streamed(module, name, dataset, tmp_path):
    file, whole, part = tmp_path / "net.json", tmp_path / "whole", tmp_path / "part"
    file.write_text(json.dumps(Nodes(tuple(delayed())).described()))
    flags = ("--dataset", dataset, *FEW, "--dropout", 0.2, "--init", "calibrated", *(SUMS[name] or ("--network", file)))
    passed(module, *flags, "--out", whole)
    passed(module, *flags, "--out", part, "--checkpoint-every", 2, "--max-iters", 2)
    passed(module, "--resume", "--out", part, "--max-iters", 4)
    assert (whole / "weights.safetensors").read_bytes() == (part / "weights.safetensors").read_bytes()
    accuracy = records(whole, "end")[-1]["accuracy"]
    assert f"{accuracy:.2%}" in passed("csnn_jax.evaluate", whole)
    trained, images = csnn_jax.load(whole), np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype(np.uint8)
    stream, (*_, spikes) = trained.stream(3), trained.trace(images).spikes.values()
    assert spikes.any()
    for step in spikes:
        assert np.array_equal(stream(images)[0], step)


@pytest.mark.parametrize(
    "words", ["--hidden 512", "--beta 0.5", "--recurrent fc1", "--output spiking", "--num-classes 10"]
)
def test_flags_of_chains_next_to_network_are_refused(words, tmp_path):
    file = write(tmp_path / "net.json")
    flag, value = words.split()
    refused(TRAIN, "--network", file, flag, value, "--out", tmp_path / "run", names=(flag, value, "--network"))


def test_networks_that_do_not_fit_are_refused(dataset, tmp_path):
    out, file = tmp_path / "run", write(tmp_path / "net.json", classes=8)
    flags = ("--dataset", dataset, "--out", out, "--network")
    refused(TRAIN, *flags, file, names=("--network", "out", 8, 9, 10))
    refused(TRAIN, *flags, write(tmp_path / "net.json"), "--engine", "event", names=("--engine event", "s1"))
    few = [NodeConfig("c", "convolution", "image", channels=2, kernel=30), NodeConfig("s", "leaky", "c")]
    (tmp_path / "big.json").write_text(json.dumps(Nodes(tuple(few)).described()))
    refused(TRAIN, *flags, tmp_path / "big.json", names=("--network", "c", "28x28x1", "--input-shape"))


def test_a_recipe_keeps_what_is_not_about_its_layers(tmp_path):
    file = write(tmp_path / "net.json", classes=12)
    config = read_flags("--recipe", "nir", "--network", file).config
    assert config.model.network == Nodes(tuple(nodes(12))) and config.model.num_classes == 12
    assert (config.train.epochs, config.model.time_steps, config.model.pool) == (9, 5, "max")
    assert "--pool" not in job_words(RECIPES["nir"], used=config)
    words = shlex.split(repeating(config, None, str(tmp_path)))
    assert words[words.index("--network") + 1] == f"{tmp_path}/config.json" and "--num-classes" not in words
    (tmp_path / "config.json").write_text(file.read_text())
    back = read_flags(*words[3:])
    assert decided(back.config).model == decided(config).model


def test_health_names_nodes_and_suggests_their_settings():
    config = decided(Config(ModelConfig(network=nodes(threshold=2.0)), train=TrainConfig(batch_size=32)))
    lines = []
    monitor = HealthMonitor(config, 20, Records(), lambda: {}, lines.append)
    for iteration in range(1, 21):
        metrics = monitor.record(np.full(2, 0.1), np.array([1, 1, 1, 1, 1e4]))  # more weights than layers
        monitor.step(iteration, 2.0, metrics)
    assert len(lines) == 1 and "exploding gradients: each " in lines[0]
    assert "--threshold" not in (hint := advice.hint("silent", config, [0], early=True)) and "2" in hint.split("now")[1]
