"""The engines' arguments; tests/test_matrix.py and test_derivatives.py compare their results."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.engine import event, scan
from csnn_jax.network.model import CSNN, tensors

SMALL = ModelConfig((8, 8, 1), conv_channels=(4,), hidden=(), num_classes=3, time_steps=3)


@pytest.mark.parametrize("engine", [scan, event])
def test_a_sequence_sets_the_number_of_steps(engine):
    model = CSNN(SMALL)
    x = jax.ShapeDtypeStruct((7, 2, 8, 8, 1), np.float32)
    outputs = jax.eval_shape(lambda x: (engine.run(model, x)[1], *engine.trace(model, x)[1].spikes), x)
    assert {spikes.shape[:2] for spikes in outputs} == {(7, 2)}


def test_fixed_values_per_channel_get_no_gradient():
    model = CSNN(replace(SMALL, per_channel=("beta", "threshold"), learn_threshold=True, surrogate="straight_through"))
    graph, params = nnx.split(model)
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    gradient = jax.grad(lambda params: scan.run(nnx.merge(graph, params), x)[1].sum())(params)
    found = tensors(nnx.merge(graph, gradient))
    assert found["lif1.beta"].shape == (4,) and not found["lif1.beta"].any() and found["lif1.threshold"].all()


@pytest.mark.parametrize("engine", [scan, event])
@pytest.mark.parametrize(
    "x, facts",
    [
        (np.zeros((8, 8, 1)), ("x is [8, 8, 1]", "[batch, 8, 8, 1]", "[time, batch, 8, 8, 1]")),
        (np.zeros((0, 8, 8, 1)), ("x is [0, 8, 8, 1]",)),
        (np.zeros((0, 2, 8, 8, 1)), ("x is [0, 2, 8, 8, 1]",)),
        (np.zeros((2, 8, 8, 1), np.int32), ("x", "int32", "uint8")),
        (np.zeros((2, 8, 8, 1), np.float16), ("x", "float16", "float32", "float64")),
        ([[[[0.0]]]], ("x", "list")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_every_function_refuses_invalid_input(engine, x, facts):
    model = CSNN(ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), hidden=(), time_steps=3))
    for function in (engine.run, engine.watch, engine.trace, engine.tally, engine.fires):
        with refusing(ValueError, *facts):
            function(model, x)
        with refusing(ValueError, "model", "NoneType", "CSNN"):
            function(None, x)
