"""The losses and surrogates match snnTorch's, with our fixes where they fail, and csnn_jax's in float64."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from snntorch import functional

from csnn_jax.config import SLOPELESS, ModelConfig, SurrogateName, TrainConfig
from csnn_jax.config.job import Loss
from csnn_jax.network.model import derivative_of
from csnn_jax.update import objective
from csnn_torch import losses, surrogates

pytestmark = pytest.mark.numeric

SPIKES = (np.random.default_rng(0).random((7, 5, 4)) < 0.3).astype(float)
MEMBRANES = np.random.default_rng(1).normal(size=(7, 5, 4))
LABELS = np.random.default_rng(2).integers(0, 4, 5)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("name", get_args(Loss))
def test_both_frameworks_have_the_same_losses_and_gradients_in_float64(x64, name, smoothing):
    config = TrainConfig(loss=name, label_smoothing=smoothing)
    values = MEMBRANES if name == "ce_membrane" else SPIKES
    ours = objective.make(config)
    assert ours.reads == config.reads == ("membrane" if name == "ce_membrane" else "spikes")
    expected, gradient = jax.value_and_grad(ours.cost)(jnp.asarray(values), jnp.asarray(LABELS), jnp.zeros(3))
    output = torch.tensor(values, requires_grad=True)
    loss = losses.make(config, torch.float64)(output, torch.tensor(LABELS))
    loss.backward()
    assert loss.item() == pytest.approx(float(expected), rel=1e-13)
    np.testing.assert_allclose(output.grad.numpy(), gradient, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize(
    ("name", "theirs"), [("ce_rate", functional.ce_rate_loss), ("mse_count", functional.mse_count_loss)]
)
def test_the_losses_match_snntorch(name, theirs):
    spikes, labels = torch.tensor(SPIKES, dtype=torch.float32), torch.tensor(LABELS)
    expected = theirs()(spikes, labels)
    wide = losses.make(TrainConfig(loss=name), torch.float64)(spikes.double(), labels)
    assert torch.equal(losses.make(TrainConfig(loss=name), torch.float32)(spikes, labels), expected)
    assert wide.item() == pytest.approx(expected.item(), rel=1e-6)
    smooth = TrainConfig(loss=name, label_smoothing=0.3)
    wide = losses.make(smooth, torch.float64)(spikes.double(), labels)
    assert losses.make(smooth, torch.float32)(spikes, labels).item() == pytest.approx(wide.item(), rel=1e-6)


def test_the_loss_on_membranes_matches_tutorial_5():
    membranes, labels = torch.tensor(MEMBRANES), torch.tensor(LABELS)
    expected = sum(torch.nn.functional.cross_entropy(step, labels) for step in membranes) / len(membranes)
    loss = losses.make(TrainConfig(loss="ce_membrane"), torch.float64)(membranes, labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-14)


# Formulas could go wrong at steps and asymptotes: at and around 0, at the bound 1, far away.
X = np.array([-30.0, -4.0, -1.0, -0.25, -1e-3, 0.0, 1e-3, 0.25, 1.0, 1.5, 4.0, 30.0])
SLOPED = [name for name in get_args(SurrogateName) if name not in SLOPELESS]


@pytest.mark.parametrize(
    ("name", "slope"), [*((name, None) for name in get_args(SurrogateName)), *((name, 3.0) for name in SLOPED)]
)
def test_every_surrogate_matches_ours_in_float64(name, slope, x64):
    config = ModelConfig(surrogate=name, slope=slope)
    x = torch.tensor(X, requires_grad=True)
    spikes = surrogates.spike_function(config, torch.float64)(x)
    spikes.sum().backward()
    assert spikes.dtype == torch.float64 and spikes.tolist() == (X > 0).tolist()
    ours = np.asarray(derivative_of(config)(jnp.asarray(X)))
    np.testing.assert_allclose(x.grad.numpy(), ours, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("name", get_args(SurrogateName))
def test_in_float32_no_gradient_is_nan(name):
    x = torch.tensor(X, dtype=torch.float32, requires_grad=True)
    surrogates.spike_function(ModelConfig(surrogate=name), torch.float32)(x).sum().backward()
    ours = np.asarray(derivative_of(ModelConfig(surrogate=name))(jnp.asarray(X, jnp.float32)))
    np.testing.assert_allclose(x.grad.numpy(), ours, rtol=1e-5, atol=1e-37)
