"""The engines' arguments; tests/test_matrix.py and test_derivatives.py compare their results."""

import itertools
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from refusals import refusing

from csnn_jax.config import Config, ModelConfig
from csnn_jax.engine import event, scan
from csnn_jax.engine.library import Unsupported
from csnn_jax.network.model import CSNN, tensors
from csnn_jax.trained import Trained

SMALL = ModelConfig((8, 8, 1), conv_channels=(4,), hidden=(), num_classes=3, time_steps=3)
FUNCTIONS = ("forward", "forward_with_densities", "trace", "record", "count", "ever_fired")


@pytest.mark.parametrize("engine", [scan, event])
def test_a_sequence_sets_the_number_of_steps(engine):
    model = CSNN(SMALL)
    x = jax.ShapeDtypeStruct((7, 2, 8, 8, 1), np.float32)
    outputs = jax.eval_shape(lambda x: (engine.forward(model, x)[1], *engine.trace(model, x)[1].spikes.values()), x)
    assert {spikes.shape[:2] for spikes in outputs} == {(7, 2)}


@pytest.mark.parametrize("engine", [scan, event])
def test_a_trace_has_its_layers_in_order(engine):
    """JAX sorts the keys of dictionaries, lif10 before lif2."""
    model = CSNN(ModelConfig((4, 4, 1), (), hidden=(2,) * 10, num_classes=2, time_steps=2))
    images, names = np.zeros((1, 4, 4, 1), np.uint8), [f"lif{number}" for number in range(1, 12)]
    trained = Trained(Config(model.config), tensors(model), engine.__name__.rpartition(".")[2])
    for trace in (engine.trace(model, images)[1], trained.trace(images)):
        assert [*trace.states] == [*trace.membranes] == [*trace.spikes] == names


def test_fixed_values_per_channel_get_no_gradient():
    model = CSNN(replace(SMALL, per_channel=("beta", "threshold"), learn_threshold=True, surrogate="straight_through"))
    graph, params = nnx.split(model)
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    gradient = jax.jit(jax.grad(lambda params: scan.forward(nnx.merge(graph, params), x)[1].sum()))(params)
    grads = tensors(nnx.merge(graph, gradient))
    assert grads["lif1.beta"].shape == (4,) and not grads["lif1.beta"].any() and grads["lif1.threshold"].all()


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
    for name in FUNCTIONS:
        with refusing(ValueError, *facts):
            getattr(engine, name)(model, x)
        with refusing(ValueError, "model", "NoneType", "CSNN"):
            getattr(engine, name)(None, x)


LEARNED = replace(SMALL, learn_beta=True)
IMAGES = np.full((2, 8, 8, 1), 200, np.uint8)


def with_value(value: float, parameter: str) -> CSNN:
    """A network with a parameter whose first number is the given one."""
    model = CSNN(LEARNED)
    changed = model.parameters[parameter]
    changed.set_value(changed[...].at[(0,) * changed[...].ndim].set(value))
    return model


@pytest.mark.parametrize("engine", [scan, event])
def test_parameters_that_arent_finite_are_refused_or_make_output_and_gradient_nan(engine):
    graph, _ = nnx.split(CSNN(LEARNED))

    def loss(params):
        return (engine.forward(nnx.merge(graph, params), IMAGES)[1] ** 2).sum()

    program = jax.jit(jax.value_and_grad(loss))
    for value, parameter in itertools.product((np.nan, np.inf, -np.inf), ("conv1.kernel", "fc1.bias", "lif1.beta")):
        params = nnx.state(with_value(value, parameter))
        model = nnx.merge(graph, params)
        for name in FUNCTIONS:
            with refusing(ValueError, "model", value, parameter, "finite"):
                getattr(engine, name)(model, IMAGES)
        with refusing(ValueError, "model", value, parameter, "finite"):
            jax.grad(loss)(params)
        total, gradient = program(params)
        assert np.isnan(total) and np.isnan(tensors(nnx.merge(graph, gradient))["fc1.bias"]).all()
        with refusing(ValueError, "model", value, parameter, "finite"):
            model.step(model.initial_states(2), IMAGES)


@pytest.mark.parametrize("engine", [scan, event])
@pytest.mark.parametrize("forward", [jax.jacfwd, lambda f: lambda x: jax.jvp(f, (x,), (x,))], ids=["jacfwd", "jvp"])
def test_forward_mode_names_what_to_use_instead(engine, forward):
    graph, params = nnx.split(CSNN(SMALL))
    outputs = {
        "forward": lambda model: engine.forward(model, IMAGES)[1],
        "with densities": lambda model: engine.forward_with_densities(model, IMAGES)[0],
        "trace": lambda model: engine.trace(model, IMAGES)[1].spikes,
        "count": lambda model: engine.count(model, IMAGES).scores,
        "step": lambda model: model.step(model.initial_states(2), IMAGES)[1],
    }
    for output in outputs.values():
        with refusing(TypeError, "forward mode", "jax.jvp", "jax.hessian", "jax.grad"):
            forward(lambda params, output=output: output(nnx.merge(graph, params)))(params)


def test_hessians_name_what_to_use_instead():
    graph, params = nnx.split(CSNN(SMALL))

    def output(engine):
        return lambda params: engine.forward(nnx.merge(graph, params), IMAGES)[1].sum(0)[0]

    with refusing(Unsupported, "jax.hessian", "second derivatives", "csnn_jax.forward", "jax.grad"):
        jax.hessian(lambda params: output(event)(params).sum())(params)
    with refusing(TypeError, "jax.hessian", "jax.jacrev(jax.grad(f))"):
        jax.hessian(lambda params: output(scan)(params).sum())(params)
    for engine in (scan, event):
        _, linear = jax.linearize(jax.jit(output(engine)), params)
        with refusing(TypeError, "custom_vjp"):  # JAX's own, as docs/python.md says
            linear(params)
