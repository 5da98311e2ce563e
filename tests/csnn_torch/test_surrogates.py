"""snnTorch's surrogates and loss, with our fixes where they fail, match csnn_jax's formulas in float64."""

from typing import get_args

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from csnn_jax.config import SLOPELESS, ModelConfig, SurrogateName
from csnn_jax.network.model import derivative_of
from csnn_torch import surrogates

pytestmark = pytest.mark.numeric

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
