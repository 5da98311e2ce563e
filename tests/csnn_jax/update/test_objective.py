"""The loss; engine/test_derivatives.py compares it with the reference."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refusing

from csnn_jax.config import TrainConfig
from csnn_jax.update.objective import ce_membrane, ce_rate, make, mse_count, rate_cost

pytestmark = pytest.mark.numeric

LOSSES = (ce_rate, ce_membrane, mse_count)
LABELS = np.array([3, 0, 9, 3])


@pytest.mark.parametrize("classes", [2, 10])
def test_a_silent_networks_loss_is_the_logarithm_of_the_classes(classes, x64):
    loss = jax.jit(ce_rate)(np.zeros((5, 4, classes)), LABELS % classes)
    assert loss == pytest.approx(math.log(classes), 1e-14)


def test_the_loss_is_lowest_if_only_the_right_neuron_spikes_at_every_step(x64):
    spikes = np.broadcast_to(np.eye(10)[LABELS], (5, 4, 10))
    assert jax.jit(ce_rate)(spikes, LABELS) == pytest.approx(math.log(1 + 9 / math.e), 1e-14)
    assert math.log(1 + 9 / math.e) == pytest.approx(1.461150, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_outside_the_classes_are_refused_or_make_loss_and_gradient_nan(loss, smoothing):
    spikes = np.ones((2, 2, 3), np.float32)
    traced = jax.jit(jax.value_and_grad(lambda spikes, labels: loss(spikes, labels, smoothing)))
    assert all(np.isfinite(part).all() for part in traced(spikes, np.array([0, 2], np.int8)))
    for pair, wrong in (([0, -1], -1), ([0, 3], 3), ([3, 3], 3), ([-1, -2], -2)):
        labels = np.array(pair, np.int8)
        known = partial(loss, labels=labels, smoothing=smoothing)
        for function in (known, jax.grad(known), jax.jit(known)):
            with refusing(ValueError, "labels", wrong, "0 to 2"):
                function(spikes)
        assert all(np.isnan(part).all() for part in traced(spikes, labels))


def test_the_rate_cost_is_the_squared_distance_of_hidden_layers_from_the_target(x64):
    assert rate_cost(jnp.array([0.0, 0.4, 0.9]), 0.2, 3.0) == pytest.approx(3 * 0.04, 1e-14)
    assert rate_cost(jnp.array([0.2, 0.2, 0.9]), 0.2, 3.0) == 0
    gradient = jax.grad(rate_cost)(jnp.array([0.1, 0.3, 0.9]), 0.2, 5.0)
    np.testing.assert_allclose(gradient, [-0.5, 0.5, 0], rtol=1e-12)  # the output layer has no target


def test_mse_count_is_the_squared_distance_from_all_steps_and_none(x64):
    spikes = np.zeros((4, 2, 3))
    spikes[:, 0, 1], spikes[:3, 1, 2] = 1, 1  # 0 4 0 and 0 0 3
    assert mse_count(jnp.asarray(spikes), jnp.array([1, 0])) == pytest.approx((16 + 9) / 6 / 4, 1e-14)
    smooth = mse_count(jnp.asarray(spikes[:, :1]), jnp.array([1]), 0.3)  # targets 0.4 3.2 0.4
    assert smooth == pytest.approx((0.4**2 + 0.8**2 + 0.4**2) / 3 / 4, 1e-14)


def test_the_objective_is_the_cross_entropy_plus_the_rate_cost(x64):
    arguments = np.ones((2, 4, 10)), LABELS, np.array([0.0, 0.5])
    smoothed = TrainConfig(label_smoothing=0.5, rate_target=0.1, rate_weight=4)

    @jax.jit
    def costs(spikes, labels, densities):
        settings = TrainConfig(), smoothed, TrainConfig(rate_target=0.1)
        plain = ce_rate(spikes, labels), ce_rate(spikes, labels, 0.5)
        return *plain, *(make(one).cost(spikes, labels, densities) for one in settings)

    rate, smooth, *objectives = map(float, costs(*arguments))
    assert objectives[0] == rate
    assert objectives[1:] == [pytest.approx(smooth + 0.04, 1e-14), pytest.approx(rate + 10 * 0.01, 1e-14)]


@pytest.mark.parametrize("loss", LOSSES)
def test_arguments_of_another_shape_or_type_are_refused(loss):
    output, labels = np.zeros((5, 4, 10), np.float32), np.zeros(4, np.int32)
    for wrong in (np.zeros(1, np.int32), np.zeros((4, 1), np.int32), np.zeros(4, np.float32), np.zeros(4, bool)):
        with refusing(ValueError, "labels", wrong.dtype, list(wrong.shape), [4], [5, 4, 10]):
            loss(output, wrong)
    for wrong in (None, ["cat"] * 4, "cat"):
        with refusing(ValueError, "labels", type(wrong).__name__):
            loss(output, wrong)
    name = "membranes" if loss is ce_membrane else "spikes"
    for wrong in (np.zeros((4, 10), np.float32), np.zeros((5, 4, 10), np.int32), np.zeros((5, 4, 10), jnp.bfloat16)):
        with refusing(ValueError, name, wrong.dtype, list(wrong.shape), "[time, batch, classes]"):
            loss(wrong, labels)
    with refusing(ValueError, name, "NoneType"):
        loss(None, labels)
    for wrong in (-0.1, 1.5, math.nan, "0.1", None):
        with refusing(ValueError, "smoothing", repr(wrong), "0 to 1"):
            loss(output, labels, wrong)
    assert np.isfinite(jax.jit(partial(loss, smoothing=np.float32(1)))(output, labels))


def test_small_labels_reach_many_classes():
    output = jnp.zeros((2, 1, 300))
    assert jnp.isfinite(jax.jit(ce_rate)(output, np.array([100], np.int8)))
