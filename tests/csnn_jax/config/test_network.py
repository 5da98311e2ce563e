import numpy as np
import pytest
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.config_json import from_json, to_json

INVALID = [
    ("beta", (0.5, 0.5, 0.5), ("beta 0.5 0.5 0.5", "one value, or 4")),
    ("threshold", 1e39, ("threshold 1e+39", "2^-100", "2^100")),
    ("scale", 3, ("scale 3", "power of two")),
    ("scale", 2.0**21, ("scale 2097152", "power of two", "2^20")),
    ("kernel_size", 4, ("kernel_size 4", "odd", "padding same")),
    ("kernel_size", (3, 5, 3), ("kernel_size 3 5 3", "one value, or 2")),
    ("pool", ("max", "min"), ("pool max min", "avg", "sum", "none")),
    ("conv_channels", (1,) * 5, ("pool max", "pool5", "1x1")),
    ("hidden", (1,) * 998, ("hidden", "at most", 1000, "layers")),
    ("stride", (30, 1), ("pool max", "pool1", "1x1")),
    ("time_steps", 5.0, ("time_steps 5.0", "whole number")),
    ("input_shape", (28, 28), ("input_shape 28 28", "three", "positive", "whole numbers")),
]


@pytest.mark.parametrize("field, value, facts", INVALID, ids=lambda v: str(v)[:40])
def test_errors_name_the_flag_and_its_value(field, value, facts):
    with refusing(UserError, *facts):
        ModelConfig(**{field: value})


def test_lists_from_json_and_yaml_are_accepted():
    found = ModelConfig(input_shape=[8, 8, 1], conv_channels=[8, 16], hidden=[], beta=[0.1, 0.2, 0.3])
    assert found == ModelConfig(input_shape=(8, 8, 1), conv_channels=(8, 16), hidden=(), beta=(0.1, 0.2, 0.3))
    hash(found)
    with refusing(UserError, "conv_channels 8 'x'", "whole number"):
        ModelConfig(conv_channels=[8, "x"])


def test_numpy_numbers_and_arrays_become_pythons():
    found = ModelConfig(
        beta=np.float32(0.9),
        threshold=np.array([1, 2, 3, 4]),
        hidden=(np.int64(16),),
        conv_channels=np.array([8, 16]),
        time_steps=np.int32(5),
        learn_beta=np.bool_(True),
    )
    assert found.each("beta") == (float(np.float32(0.9)),) * 4 and found.thresholds == (1, 2, 3, 4)
    assert from_json(ModelConfig, to_json(found), "it") == found
    with refusing(UserError, "beta 1.5", 0, 1):
        ModelConfig(beta=np.float64(1.5))
    with refusing(UserError, "slope 2", "no value", "heaviside"):
        ModelConfig(slope=2, surrogate="heaviside")


def test_without_pools_nothing_follows_the_neurons():
    assert ModelConfig(pool="none", pool_after=True) == ModelConfig(pool=("none", "none"))


@pytest.mark.parametrize(
    ("changes", "node"),
    [
        (
            {"input_shape": (6, 6, 1), "kernel_size": 5, "padding": "valid", "conv_channels": (4,), "pool_size": 4},
            "pool1",
        ),
        ({"input_shape": (8, 5, 1), "pool_size": 4}, "pool2"),
        ({"input_shape": (8, 3, 1), "pool_size": (4, 2)}, "pool1"),
    ],
)
def test_a_window_larger_than_the_outputs_is_refused_after_neurons_too(changes, node):
    size = " ".join(map(str, np.ravel(changes["pool_size"])))
    with refusing(UserError, f"pool_size {size}", node):
        ModelConfig(pool_after=True, **changes)
