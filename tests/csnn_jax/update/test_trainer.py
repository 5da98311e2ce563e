"""The training step: its results, and that its convolutions run on cuDNN on a GPU."""

import math
import re
from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from refusals import refusing
from stepping import step

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.engine import scan
from csnn_jax.errors import UserError
from csnn_jax.initial import start as initial
from csnn_jax.network.model import CSNN
from csnn_jax.update import gradient as gradients
from csnn_jax.update import objective, optimizer
from csnn_jax.update.objective import ce_rate
from csnn_jax.update.trainer import State, Trainer, make_update

pytestmark = pytest.mark.numeric

SMALL_STACK = {"input_shape": (6, 6, 1), "conv_channels": (4,), "hidden": (), "num_classes": 3, "time_steps": 6}
SMALL = ModelConfig(**SMALL_STACK)
ADAM, RATE = optimizer.make(TrainConfig()), 0.02


def beginning(model: CSNN) -> tuple[nnx.GraphDef, State]:
    graph, params = nnx.split(model)
    return graph, State(params, params, ADAM.init(params))


def gradient_of(graph: nnx.GraphDef) -> gradients.Gradient:
    return gradients.make(graph, objective.make(TrainConfig()))


def assert_same(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(0, 256, (5, 6, 6, 1)), jnp.uint8), jnp.asarray(rng.integers(0, 3, 5))


def test_a_step_applies_adam_to_the_gradient_of_the_loss(firing, batch):
    """And the average moves towards the new parameters."""
    model = firing(SMALL)
    graph, state = beginning(model)
    images, labels = batch
    before = jax.tree.map(lambda p: np.asarray(p) + 1, state.params)

    def loss(params):
        return ce_rate(scan.forward(nnx.merge(graph, params), images)[1], labels)

    @jax.jit
    def expected(params):
        value, gradient = jax.value_and_grad(loss)(params)
        reference = optax.adam(RATE)
        updates, (moments, _) = reference.update(gradient, reference.init(params))
        new = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, before, new)
        adam = optimizer.Adam(jnp.array([0.9, 0.999]), moments.mu, moments.nu)
        norms = [jnp.sqrt((own.kernel[...] ** 2).sum()) for own in nnx.merge(graph, gradient).weights.values()]
        densities = [layer.mean() for layer in scan.trace(nnx.merge(graph, params), images)[1].spikes.values()]
        return value, norms, densities, State(new, params, (adam, optax.EmptyState()), average)

    value, norms, densities, wanted = expected(state.params)
    update = jax.jit(make_update(graph, ADAM, gradient_of(graph)))
    after, seen = update(state._replace(average=before), images, labels, RATE, renewal=0.25)
    assert seen.finite and seen.loss == pytest.approx(float(value), 1e-12) and seen.loss < math.log(3) - 1e-3
    np.testing.assert_allclose(seen.densities, densities, rtol=1e-12)
    np.testing.assert_allclose(seen.gradients, norms, rtol=1e-9)
    assert_same(after.last_good, state.params)
    for one, other in zip(jax.tree.leaves(after.average), jax.tree.leaves(wanted.average), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_the_engine_is_chosen_before_weights_are_calibrated(monkeypatch):
    monkeypatch.setattr(initial, "start", lambda *_: pytest.fail("calibrated"))
    settings = TrainConfig(engine="event", init="calibrated")
    split = data.Split(np.zeros((2, 28, 28, 1), np.uint8), np.zeros(2, np.int32))
    with refusing(UserError, "event", "conv1", 9):
        Trainer(decided(Config(ModelConfig(kernel_size=9), train=settings)), split)


def test_a_nonfinite_gradient_changes_nothing(batch):
    graph, state = beginning(CSNN(SMALL))
    update = jax.jit(make_update(graph, ADAM, gradient_of(graph)))
    for value in (math.nan, math.inf, -math.inf):
        model = nnx.merge(graph, state.params)
        kernel = list(model.weights.values())[1].kernel
        kernel[...] = kernel[...].at[0, 0].set(value)
        _, wrong = beginning(model)
        after, seen = update(wrong, *batch, RATE)
        assert not seen.finite and math.isfinite(seen.loss)  # a neuron with a NaN membrane just never fires
        assert_same(after, wrong)


def lowered(platform: str) -> str:
    """StableHLO of the default job's training step for a platform, which needn't be available."""
    model = nnx.eval_shape(lambda: CSNN(ModelConfig()))
    graph, params = nnx.split(model)
    state = jax.eval_shape(lambda params: State(params, params, ADAM.init(params)), params)
    images, labels = (jax.ShapeDtypeStruct(shape, jnp.uint8) for shape in ((128, 28, 28, 1), (128,)))
    traced = jax.jit(make_update(graph, ADAM, gradient_of(graph)), donate_argnums=0).trace(state, images, labels, RATE)
    return traced.lower(lowering_platforms=(platform,)).as_text()


def operations(text: str, name: str) -> list[str]:
    """Operand and result shapes of every operation of that name, such as `2x3, 3x4 -> 2x4`."""
    lines = [line for line in text.splitlines() if f"stablehlo.{name}" in line]
    types = [re.search(r": \(tensor<(\w+)xf32>, tensor<(\w+)xf32>\) -> tensor<(\w+)xf32>$", line) for line in lines]
    return sorted("{}, {} -> {}".format(*match.groups()) for match in types if match is not None)


# One step of the default network, B = 128. Convolution 1 has no input gradient, because images aren't trained.
CONV1, CONV2 = "128x28x28x1, 3x3x1x32 -> 128x28x28x32", "128x14x14x32, 3x3x32x64 -> 128x14x14x64"
CONV1_WEIGHTS, CONV2_WEIGHTS = "128x28x28x1, 128x28x28x32 -> 3x3x1x32", "128x14x14x32, 128x14x14x64 -> 3x3x32x64"
CONV2_INPUT = "128x14x14x64, 3x3x32x64 -> 128x14x14x32"
UNFORESEEN = re.compile(r"compare +EQ, (%\w+), \1,")  # the branches of layers._once, which would stall a GPU
LINEAR = 6  # forward, input gradient and weight gradient of fc1 and fc2


def test_on_cuda_every_convolution_and_gradient_is_a_convolution():
    text = lowered("cuda")
    assert operations(text, "convolution") == sorted([CONV1, CONV1_WEIGHTS, CONV2, CONV2_WEIGHTS, CONV2_INPUT])
    assert len(operations(text, "dot_general")) == LINEAR
    exact = [line for line in text.splitlines() if re.search(r"precision(_config)? = .*HIGHEST", line)]
    assert len(exact) == 5 + LINEAR  # no TF32
    assert "custom_call" not in text and not UNFORESEEN.search(text)


@pytest.mark.parametrize("encoding", ["rate", pytest.param("frames", marks=pytest.mark.slow)])
def test_several_devices_train_and_evaluate_as_one(encoding, x64):
    frames = encoding == "frames"
    model = ModelConfig(**SMALL_STACK, encoding="direct" if frames else encoding, surrogate="atan")
    train = TrainConfig(dtype="float64", batch_size=12, lr=0.02, init="calibrated", microbatch=4, dropout=0.3, ema=0.9)
    settings = decided(Config(model, train=train))
    rng = np.random.default_rng(0)
    shape = (30, 6, 6, 6, 1) if frames else (30, 6, 6, 1)
    split = data.Split(rng.integers(0, 256, shape, np.uint8), rng.integers(0, 3, 30).astype(np.int32))
    one, other = (Trainer(settings, split, devices=count) for count in (1, 4))
    for iteration in range(6):
        index = rng.permutation(30)[:12]
        expected, sharded = (step(trainer, split, iteration, index, 0.002).fetched() for trainer in (one, other))
        assert sharded.loss == pytest.approx(expected.loss, rel=1e-9)
        np.testing.assert_allclose(sharded.densities, expected.densities, rtol=1e-9)
        np.testing.assert_allclose(sharded.gradients, expected.gradients, rtol=1e-7)
    assert min(sharded.densities) > 0.01
    results = [trainer.evaluate(split) for trainer in (one, other)]  # 30 images on 4 devices are padded
    np.testing.assert_array_equal(results[0].predictions, results[1].predictions)
    assert results[0].densities == results[1].densities
    spikes, others = (trainer.trace(split.images[:2]).spikes for trainer in (one, other))
    for node in spikes:
        np.testing.assert_array_equal(spikes[node], others[node])
    assert one.summarize_neurons(split.images) == other.summarize_neurons(split.images)


KIND = {
    "neuron": "synaptic",
    "reset": "zero",
    "learn_alpha": True,
    "per_channel": ("beta", "threshold"),
    "learn_threshold": True,
    "output": "integrator",
}


def test_a_restored_trainer_continues_bit_for_bit():
    """Resumed commands, as in test_seeds.py, have neither normalization nor averages."""
    train = TrainConfig(batch_size=8, init="torch", batch_norm=True, ema=0.8)
    config = decided(Config(ModelConfig(**SMALL_STACK, **KIND), train=train))
    rng = np.random.default_rng(0)
    split = data.Split(rng.integers(0, 256, (8, 6, 6, 1), np.uint8), np.arange(8, dtype=np.int32) % 3)
    trainer, other = Trainer(config, split), Trainer(config, split)
    for iteration in range(4):
        step(trainer, split, iteration, range(8), 0.05)
        if iteration == 1:
            other.restore(trainer.snapshot())
        if iteration > 1:
            step(other, split, iteration, range(8), 0.05)
    before, after = trainer.start.tensors, trainer.tensors()
    learned = {name for node in config.model.graph.neurons for name in node.operation.learned}
    for name, value in before.items():
        assert (after[name] != value).any() == (not name.startswith("lif") or name.partition(".")[2] in learned), name
    for side in (trainer, other):
        for name, value in after.items():
            np.testing.assert_array_equal(side.tensors()[name], value)
        side.roll_back()
    assert_same(trainer.state, other.state)
    assert_same(trainer.state.params, trainer.state.last_good)


OF_STEP = {
    **{"label_smoothing": 0.1, "optimizer": "sgd", "clip_norm": 0.5, "weight_decay": 0.1, "loss": "mse_count"},
    **{"dropout": 0.5, "rate_target": 0.2, "microbatch": 64, "dtype": "float64", "engine": "scan", "batch_norm": True},
}
AROUND = {
    **{"seed": 7, "lr": 0.5, "epochs": 3, "warmup": 2, "schedule": "constant", "max_iters": 9, "ema": 0.5},
    **{"init": "calibrated", "init_density": 0.2, "eval_every": 7, "eval_images": 3, "checkpoint_every": 2},
    "keep_checkpoints": 5,
}


def test_trainers_share_a_compiled_step_if_nothing_that_it_depends_on_differs():
    """Each setting of training is in one of the lists, or changes the step's arguments."""
    model = replace(SMALL, surrogate="atan", slope=3.0)
    images = np.random.default_rng(0).integers(0, 256, (256, 6, 6, 1), np.uint8)
    split = data.Split(images, np.arange(256, dtype=np.int32) % 3)

    def step_of(model: ModelConfig, **settings):
        with jax.enable_x64(settings.get("dtype") == "float64"):
            return Trainer(decided(Config(model, train=TrainConfig(**{"lr": 0.01} | settings))), split)._update

    first = step_of(model)
    for name, value in AROUND.items():
        assert step_of(model, **{name: value}) is first, name
    others = [step_of(model, **{name: value}) for name, value in OF_STEP.items()]
    others += [step_of(replace(model, slope=4.0)), step_of(replace(model, time_steps=9)), first]
    assert len({*map(id, others)}) == len(others)
    listed = OF_STEP.keys() | AROUND.keys() | {"batch_size", "momentum", "init_from", "rate_weight"}
    assert listed == {field.name for field in fields(TrainConfig)}


def test_batch_normalization_is_for_one_device():
    config = decided(Config(SMALL, train=TrainConfig(batch_size=8, batch_norm=True)))
    split = data.Split(np.zeros((8, 6, 6, 1), np.uint8), np.zeros(8, np.int32))
    with refusing(UserError, "batch_norm", "one device", 4):
        Trainer(config, split, devices=4)


def test_frames_for_evaluation_may_not_fit_the_training_engine():
    """Test counts above 15 use the scan engine; with `--engine event`, they're refused in one line."""
    model = ModelConfig(input_shape=(6, 5, 2), conv_channels=(3,), hidden=(), num_classes=2, time_steps=3, scale=1.0)
    frames = np.random.default_rng(0).integers(0, 16, (8, 3, 6, 5, 2)).astype(np.uint8)
    train, test = (data.Split(images, np.arange(8) % 2) for images in (frames, frames + np.uint8(1)))
    trainer = Trainer(decided(Config(model, train=TrainConfig(batch_size=8))), train)
    assert "event engine" in trainer.describe()
    step(trainer, train, 0, range(8), 0.01)
    assert trainer.evaluate(train).accuracy >= 0 and trainer.evaluate(test).confusion.sum() == 8
    asked = Trainer(decided(Config(model, train=TrainConfig(batch_size=8, engine="event"))), train)
    with refusing(UserError, "engine event", 16):
        asked.evaluate(test)
