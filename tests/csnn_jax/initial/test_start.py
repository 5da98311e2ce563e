"""Initial weights: every layer fires as asked, and every engine and framework gets the same."""

import math

import numpy as np
import pytest

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.initial import start as initial
from csnn_jax.initial.drawn import drawn as draw
from csnn_jax.update.trainer import Trainer

STACKS = {
    "original": {},
    "deep": {"conv_channels": (8, 16, 24), "hidden": (64, 32)},
    "no convolution": {"conv_channels": (), "hidden": (96, 96, 96)},
    "average, zero, beta 0.9": {"pool": "avg", "reset": "zero", "beta": 0.9, "conv_channels": (8, 16)},
    "no reset, threshold 3": {"reset": "none", "threshold": 3.0, "conv_channels": (8, 16)},
    "latency": {"encoding": "latency", "conv_channels": (8, 16)},
}


def job(init: str, density: float = 0.1, **changes) -> Config:
    model = ModelConfig(**({"time_steps": 12, "scale": 255.0} | changes))
    return decided(Config(model, train=TrainConfig(init=init, init_density=density, batch_size=48)))


@pytest.fixture(scope="module")
def mnist() -> data.Split:
    return data.load("mnist", (28, 28, 1)).train


@pytest.mark.parametrize("density", [0.05, 0.2])
@pytest.mark.parametrize("changes", STACKS.values(), ids=STACKS)
def test_calibrated_layers_fire_as_asked(changes, density, mnist):
    made = initial.start(job("calibrated", density, **changes), mnist)
    assert min(made.before) < density / 1.5  # torch's do not
    for found in made.after:
        assert density / 1.5 < found < density * 1.5


def test_the_densities_that_are_told_are_the_engines(mnist):
    config = job("calibrated", conv_channels=(8, 16), hidden=(32,))
    made = initial.start(config, mnist)
    rows = data.epoch_batches(0, 0, len(mnist.labels), 48)[0]
    seen = Trainer(config, mnist, made.tensors).evaluate(data.Split(mnist.images[rows], mnist.labels[rows]))
    np.testing.assert_allclose(list(seen.densities.values()), made.after, rtol=1e-3)


@pytest.mark.parametrize("init", ["fluctuation", "calibrated"])
def test_a_gain_scales_torchs_draw_on_a_grid(init, mnist):
    config = job(init, conv_channels=(8, 16), hidden=(32,))
    drawn = initial.Start(config.model, draw(config)).tensors
    made = initial.start(config, mnist).tensors
    for layer in config.model.layers:
        gain = made[f"{layer.name}.weight"] / drawn[f"{layer.name}.weight"]
        step = 8 * np.log2(gain.mean())
        assert gain.std() < 1e-5 * gain.mean() and abs(step - round(step)) < 1e-3
        bias = made[f"{layer.name}.bias"]
        assert np.allclose(bias, drawn[f"{layer.name}.bias"] * gain.mean()) if init == "calibrated" else not bias.any()


def test_fluctuation_gives_membranes_the_deviation_of_the_paper():
    config = job("fluctuation", conv_channels=(), hidden=(400,), threshold=2.0, beta=0.8, input_shape=(4, 4, 1))
    rng = np.random.default_rng(0)
    split = data.Split(rng.integers(0, 256, (128, 4, 4, 1), np.uint8), np.zeros(128, np.int32))
    weights = initial.start(config, split).tensors["fc2.weight"]
    spikes = rng.random((4000, 400)) < 0.1
    membrane, seen = np.zeros(10), []
    for frame in spikes:
        membrane = 0.8 * membrane + weights @ frame
        seen.append(membrane - (weights.sum(1) * 0.1) / (1 - 0.8))
    expected = 2.0 / 1.2816 * math.sqrt(1 - 0.1)  # of Bernoulli spikes; the paper's Poisson spikes have no 1 - p
    assert np.std(seen) == pytest.approx(expected, rel=0.15)  # the gain stands on a grid of 9 %


def test_the_seeds_own_weights_are_torchs(mnist):
    config = job("torch")
    made = initial.start(config, mnist)
    assert made.before is None and initial.told(made, config) is None
    for layer, fan_in in zip(config.model.layers, (9, 288, 3136, 512), strict=True):
        weight = made.tensors[f"{layer.name}.weight"]
        assert weight.std() == pytest.approx(1 / math.sqrt(3 * fan_in), rel=0.1) and abs(weight).max() < fan_in**-0.5


def test_a_layer_that_no_gain_can_make_fire_ends_nothing():
    split = data.Split(np.zeros((128, 28, 28, 1), np.uint8), np.zeros(128, np.int32))
    made = initial.start(job("calibrated", conv_channels=(4,), hidden=(8,)), split)
    assert all(np.isfinite(tensor).all() for tensor in made.tensors.values())
