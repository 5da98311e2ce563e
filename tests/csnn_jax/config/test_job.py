"""How data and training may be configured: what is not accepted is refused in one line."""

import math

import pytest

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.errors import UserError

INVALID = [
    (DataConfig, "dataset", 3, "--dataset 3: expected the name of a data set"),
    (DataConfig, "validation", -1, "--validation -1: expected a whole number of at least 0"),
    (DataConfig, "augment", (2.0, 10.0), "--augment 2.0 10.0: expected three numbers: pixels of shift, degrees of"),
    (DataConfig, "augment", (2.0, 10.0, "1"), "--augment 2.0 10.0 1: expected three numbers"),
    (DataConfig, "augment", (2.0, math.nan, 0.1), "--augment 2.0 nan 0.1: expected three numbers"),
    (DataConfig, "augment", (math.inf, 0.0, 0.1), "--augment inf 0.0 0.1: expected three numbers"),
    (DataConfig, "augment", 2.0, "--augment 2.0: expected three numbers"),
    (DataConfig, "augment", (-1.0, 0.0, 0.1), "--augment -1.0 0.0 0.1: expected a shift of at least 0"),
    (DataConfig, "augment", (2.0, 181.0, 0.1), "--augment 2.0 181.0 0.1: expected a rotation from 0 to 180 degrees"),
    (DataConfig, "augment", (2.0, -1.0, 0.1), "--augment 2.0 -1.0 0.1: expected a rotation from 0 to 180 degrees"),
    (DataConfig, "augment", (2.0, 10.0, 1.0), "--augment 2.0 10.0 1.0: expected a scale of at least 0 and below 1"),
    (DataConfig, "augment", (2.0, 10.0, -0.1), "--augment 2.0 10.0 -0.1: expected a scale of at least 0 and below 1"),
    (TrainConfig, "epochs", 0, "--epochs 0: expected a whole number of at least 1"),
    (TrainConfig, "batch_size", 0, "--batch-size 0: expected"),
    (TrainConfig, "batch_size", False, "--batch-size False: expected"),
    (TrainConfig, "lr", 0.0, "--lr 0.0: expected a positive number"),
    (TrainConfig, "lr", 1e38, "--lr 1e+38: expected a positive number below 1e38"),
    (TrainConfig, "lr", math.nan, "--lr nan: expected"),
    (TrainConfig, "lr", "fast", "--lr fast: expected"),
    (TrainConfig, "init", "orthogonal", "--init orthogonal: expected one of auto, torch, fluctuation, calibrated"),
    (TrainConfig, "init_density", 0, "--init-density 0: expected 0.001 to 0.6"),
    (TrainConfig, "init_density", 0.61, "--init-density 0.61: expected 0.001 to 0.6"),
    (TrainConfig, "init_density", math.nan, "--init-density nan: expected"),
    (TrainConfig, "seed", -1, "--seed -1: expected a whole number of at least 0"),
    (TrainConfig, "seed", 2**63, "--seed 9223372036854775808: expected less than 2**63"),
    (TrainConfig, "max_iters", 0, "--max-iters 0: expected"),
    (TrainConfig, "eval_every", -1, "--eval-every -1: expected"),
    (TrainConfig, "engine", "fast", "--engine fast: expected auto, scan or event"),
    (TrainConfig, "dtype", "float16", "--dtype float16: expected float32 or float64"),
]


@pytest.mark.parametrize("kind, field, value, message", INVALID, ids=lambda v: str(v)[:40])
def test_a_value_out_of_range_is_refused_by_flag_and_value(kind, field, value, message):
    with pytest.raises(UserError) as caught:
        kind(**{field: value})
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_a_list_of_amounts_is_a_tuple_and_its_shift_stays_below_the_images_smaller_side():
    amounts = DataConfig(augment=[7, 180, 0.5])
    assert amounts == DataConfig(augment=(7.0, 180.0, 0.5)) and hash(amounts) == hash(DataConfig(augment=(7, 180, 0.5)))
    assert Config(ModelConfig(input_shape=(9, 8, 1)), amounts).data.augment == (7, 180, 0.5)
    with pytest.raises(UserError, match=r"^--augment 7 180 0\.5: expected a shift below 7 pixels, for images of 9x7$"):
        Config(ModelConfig(input_shape=(9, 7, 1)), amounts)
