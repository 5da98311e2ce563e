"""The reference network in JAX against the one in NumPy, and its derivatives of every order against each other.

These test tests, so most are slow: only a change to a reference could break them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_chains as reference
import reference_jax
import snntorch.functional
import torch
from reference_layers import layers
from reference_networks import cotangents, network

CHEAP = {"xla_backend_optimization_level": 0}  # compiles faster
CONVOLUTIONS = {"hidden": (), "time_steps": 3}
DENSE = {"input_shape": (28, 28, 1), "conv_channels": (), "hidden": (7,), "time_steps": 3}
STACKS = {
    "default": {**CONVOLUTIONS, "surrogate": "fast_sigmoid"},
    "synaptic": {
        **CONVOLUTIONS,
        "neuron": "synaptic",
        "reset": ("zero", "clear", "subtract"),
        "pool": ("none", "avg"),
        "stride": (2, 1),
        "no_bias": True,
        "surrogate": "sigmoid",
        "slope": 3,
    },
    "pool after": {
        **CONVOLUTIONS,
        "pool_after": True,
        "pool": ("sum", "max"),
        "padding": ("valid", "same"),
        "kernel_size": (2, 3),
        "output": "integrator",
        "weight_bits": 2,
    },
    "dense": {
        **DENSE,
        "weight_bits": 8,
        "dropout": 0.25,
        "surrogate": "spike_rate_escape",
        "slope": 2,
    },
    "events": {
        **CONVOLUTIONS,
        "encoding": "rate",
        "pool_after": (True, False),
        "pool": ("avg", "max"),
        "pool_stride": (None, 1),
        "reset": ("none", "zero", "subtract"),
        "weight_bits": 5,
        "surrogate": "leaky_spike",
    },
}


def draw(seed, stack):
    """A network, its input as floats and its dropout masks."""
    settings, tensors, x = network(seed, **STACKS[stack])
    rng = np.random.default_rng(seed + 100)
    masks, x = None, x / 256 + 0.3 / 256
    if stack == "default":
        del tensors["lif1.beta"], tensors["lif2.threshold"]
        tensors["lif3.beta"] = np.float32(0.25)
    if stack == "dense":
        masks = {layer.name: rng.random((3, layer.products)) > 0.25 for layer in layers(settings)}
    if stack == "events":
        x = (rng.random((settings["time_steps"], *x.shape)) < x).astype(float)
    return settings, tensors, x, masks


def states_of(trace):
    names = ("spikes", "membrane", "synaptic")
    return {layer: {name: states[name] for name in names if name in states} for layer, states in trace.items()}


def assert_close(actual, expected, name):
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max(), err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("stack", STACKS)
def test_states_and_gradients_are_those_of_numpy(stack):
    def program(tensors, x, masks, weights):
        states, pull = jax.vjp(
            lambda tensors, x: states_of(reference_jax.outputs(settings, tensors, x, masks, jnp.float64)), tensors, x
        )
        return states, pull(weights)

    for seed in range(3):
        settings, tensors, x, masks = draw(seed, stack)
        trace = reference.trace(settings, tensors, x, np.float64, masks)
        assert all(0.01 < states["spikes"].mean() < 0.95 for states in list(trace.values())[:-1])
        weights = cotangents(seed, trace)
        expected = reference.gradients(settings, tensors, x, weights, np.float64, masks)
        with jax.enable_x64(True):
            if not seed:
                compiled = jax.jit(program, compiler_options=CHEAP)
            doubles = {name: value.astype(np.float64) for name, value in tensors.items()}
            states, (of_tensors, of_x) = compiled(doubles, x, masks, weights)
        for layer, of_layer in states.items():
            for name, values in of_layer.items():
                assert_close(values, trace[layer][name], f"{layer} {name}")
        for name, gradient in (of_tensors | {"x": of_x}).items():
            if name in expected or gradient.any():
                assert_close(gradient, expected[name], name)


def test_single_precision_is_that_of_numpy():
    settings, tensors, x = network(0, input_shape=(2, 2, 2), conv_channels=(), hidden=(), neuron="synaptic")
    trace = reference.trace(settings, tensors, x)
    for layer, of_layer in states_of(reference_jax.outputs(settings, tensors, x)).items():
        for name, values in of_layer.items():
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, trace[layer][name], err_msg=f"{layer} {name}")


@pytest.mark.parametrize("name", reference.SURROGATES)
def test_surrogates_are_those_of_numpy(name):
    x = np.linspace(-4, 4, 65)
    for slope in (None, 3.0):
        settings = {"surrogate": name, "slope": slope}
        with jax.enable_x64(True):
            actual = reference_jax.surrogate(settings)(jnp.asarray(x))
        np.testing.assert_allclose(actual, reference.surrogate(settings)(x), rtol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [None, 2, 3, 4, 6])
def test_grids_are_those_of_numpy(bits):
    """Also for few and large weights, large biases, exact powers of two, zeros and saved exponents."""
    settings = {**DENSE, "hidden": (40,), "num_classes": 20, "weight_bits": bits}
    rng = np.random.default_rng(0)
    tensors = {}
    for layer, neurons in zip(layers(settings), (40, 20), strict=True):
        weight = rng.normal(size=(neurons, layer.products)) * 2.0 ** rng.integers(-70, 5, (neurons, 1))
        weight *= rng.random(weight.shape) < rng.random((neurons, 1))
        weight[:4] = np.exp2(np.round(np.log2(np.abs(weight[:4]) + 1e-9)))
        weight[4] = 0
        tensors[f"{layer.name}.weight"] = weight.astype(np.float32)
        bias = rng.normal(size=neurons) * 2.0 ** rng.integers(-70, 9, neurons)
        tensors[f"{layer.name}.bias"] = bias.astype(np.float32)
        if bits == 3:
            tensors[f"{layer.name}.exponents"] = rng.integers(-6, 3, neurons)
    grids = reference.rounded(settings, tensors)
    # with 2 or 4 bits the grid is chosen by sums of squares, which get rounded
    for dtype in (jnp.float64,) if bits in (2, 4) else (jnp.float32, jnp.float64):
        with jax.enable_x64(True):
            program = jax.jit(
                lambda tensors, kind=dtype: [reference_jax.rounded(layer, tensors, kind) for layer in layers(settings)],
                compiler_options=CHEAP,
            )
            for layer, (weight, bias) in zip(layers(settings), program(tensors), strict=True):
                np.testing.assert_array_equal(weight, grids[f"{layer.name}.weight"])
                np.testing.assert_array_equal(bias, grids[f"{layer.name}.bias"])


@pytest.mark.slow
def test_higher_derivatives_agree_in_every_mode():
    neurons = {"neuron": ("leaky", "synaptic"), "reset": ("subtract", "zero")}
    one = {"input_shape": (1, 1, 2), "conv_channels": (), "hidden": (2,), "num_classes": 2, "time_steps": 2}
    settings, tensors, x = network(1, **one, **neurons)
    rng = np.random.default_rng(2)
    first, second = ({name: rng.normal(size=value.shape) for name, value in tensors.items()} for _ in range(2))
    labels = rng.integers(0, 2, len(x))
    *_, last = layers(settings)

    def loss(tensors):
        output = reference_jax.outputs(settings, tensors, x, dtype=jnp.float64)[last.name]
        return reference_jax.ce_membrane(output["membrane"], labels) + reference_jax.ce_rate(output["spikes"], labels)

    def along(function, direction):
        return lambda tensors: jax.jvp(function, (tensors,), (direction,))[1]

    def pulled(function, direction):
        def product(tensors):
            gradient = jax.grad(function)(tensors)
            return sum(jnp.vdot(gradient[name], direction[name]) for name in gradient)

        return product

    orders = [
        [along(along(loss, first), second), along(pulled(loss, first), second), pulled(pulled(loss, first), second)],
        [along(along(along(loss, first), second), first), pulled(along(along(loss, first), second), first)],
    ]
    with jax.enable_x64(True):
        doubles = {name: value.astype(np.float64) for name, value in tensors.items()}
        for functions in orders:
            program = jax.jit(lambda tensors, every=functions: [f(tensors) for f in every], compiler_options=CHEAP)
            values = np.array(program(doubles))
            assert values[0] != 0
            np.testing.assert_allclose(values, values[0], rtol=1e-9)


def test_derivatives_of_a_spike_are_those_of_its_surrogate():
    settings, tensors, _ = network(0, input_shape=(1, 1, 1), conv_channels=(), hidden=(), num_classes=1, time_steps=1)
    tensors |= {"lif1.threshold": np.ones(1)}
    tensors |= {"fc1.weight": np.full((1, 1), 2.0), "fc1.bias": np.zeros(1)}

    def spike(x):
        return reference_jax.outputs(settings, tensors, x.reshape(1, 1, 1, 1), dtype=jnp.float64)["fc1"]["spikes"].sum()

    with jax.enable_x64(True):
        x = jnp.float64(0.625)
        functions = (spike, jax.grad(spike), jax.grad(jax.grad(spike)))
        derivatives = [float(jax.jit(function, compiler_options=CHEAP)(x)) for function in functions]
    u = np.pi * 0.25
    np.testing.assert_allclose(derivatives, [1, 2 / (1 + u**2), 4 * -2 * np.pi * u / (1 + u**2) ** 2], rtol=1e-12)


def test_first_maximum_gets_the_gradient():
    layer = layers({"input_shape": (2, 4, 1), "conv_channels": (1,)})[0]
    values = jnp.asarray([[1.0, 2, 3, 3], [2, 2, 3, 3]]).reshape(1, 1, 2, 4, 1)
    _, pull = jax.vjp(lambda values: reference_jax.pooled(layer, values), values)
    (gradient,) = pull(jnp.asarray([1.0, 2]).reshape(1, 1, 1, 2, 1))
    assert gradient.ravel().tolist() == [0, 1, 2, 0, 0, 0, 0, 0]


def test_limits_pass_gradients_at_both_ends():
    gradients = jax.vmap(jax.grad(reference_jax.unit_limited))(jnp.asarray([-0.1, 0, 0.5, 1, 1.1]))
    assert gradients.tolist() == [0, 1, 1, 1, 0]


def test_losses_by_hand():
    silent = jnp.zeros((5, 2, 10))
    only = silent.at[:, :, 3].set(1)
    labels = np.array([3, 3])
    log_softmax = np.array([1] + [0] * 9) - np.log(np.e + 9)
    for loss, expected in (
        (reference_jax.ce_rate(silent, labels), np.log(10)),
        (reference_jax.ce_rate(only, labels), np.log(1 + 9 / np.e)),
        # smoothed by 0.5 over ten classes, the target is 0.55 and nine times 0.05
        (reference_jax.ce_rate(only, labels, 0.5), -(0.55 * log_softmax[0] + 9 * 0.05 * log_softmax[1])),
        (reference_jax.mse_count(only, labels), 0),
        (reference_jax.mse_count(only, np.array([3, 4])), 5 * 2 / 10 / 2),
        (reference_jax.mse_count(only, labels, 0.5), 5 * (0.45**2 + 9 * 0.05**2) / 10),
    ):
        np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_losses_are_those_of_snntorch():
    rng = np.random.default_rng(0)
    spikes, membranes = (rng.random((7, 4, 5)) < 0.4).astype(np.float32), rng.normal(size=(7, 4, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 4)
    target = torch.tensor(labels)
    rate = snntorch.functional.ce_rate_loss()(torch.tensor(spikes), target).item()
    np.testing.assert_allclose(reference_jax.ce_rate(jnp.asarray(spikes), labels), rate, rtol=1e-5)
    count = snntorch.functional.mse_count_loss()(torch.tensor(spikes), target).item()
    np.testing.assert_allclose(reference_jax.mse_count(jnp.asarray(spikes), labels), count, rtol=1e-5)
    smooth = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    expected = np.mean([smooth(torch.tensor(step), target).item() for step in membranes])
    np.testing.assert_allclose(reference_jax.ce_membrane(jnp.asarray(membranes), labels, 0.1), expected, rtol=1e-5)


def test_rate_penalty_by_hand():
    states = {"conv1": {"spikes": jnp.asarray([0.0, 0, 0, 1])}, "fc1": {"spikes": jnp.asarray([0.0, 1])}}
    states["fc2"] = {"spikes": jnp.ones(3)}
    np.testing.assert_allclose(reference_jax.rate_penalty(states, 0.1, 2.0), 0.15**2 + 0.4**2, rtol=1e-6)
