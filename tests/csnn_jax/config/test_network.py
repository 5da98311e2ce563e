import numpy as np
import pytest

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.config_json import from_json, to_json

INVALID = [
    ("beta", 1.5, "beta 1.5: expected a number from 0 to 1"),
    ("beta", (0.5, 0.5, 0.5), "beta 0.5 0.5 0.5: expected one value, or 4 (one per layer)"),
    ("threshold", 0.0, "threshold 0: expected a number from 2^-100 to below 2^100"),
    ("threshold", 1e-31, "threshold 1e-31: expected a number from 2^-100 to below 2^100"),
    ("threshold", 2.0**100, "threshold 1.2676506002282294e+30: expected a number from 2^-100 to below 2^100"),
    ("threshold", 1e39, "threshold 1e+39: expected a number from 2^-100 to below 2^100"),
    ("time_steps", 0, "time_steps 0: expected a whole number of at least 1"),
    ("kernel_size", 4, "kernel_size 4: expected odd sizes with padding same; even ones need valid"),
    ("kernel_size", (3, 5, 3), "kernel_size 3 5 3: expected one value, or 2 (one per convolution)"),
    ("stride", 0, "stride 0: expected positive whole numbers"),
    ("padding", "full", "padding full: expected one of same, valid"),
    ("pool", ("max", "min"), "pool min: expected one of max, avg, sum, none"),
    ("bias", 1, "bias 1: expected true or false"),
    ("conv_channels", (1,) * 5, "conv_channels 1 1 1 1 1: conv5 has no output pixels for 1x1 inputs (kernel 3"),
    ("stride", (30, 1), "conv_channels 32 64: conv1 has no output pixels for 28x28 inputs (kernel 3"),
    ("conv_channels", (8, 0), "conv_channels 8 0: expected positive whole numbers"),
    ("hidden", (16, -1), "hidden 16 -1: expected positive whole numbers"),
    ("hidden", 64, "hidden 64: expected a tuple of positive whole numbers"),
    ("input_shape", (28, 28), "input_shape 28 28: expected three positive whole numbers"),
    ("num_classes", 1, "num_classes 1: expected a whole number of at least 2"),
    ("reset", "hard", "reset hard: expected one of subtract, zero, none"),
    ("readout", "max", "readout max: expected one of spikes, membrane"),
    ("encoding", "phase", "encoding phase: expected one of direct, rate, latency"),
    ("surrogate", "gaussian", "surrogate gaussian: expected one of fast_sigmoid, atan"),
    ("surrogate", "SSO", "surrogate SSO: its gradients are random"),
    ("slope", 0, "slope 0: expected a positive number"),
    ("weight_bits", 9, "weight_bits 9: expected a whole number from 2 to 8"),
    ("weight_bits", 1, "weight_bits 1: expected a whole number from 2 to 8"),
    ("learn_beta", 1, "learn_beta 1: expected true or false"),
]


@pytest.mark.parametrize("field, value, message", INVALID, ids=lambda v: str(v)[:40])
def test_errors_name_the_flag_and_its_value(field, value, message):
    with pytest.raises(UserError) as caught:
        ModelConfig(**{field: value})
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_lists_from_json_and_yaml_are_accepted():
    found = ModelConfig(input_shape=[8, 8, 1], conv_channels=[8, 16], hidden=[], beta=[0.1, 0.2, 0.3])
    assert found == ModelConfig(input_shape=(8, 8, 1), conv_channels=(8, 16), hidden=(), beta=(0.1, 0.2, 0.3))
    hash(found)
    with pytest.raises(UserError, match="conv_channels 8 x: expected positive whole numbers"):
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
    with pytest.raises(UserError, match=r"beta 1.5: expected a number from 0 to 1"):
        ModelConfig(beta=np.float64(1.5))


def test_without_pools_nothing_follows_the_neurons():
    assert ModelConfig(pool="none", pool_after=True) == ModelConfig(pool=("none", "none"))


@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        (
            {"input_shape": (6, 6, 1), "kernel_size": 5, "padding": "valid", "conv_channels": (4,), "pool_size": 4},
            "fc1",
        ),
        ({"input_shape": (8, 3, 1), "pool_size": 2}, "fc1"),
        ({"input_shape": (8, 3, 1), "pool_size": (4, 2)}, "conv2"),
    ],
)
def test_a_window_larger_than_the_outputs_is_refused_after_neurons_too(changes, layer):
    with pytest.raises(UserError) as caught:
        ModelConfig(pool_after=True, **changes)
    size = " ".join(map(str, np.ravel(changes["pool_size"])))
    assert str(caught.value).startswith(f"pool_size {size}: ") and f" {layer} " in str(caught.value)
