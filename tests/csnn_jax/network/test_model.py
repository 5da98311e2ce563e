"""The network: shapes, initial weights, learned neurons, and conversion to and from torch's layout."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.engine import scan
from csnn_jax.network import surrogate
from csnn_jax.network.model import CSNN, from_tensors, load_tensors, tensors, without_values
from csnn_jax.runs import layouts

STACKS = {
    "32x32x3": (
        ModelConfig(input_shape=(32, 32, 3), conv_channels=(3,), kernel_size=5, hidden=(6, 5), num_classes=3),
        [(16, 16, 3), (6,), (5,), (3,)],
    ),
    "three blocks": (
        ModelConfig(input_shape=(9, 11, 1), conv_channels=(2, 3, 4), kernel_size=1, hidden=(), pool="avg"),
        [(4, 5, 2), (2, 2, 3), (1, 1, 4), (10,)],
    ),
    "no conv block": (
        ModelConfig(input_shape=(3, 4, 2), conv_channels=(), hidden=(7,), num_classes=2),
        [(7,), (2,)],
    ),
}
LEARNED = ModelConfig(
    input_shape=(6, 4, 2),
    conv_channels=(3, 2),
    hidden=(5,),
    num_classes=3,
    beta=(0.25, 0.5, 0.75, 1.0),
    threshold=(1.0, 0.5, 2.0, 1.5),
    learn_beta=True,
    learn_threshold=True,
    time_steps=6,
)


@pytest.mark.parametrize("name", ["three blocks", "no conv block"])
def test_shapes_of_membranes_spikes_and_weights(name):
    config, shapes = STACKS[name]

    def one_step():
        model = CSNN(config)
        return model.step(model.initial_states(3), jnp.zeros((3, *config.input_shape)))

    states, spikes = jax.eval_shape(one_step)
    assert (
        [states.states[node.name]["mem"].shape for node in config.graph.neurons]
        == [s.shape for s in spikes]
        == [(3, *shape) for shape in shapes]
    )
    assert {s.dtype for s in jax.tree.leaves((states, spikes))} == {jnp.dtype("float32")}
    assert all((zeros == 0).all() for zeros in jax.tree.leaves(jax.jit(lambda: CSNN(config).initial_states(1))()))


def test_initial_weights_are_uniform_within_torchs_bound():
    for own in CSNN(ModelConfig(), key=3).weights.values():
        kernel = np.asarray(own.kernel[...])
        bound = 1 / math.sqrt(math.prod(kernel.shape[:-1]))
        assert np.abs(own.bias[...]).max() <= bound and np.abs(kernel).max() <= bound
        assert np.abs(kernel).max() > 0.97 * bound and np.abs(kernel.mean()) < 0.1 * bound
        assert kernel.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert np.abs(own.bias[...]).max() > 0.5 * bound and np.ptp(own.bias[...]) > bound
    config = ModelConfig(input_shape=(2, 2, 1), conv_channels=(), hidden=(4, 4), num_classes=4)
    first, second, third = (np.asarray(own.kernel[...]) for own in CSNN(config).weights.values())
    assert not np.array_equal(first, second) and not np.array_equal(second, third)


def test_the_key_decides_the_weights():
    one, same, other = (tensors(CSNN(LEARNED, key)) for key in (5, jax.random.key(5), 6))
    for name in one:
        np.testing.assert_array_equal(one[name], same[name])
        assert name.startswith("lif") or not np.array_equal(one[name], other[name])


def test_learned_neurons_are_parameters():
    held = tensors(CSNN(LEARNED))
    assert {name: tensor.shape for name, tensor in held.items()} == layouts.expected_shapes(LEARNED)
    assert [float(held[f"lif{i}.beta"]) for i in range(1, 5)] == [0.25, 0.5, 0.75, 1.0]
    assert [float(held[f"lif{i}.threshold"]) for i in range(1, 5)] == [1.0, 0.5, 2.0, 1.5]


def test_fixed_neurons_are_not_parameters():
    leaves = jax.tree.leaves(nnx.split(CSNN(STACKS["32x32x3"][0]))[1])
    assert len(leaves) == 2 * 4 and all(leaf.ndim > 0 for leaf in leaves)


@pytest.mark.parametrize("name", STACKS)
def test_tensors_survive_loading_bit_for_bit(name):
    config = STACKS[name][0]
    source, target = CSNN(config, key=1), CSNN(config, key=2)
    held = tensors(source)
    assert {name: tensor.shape for name, tensor in held.items()} == layouts.expected_shapes(config)
    load_tensors(target, held)
    for model in (target, from_tensors(config, held)):
        for one, other in zip(jax.tree.leaves(nnx.state(source)), jax.tree.leaves(nnx.state(model)), strict=True):
            np.testing.assert_array_equal(one, other)


def test_networks_of_equal_configurations_keep_their_own_parameters():
    sources = [CSNN(LEARNED, key=key) for key in (1, 2)]
    models = [from_tensors(LEARNED, tensors(source)) for source in sources]
    for source, model in zip(sources, models, strict=True):
        for name, tensor in tensors(source).items():
            np.testing.assert_array_equal(tensors(model)[name], tensor)


def test_loading_sets_learned_neurons_and_keeps_the_type_of_the_model(x64):
    source, target = jax.jit(lambda: CSNN(LEARNED, key=1, dtype=jnp.float64))(), CSNN(LEARNED, key=2)
    values = tensors(source) | {"lif2.beta": np.array(0.375), "lif4.threshold": np.array(1.75)}
    load_tensors(target, values)
    loaded = tensors(target)
    assert {t.dtype for t in loaded.values()} == {np.dtype("float32")}
    for name, value in values.items():
        np.testing.assert_array_equal(loaded[name], value.astype(np.float32))


def test_a_custom_derivative_replaces_the_configured_one(x64):
    config = ModelConfig(input_shape=(1, 1, 1), conv_channels=(), hidden=(), num_classes=2, time_steps=1)
    graph, params = nnx.split(CSNN(config, derivative=lambda x: 3 + 0 * x, dtype=jnp.float64))

    def loss(params):
        return scan.forward(nnx.merge(graph, params), jnp.full((1, 1, 1, 1), 1.0))[1].sum()

    gradients = tensors(nnx.merge(graph, jax.jit(jax.grad(loss))(params)))
    np.testing.assert_array_equal(gradients["fc1.weight"], [[3], [3]])
    np.testing.assert_array_equal(gradients["fc1.bias"], [3, 3])


def test_steps_take_states_of_their_network_and_batch():
    model = CSNN(ModelConfig((4, 4, 1), (), hidden=(3,), num_classes=2))
    for batch in (0, 1.5, None):
        with refusing(ValueError, f"batch is {batch}", "at least 1"):
            model.initial_states(batch)
    with refusing(ValueError, "states", "initial_states(1)"):
        model.step(model.initial_states(np.int64(2)), np.zeros((1, 4, 4, 1), np.uint8))


@pytest.mark.parametrize("value", [-1 / 256, 1 + 1 / 256, np.nan])
def test_inputs_are_within_their_range(value):
    model = CSNN(ModelConfig((4, 4, 1), (), hidden=(), num_classes=2))
    x = np.ones((1, 4, 4, 1), np.float32)
    states, _ = model.step(model.initial_states(1), x)
    x[0, 3, 3, 0] = value
    with refusing(ValueError, "x", "0 to 1", f"{value:g}"):
        model.step(states, x)
    with refusing(ValueError, "x", "[batch, 4, 4, 1]"):
        model.step(states, np.ones((1, 1, 4, 4, 1), np.float32))


def test_parameters_in_few_bits_are_refused():
    model = CSNN(ModelConfig((4, 4, 1), (), hidden=(), num_classes=2), dtype=jnp.bfloat16)
    with refusing(ValueError, "fc1.kernel", "bfloat16", "float32"):
        scan.forward(model, np.zeros((1, 4, 4, 1), np.uint8))


def test_numpy_seeds_are_accepted_and_other_keys_refused():
    config = ModelConfig(input_shape=(4, 4, 1), conv_channels=(), hidden=(3,))
    np.testing.assert_array_equal(tensors(CSNN(config, np.int64(3)))["fc1.bias"], tensors(CSNN(config, 3))["fc1.bias"])
    with refusing(ValueError, "key", "float", "jax.random.key"):
        CSNN(config, 3.0)
    for seed in (-1, 2**63):
        with refusing(ValueError, f"key is {seed}", "at least 0"):
            CSNN(config, seed)
    with refusing(ValueError, "config", "dict", "ModelConfig"):
        CSNN({})
    with refusing(ValueError, "derivative", "'atan'", "config.surrogate"):
        CSNN(config, derivative="atan")


def test_a_replaced_surrogate_is_used_by_the_next_network(monkeypatch):
    config = ModelConfig(conv_channels=(), hidden=(), time_steps=2, surrogate="atan")
    first = without_values(config)
    monkeypatch.setitem(surrogate.BY_NAME, "atan", surrogate.BY_NAME["sigmoid"])
    derivatives = [model.neurons["lif1"].derivative for model in (first, without_values(config))]
    assert derivatives == [surrogate.atan, surrogate.sigmoid]
