"""Initial weights: layers fire as requested, engines and frameworks get the same ones, and runs can be fine-tuned."""

import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from bundles import SMALL, drawn, make_run
from commands import passed
from refusals import refusing
from trainings import losses, read_flags

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig, NodeConfig, TrainConfig, decided
from csnn_jax.errors import UserError
from csnn_jax.initial import start as initial
from csnn_jax.runs import weights
from csnn_jax.update.trainer import Trainer

LEARNED = ModelConfig(conv_channels=(4,), hidden=(6,), time_steps=5, learn_beta=True, learn_threshold=True)
VALID = ModelConfig(conv_channels=(4, 3), kernel_size=(5, 2), padding="valid", bias=False, hidden=(), time_steps=5)

STACKS = {
    "original": {},
    "deep": {"conv_channels": (8, 16, 24), "hidden": (64, 32)},
    "no convolution": {"conv_channels": (), "hidden": (96, 96, 96)},
    "average, zero, beta 0.9": {"pool": "avg", "reset": "zero", "beta": 0.9, "conv_channels": (8, 16)},
    "no reset, threshold 3": {"reset": "none", "threshold": 3.0, "conv_channels": (8, 16)},
    "latency": {"encoding": "latency", "conv_channels": (8, 16)},
}


def job(init: str, density: float = 0.1, **changes) -> Config:
    model = ModelConfig(**({"input_shape": (14, 14, 1), "time_steps": 12, "scale": 256.0} | changes))
    return decided(Config(model, train=TrainConfig(init=init, init_density=density, batch_size=48)))


@pytest.fixture(scope="module")
def mnist() -> data.Split:
    return data.load("mnist", (28, 28, 1)).train


@pytest.fixture(scope="module")
def small(mnist) -> data.Split:
    """Every other pixel of the first images."""
    return data.Split(np.ascontiguousarray(mnist.images[:512, ::2, ::2]), mnist.labels[:512])


@pytest.mark.parametrize(
    ("name", "density"),
    [
        *(("original", 0.05), ("no reset, threshold 3", 0.2), ("latency", 0.2)),
        *(
            pytest.param(name, 0.2, marks=pytest.mark.slow)
            for name in ("deep", "no convolution", "average, zero, beta 0.9")
        ),
    ],
)
def test_calibrated_layers_fire_as_requested(name, density, small):
    made = initial.start(job("calibrated", density, **STACKS[name]), small)
    assert min(made.before) < density / 1.5  # torch's don't
    for layer_density in made.after:
        assert density / 1.5 < layer_density < density * 1.5


@pytest.mark.parametrize("init", ["fluctuation", "calibrated"])
def test_a_gain_scales_torchs_draw_on_a_grid(init, small):
    config = job(init, conv_channels=(8, 16), hidden=(32,))
    torchs = initial.Start(config.model, initial.drawn(config)).tensors
    made = initial.start(config, small).tensors
    for layer in config.model.graph.weighted:
        gain = made[f"{layer.name}.weight"] / torchs[f"{layer.name}.weight"]
        step = 8 * np.log2(gain.mean())
        assert gain.std() < 1e-5 * gain.mean() and abs(step - round(step)) < 1e-3
        bias = made[f"{layer.name}.bias"]
        assert np.allclose(bias, torchs[f"{layer.name}.bias"] * gain.mean()) if init == "calibrated" else not bias.any()


def test_fluctuation_gives_membranes_the_papers_deviation():
    config = job("fluctuation", conv_channels=(), hidden=(400,), threshold=2.0, beta=0.8, input_shape=(4, 4, 1))
    rng = np.random.default_rng(0)
    split = data.Split(rng.integers(0, 256, (128, 4, 4, 1), np.uint8), np.zeros(128, np.int32))
    tensors = initial.start(config, split).tensors
    weights = tensors["fc2.weight"]
    pixels = rng.normal(0, math.sqrt(0.1), (16, 1000))  # whose mean square is assumed
    assert np.std(tensors["fc1.weight"] @ pixels / (1 - 0.8)) == pytest.approx(2.0 / 1.2816, rel=0.15)
    encoded = replace(config, model=replace(config.model, encoding="rate"))  # an image that changes with time
    gain = initial.start(encoded, split).tensors["fc1.weight"] / tensors["fc1.weight"]
    assert gain.mean() == pytest.approx(math.sqrt(1 - 0.8**2) / (1 - 0.8), rel=0.1)
    spikes = rng.random((4000, 400)) < 0.1
    membrane, seen = np.zeros(10), []
    for frame in spikes:
        membrane = 0.8 * membrane + weights @ frame
        seen.append(membrane - (weights.sum(1) * 0.1) / (1 - 0.8))
    expected = 2.0 / 1.2816 * math.sqrt(1 - 0.1)  # for Bernoulli spikes; the paper's Poisson spikes have no 1 - p
    assert np.std(seen) == pytest.approx(expected, rel=0.15)  # gains are on a grid of 9%


def test_most_neurons_may_fire():
    """A normal distribution's quantile is negative above one half."""
    split = data.Split(np.full((8, 4, 4, 1), 99, np.uint8), np.zeros(8, np.int32))
    half, more, usual = (
        initial.start(job("fluctuation", density, conv_channels=(), hidden=(), input_shape=(4, 4, 1)), split).tensors
        for density in (0.5, 0.6, 0.46)
    )
    assert abs(half["fc1.weight"]).max() == pytest.approx(abs(more["fc1.weight"]).max(), rel=0.1)
    assert abs(half["fc1.weight"]).max() == pytest.approx(abs(usual["fc1.weight"]).max(), rel=0.1)


@pytest.mark.parametrize(("steps", "images"), [(12, 128), (100, 32), (2000, 4)])
def test_long_windows_are_calibrated_on_fewer_images(steps, images, small):
    config = job("calibrated", time_steps=steps)
    config = replace(config, train=replace(config.train, batch_size=200, microbatch=200))
    assert initial._input(config, small).shape == (1, images, 14, 14, 1)


def test_a_layer_that_no_gain_can_make_fire_is_no_error():
    split = data.Split(np.zeros((128, 14, 14, 1), np.uint8), np.zeros(128, np.int32))
    made = initial.start(job("calibrated", conv_channels=(4,), hidden=(8,)), split)
    assert all(np.isfinite(tensor).all() for tensor in made.tensors.values())


@pytest.fixture
def source(tmp_path):
    return make_run(tmp_path / "source", SMALL)


@pytest.mark.parametrize("model", [SMALL, LEARNED, VALID], ids=["small", "learned", "no padding, no bias"])
def test_the_stack_and_the_weights_come_from_the_run(model, tmp_path, mnist):
    out = make_run(tmp_path / "run", model)
    for source in (out, out / "weights.safetensors"):
        config = decided(read_flags("--init-from", source, "--num-classes", 10).config)
        for name in ("conv_channels", "kernel_size", "padding", "bias", "hidden", "pool", "reset", "time_steps"):
            assert getattr(config.model, name) == getattr(model, name)
        made = initial.start(config, mnist)
        assert made.before is None and initial.summary(made, config) == f"Initial weights: from {source}"
        for name, tensor in drawn(model, 0).items():
            np.testing.assert_array_equal(made.tensors[name], tensor)


def test_explicit_flags_override_the_run(source, tmp_path, mnist):
    config = read_flags("--init-from", source, "--time-steps", 9, "--reset", "none", "--beta", 0.25).config
    assert (config.model.time_steps, config.model.reset) == (9, "none")
    assert config.model.conv_channels == SMALL.conv_channels and config.model.each("beta") == (0.25,) * 3
    learned = make_run(tmp_path / "learned", LEARNED)
    tensors = initial.start(read_flags("--init-from", learned, "--threshold", 2, "--seed", 5).config, mnist).tensors
    assert [float(tensors[f"lif{number}.threshold"]) for number in (1, 2, 3)] == [2, 2, 2]
    np.testing.assert_array_equal(tensors["lif2.beta"], drawn(LEARNED, 0)["lif2.beta"])
    fixed = read_flags("--init-from", learned, "--no-learn-beta").config.model
    assert fixed.each("beta") == tuple(float(drawn(LEARNED, 0)[f"lif{number}.beta"]) for number in (1, 2, 3))


def test_values_per_channel_are_kept_and_an_integrator_may_spike_again(tmp_path, mnist):
    model = replace(LEARNED, per_channel=("beta",), output="integrator", threshold=0.25)
    source = make_run(tmp_path / "run", model)
    initialized = initial.start(read_flags("--init-from", source, "--output", "spiking").config, mnist)
    theirs = drawn(model, 0)
    for number, shape in ((1, (4,)), (2, (6,)), (3, (10,))):
        assert theirs[f"lif{number}.beta"].shape == shape
        assert initialized.tensors[f"lif{number}.threshold"] == theirs.get(f"lif{number}.threshold", 0.25)
        np.testing.assert_array_equal(initialized.tensors[f"lif{number}.beta"], theirs[f"lif{number}.beta"])
    other = initial.start(read_flags("--init-from", source, "--beta", 0.75).config, mnist).tensors
    np.testing.assert_array_equal(other["lif2.beta"], np.full(6, np.float32(0.75)))


def test_the_last_layer_is_reinitialized_for_another_number_of_classes(source, mnist):
    config = read_flags("--init-from", source, "--num-classes", 12, "--seed", 4).config
    made = initial.start(config, mnist)
    for name in ("conv1.weight", "fc1.weight", "fc1.bias"):
        np.testing.assert_array_equal(made.tensors[name], drawn(SMALL, 0)[name])
    assert made.tensors["fc2.weight"].shape == (12, 16) and abs(made.tensors["fc2.weight"]).max() <= 16**-0.5
    line = f"Initial weights: from {source}; fc2 is reinitialized for 12 classes instead of 10"
    assert initial.summary(made, config) == line


@pytest.mark.parametrize(
    ("path", "flags", "facts"),
    [
        ("nowhere", (), ("init_from", "nowhere", "no such directory")),
        ("net.pt", (), ("init_from", "net.pt", "python -m csnn_torch.convert FILE")),
        ("broken.safetensors", (), ("init_from", "broken.safetensors", "safetensors file")),
        ("source", ("--hidden", 8), ("init_from", "fc1.weight", [16, 784], [8, 784])),
        ("source", ("--conv-channels", 4, 8), ("init_from", "nothing", "conv2.weight")),
        ("source", ("--no-bias",), ("init_from", "conv1.bias")),
        ("source", ("--init", "torch"), ("init torch", "auto", "init_from")),
        ("source", ("--resume", "--out", "x"), ("resume", "init_from")),
    ],
)
def test_invalid_starts_are_refused(source, path, flags, facts, tmp_path, mnist):
    (tmp_path / "net.pt").write_bytes(b"x")
    (tmp_path / "broken.safetensors").write_bytes((source / "weights.safetensors").read_bytes()[:-50])
    with refusing(UserError, *facts):
        initial.start(read_flags("--init-from", tmp_path / path, *flags).config, mnist)


@pytest.fixture(scope="module")
def accuracy(dataset, tmp_path_factory) -> str:
    """What the evaluation of `source` prints."""
    path = make_run(tmp_path_factory.mktemp("evaluated") / "source", SMALL)
    return passed("csnn_jax.evaluate", path, "--dataset", dataset)


@pytest.mark.parametrize("module", ["csnn_jax.train", pytest.param("csnn_torch.train", marks=pytest.mark.slow)])
def test_both_frameworks_fine_tune_a_run_and_resume_without_it(module, source, accuracy, dataset, tmp_path):
    """The learning rate is a tenth, and the accuracy before the first step is printed even with evaluations off.

    Both frameworks resume with the same code.
    """
    steady = ("--schedule", "constant", "--eval-every", 0)  # so the run can be extended
    flags = ("--init-from", source, "--dataset", dataset, "--batch-size", 32, *steady)
    out = tmp_path / "out"
    first = passed(module, *flags, "--max-iters", 1, "--out", out)
    assert "\nChosen for this network: --surrogate atan, --lr 0.0005\n" in first
    assert re.findall(r"^Iter 0, Test Acc: (\S+)$", first, re.M)[0] in accuracy
    assert f"Initial weights: from {source}\n" in first
    if module == "csnn_jax.train":
        shutil.rmtree(source)
        passed(module, "--resume", "--max-iters", 2, "--out", out)
    assert len(losses(out)) == (2 if module == "csnn_jax.train" else 1)
    tensors = weights.load(out / "weights.safetensors")[1]
    changes = [abs(tensors[name] - tensor).max() for name, tensor in drawn(SMALL, 0).items()]
    assert 0 < max(changes) < 0.01  # a few steps of Adam, rounded to the grid


def nodes(**of_second) -> list[NodeConfig]:
    """Two layers: the first reads the image, itself and the second; the second the first, the image and itself."""
    back = {"bias": False, "channels": 40}
    return [
        NodeConfig("flat", "flatten", "image"),
        NodeConfig("a", "linear", "flat", channels=40),
        NodeConfig("own", "linear", "s1@1", **back),
        NodeConfig("late", "linear", "s2@1", **back),
        NodeConfig("s1", "leaky", ["a", "own", "late"]),
        NodeConfig("b", "linear", "s1", channels=30),
        NodeConfig("skip", "linear", "flat", channels=30),
        NodeConfig("each", "one_to_one", "s2@1", channels=30),
        NodeConfig("s2", "synaptic", ["b", "skip", "each"], **of_second),
        NodeConfig("c", "linear", "s2", channels=10),
        NodeConfig("out", "leaky", "c"),
    ]


def delayed() -> list[NodeConfig]:
    """Sums of spikes and of currents, delayed on the way in, between layers and within one."""
    conv = {"channels": 6, "kernel": 3, "padding": 1}
    return [
        NodeConfig("c1", "convolution", ["image", "image@1"], **conv),
        NodeConfig("s1", "leaky", ["c1"], reset="zero"),
        NodeConfig("c2", "convolution", ["s1", "s1@2"], **conv),
        NodeConfig("pool", "max_pool", ["c2", "skip@1"]),
        NodeConfig("skip", "convolution", "s1", channels=6, kernel=1),
        NodeConfig("again", "convolution", "s3@2", **conv),
        NodeConfig("up", "convolution", "s1@3", channels=6, kernel=2, stride=2),
        NodeConfig("s2", "leaky", ["up", "wide"], beta=0.8),
        NodeConfig("wide", "convolution", ["s1@1"], channels=6, kernel=2, stride=2),
        NodeConfig("s3", "leaky", ["pool", "again"]),
        NodeConfig("flat", "flatten", ["s3", "s2@1"]),
        NodeConfig("fc", "linear", "flat", channels=10),
        NodeConfig("out", "leaky", ["fc", "fc@1"]),
    ]


GRAPHS = {
    "recurrent": {"conv_channels": (8,), "hidden": (64,), "recurrent": ("fc1", "fc2:one")},
    "nodes": {"network": nodes(reset="zero")},
    "separate": {"network": nodes(separate=True)},
    "residual": {"conv_channels": (8, 8, 12), "residual": ("conv2", "conv3"), "hidden": (20,)},
    "delayed": {"network": delayed()},
}
KEPT = {"own", "late", "each", "rec1", "rec2", "again"}
"""Weights of spikes of the layer itself or of later ones."""


@pytest.mark.parametrize("changes", GRAPHS.values(), ids=GRAPHS)
def test_layers_of_a_graph_fire_as_requested_and_recurrent_weights_stay(changes, small):
    config = job("calibrated", 0.2, **changes)
    made, torchs = initial.start(config, small), initial.Start(config.model, initial.drawn(config)).tensors
    assert min(made.before) < 0.2 / 1.5
    for node, density in zip(config.model.graph.neurons, made.after, strict=True):
        # A layer that a later one feeds back to was calibrated without it.
        assert 0.2 / 1.5 < density < 0.2 * (2.5 if node.name == "s1" else 1.5), node.name
    gains = {}
    for node in config.model.graph.weighted:
        gain = made.tensors[f"{node.name}.weight"] / torchs[f"{node.name}.weight"]
        assert gain.std() < 1e-5 * gain.mean()
        gains[node.name] = gain.mean()
        assert (gain.mean() == 1) == (node.name in KEPT), node.name
    if "b" in gains:
        assert gains["b"] == pytest.approx(gains["skip"], rel=1e-5) != pytest.approx(gains["a"], rel=0.01)
    if changes == GRAPHS["delayed"]:  # the densities are the engine's
        rows = data.epoch_batches(0, 0, len(small.labels), 48)[0]
        seen = Trainer(config, small, made.tensors).evaluate(data.Split(small.images[rows], small.labels[rows]))
        np.testing.assert_allclose(list(seen.densities.values()), made.after, rtol=1e-3)


def test_fluctuation_counts_recurrent_weights():
    model = {"conv_channels": (), "hidden": (400,), "beta": 0.8, "input_shape": (4, 4, 1)}
    split = data.Split(np.zeros((128, 4, 4, 1), np.uint8), np.zeros(128, np.int32))
    plain, made = (
        initial.start(job("fluctuation", **model, **more), split).tensors for more in ({}, {"recurrent": ("fc2:one",)})
    )
    for name, share in (("fc1", 1), ("fc2", 1 / math.sqrt(2)), ("rec2", 0)):  # as many variances, equal for each input
        if share:
            gain = made[f"{name}.weight"] / plain[f"{name}.weight"]
            assert gain.mean() == pytest.approx(share, rel=0.05)
    assert abs(made["rec2.weight"]).max() == pytest.approx(20 * abs(made["fc2.weight"]).max(), rel=0.2)


def test_a_described_network_is_fine_tuned_with_more_classes(tmp_path, mnist):
    model = ModelConfig(network=nodes(learn=["alpha"], per_channel=["beta"]), time_steps=4)
    source = make_run(tmp_path / "run", model)
    theirs = drawn(model, 0)
    config = decided(read_flags("--init-from", source).config)
    made = initial.start(config, mnist).tensors
    assert config.model.graph["s2"].operation["alpha"] == pytest.approx(float(theirs["s2.alpha"]))
    assert all(np.array_equal(made[name], theirs[name]) for name in theirs)
    more = [replace_channels(node, 12) if node.name == "c" else node for node in model.network.nodes]
    wider = decided(replace(config, model=replace(config.model, network=more)))
    again = initial.start(wider, mnist)
    assert again.tensors["c.weight"].shape == (12, 30) and again.classes == 10
    assert np.array_equal(again.tensors["late.weight"], theirs["late.weight"])


def replace_channels(node: NodeConfig, channels: int) -> NodeConfig:
    return NodeConfig(node.name, node.operation, node.inputs, **dict(node.settings) | {"channels": channels})
