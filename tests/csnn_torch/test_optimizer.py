"""Both frameworks' optimizers, schedules and losses lead to the same parameters."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from stepping import step

from csnn_jax import data
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.training import plan
from csnn_jax.update import trainer as jax_trainer
from csnn_torch.optimizer import clip
from csnn_torch.trainer import Trainer

torch.set_num_threads(1)
STEPS = 30
STACK = ModelConfig(
    input_shape=(8, 8, 1),
    conv_channels=(4,),
    hidden=(12,),
    num_classes=3,
    time_steps=6,
    surrogate="atan",
    learn_beta=True,
    learn_threshold=True,
    beta=0.6,
)
BASE = {"dtype": "float64", "lr": 0.01, "schedule": "constant"}
JOBS: dict[str, dict] = {
    "sgd, momentum, L2": {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    "sgd, clipping, membranes": {"optimizer": "sgd", "clip_norm": 0.01, "loss": "ce_membrane"},
    "counts": {"loss": "mse_count", "label_smoothing": 0.2},
    "all": dict(optimizer="adamw", schedule="cosine", warmup=5, weight_decay=0.1, clip_norm=0.05)
    | dict(label_smoothing=0.1, rate_target=0.2, rate_weight=5),
}


ENDS: list[np.ndarray] = []
"""The final parameters of the jobs so far, which must all differ."""


@pytest.fixture(scope="module")
def split():
    """Images with a bright band whose position is the class: easy to learn, so the output keeps firing."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 20).astype(np.int32)
    images = rng.integers(0, 60, (20, 8, 8, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 2] += 190
    return data.Split(images, labels)


def loud(stack):
    """Weights for which every layer fires."""
    rng = np.random.default_rng(5)
    drawn = Trainer(decided(Config(stack, train=TrainConfig(dtype="float64"))), device="cpu").tensors()
    return {name: t if name.startswith("lif") else rng.uniform(-1, 0.9, t.shape) for name, t in drawn.items()}


def steps(make, split, changes, stack=STACK):
    """Runs a whole job of 30 iterations: (final parameters, metrics of each step)."""
    config = decided(Config(stack, train=TrainConfig(**BASE | changes)))
    one = make(config, split, loud(stack))
    rates = plan.learning_rates(config.train, STEPS)
    metrics = [step(one, split, i, np.arange(5) + 5 * (i % 4), float(rates[i])) for i in range(STEPS)]
    return one.tensors(), metrics


def in_torch(config, split, tensors):
    return Trainer(config, split, tensors, device="cpu")


def same_steps(split, changes, stack):
    """`steps` in JAX, after checking that snnTorch's are the same."""
    ours, mine = steps(jax_trainer.Trainer, split, changes, stack)
    theirs, other = steps(in_torch, split, changes, stack)
    for name, tensor in ours.items():
        np.testing.assert_allclose(theirs[name], tensor, rtol=0, atol=1e-12, err_msg=name)
    for a, b in zip(mine, other, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-12)
        np.testing.assert_allclose(a.densities, b.densities, rtol=1e-12)
        np.testing.assert_allclose(a.gradients, b.gradients, rtol=1e-9)
        assert all(0.01 < density < 0.7 for density in a.densities[:-1])
    return ours, mine


@pytest.mark.parametrize("changes", JOBS.values(), ids=JOBS.keys())
def test_both_frameworks_have_the_same_parameters_after_thirty_steps(changes, split, x64):
    ours, mine = same_steps(split, changes, STACK)
    assert np.mean([step.densities[-1] for step in mine]) > 0.05
    end = np.concatenate([tensor.ravel() for tensor in ours.values()])
    assert all(np.abs(end - other).max() > 1e-3 for other in ENDS)
    ENDS.append(end)


NEURONS: dict[str, dict] = {
    "synaptic integrator, learned per channel": dict(neuron="synaptic", alpha=0.3, learn_alpha=True)
    | dict(per_channel=("beta", "threshold"), output="integrator"),
    "fixed per channel, averages after": dict(per_channel=("beta", "threshold"), learn_beta=False)
    | dict(pool="avg", pool_after=True),
}


def test_pools_after_neurons_train_identically_with_dropout_too(split, x64):
    same_steps(split, {"dropout": 0.4}, replace(STACK, pool="max", pool_after=True))


@pytest.mark.parametrize("neurons", NEURONS.values(), ids=NEURONS)
def test_neuron_parameters_train_identically_and_never_decay(neurons, split, x64):
    """snnTorch stores those of a convolution's channels as [channels, 1, 1], with as many axes as a kernel."""
    changes = {"optimizer": "adamw", "weight_decay": 0.5, "clip_norm": 1.0}
    stack = replace(STACK, **neurons)
    ours, _ = same_steps(split, changes, stack)
    for node in stack.graph.neurons:
        for name, value in node.operation.initial.items():
            learned = name.partition(".")[2] in node.operation.learned
            assert ours[name].shape == value.shape and np.array_equal(ours[name], value) != learned


def test_clipping_reaches_the_limit_exactly_and_leaves_small_gradients_alone():
    gradients = [torch.tensor([3.0, 0.0], dtype=torch.float64), torch.tensor(4.0, dtype=torch.float64)]
    clip(gradients, 5.5)
    assert gradients[0].tolist() == [3.0, 0.0] and gradients[1] == 4.0
    clip(gradients, 1.0)
    assert gradients[0].tolist() == pytest.approx([0.6, 0.0], rel=1e-15)
    assert float(gradients[1]) == pytest.approx(0.8, rel=1e-15)
