import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusing

from csnn_jax import data
from csnn_jax.config import Config, TrainConfig
from csnn_jax.errors import UserError
from csnn_jax.training import plan


@st.composite
def jobs(draw) -> tuple[TrainConfig, int]:
    images = draw(st.integers(1, 40))
    config = TrainConfig(
        epochs=draw(st.integers(1, 4)),
        batch_size=draw(st.integers(1, images)),
        max_iters=draw(st.one_of(st.none(), st.integers(1, 60))),
        seed=draw(st.integers(0, 5)),
    )
    return config, images


@given(jobs(), st.integers(0, 60))
def test_a_resumed_job_uses_the_remaining_batches(made, done):
    config, images = made
    epochs = [data.epoch_batches(config.seed, e, images, config.batch_size) for e in range(config.epochs)]
    whole = np.concatenate(epochs)[: config.max_iters]
    assert plan.iterations(config, images) == len(whole) and plan.choosing(config, images) == -(-len(whole) // 10)
    rest = list(plan.batches(config, images, done))
    assert [iteration for iteration, _ in rest] == list(range(done, len(whole)))
    for iteration, index in rest:
        np.testing.assert_array_equal(index, whole[iteration])


def rates(total=10, **changes):
    return plan.learning_rates(TrainConfig(lr=0.3, **changes), total)


def test_a_constant_schedule_has_the_learning_rate_everywhere():
    learning_rates = rates(schedule="constant")
    assert learning_rates.tolist() == [0.3] * 10 and learning_rates.dtype == np.float64


def test_a_warm_up_rises_in_equal_steps_to_the_learning_rate():
    np.testing.assert_allclose(rates(6, warmup=4, schedule="constant"), [0.075, 0.15, 0.225, 0.3, 0.3, 0.3], rtol=1e-15)
    assert rates(4, warmup=4, schedule="constant")[-1] == rates(4, warmup=4)[-1] == 0.3
    np.testing.assert_allclose(rates(2, warmup=4, schedule="constant"), [0.075, 0.15], rtol=1e-15)  # interrupted


@pytest.mark.parametrize("warmup", [0, 1, 3, 9])
def test_after_the_warm_up_half_a_cosine_falls_to_0(warmup):
    learning_rates = rates(10, warmup=warmup)
    left = 10 - warmup
    for i in range(left):
        assert learning_rates[warmup + i] == pytest.approx(0.3 * (1 + math.cos(math.pi * i / left)) / 2, rel=1e-14)
    assert learning_rates[warmup] == 0.3 and learning_rates[-1] > 0


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"warmup": 11}, ("warmup 11", 10)),
        ({"batch_size": 41}, ("batch_size 41", "1 to 40")),
        ({"eval_images": 7}, ("eval_images 7", "1 to 6", "mnist")),
    ],
)
def test_more_than_the_data_set_has_is_refused(changes, facts):
    plan.check_sizes(Config(train=TrainConfig(batch_size=4, warmup=10, eval_images=6)), 40, 6)
    with refusing(UserError, *facts):
        plan.check_sizes(Config(train=TrainConfig(**{"batch_size": 4} | changes)), 40, 6)
