"""Training with batch normalization against equations written by hand; layers that go through time one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from delayed_nodes import NODES
from drawn_graphs import drawn
from flax import nnx
from jax import lax

from csnn_jax.config import ModelConfig
from csnn_jax.engine import normalized, scan
from csnn_jax.engine.normalized import Normalized
from csnn_jax.engine.segments import layers
from csnn_jax.network.library import Jax
from csnn_jax.network.model import CSNN, from_arrays, from_tensors, tensors, with_rounded_weights
from csnn_jax.network.surrogate import atan, spike
from csnn_jax.runs import normalization
from csnn_jax.update.objective import ce_rate

pytestmark = pytest.mark.numeric
STEPS = 3
SMALL = ModelConfig(
    (6, 6, 1), conv_channels=(3, 4), hidden=(), num_classes=3, time_steps=STEPS, surrogate="atan", threshold=0.5
)


def of_images(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("one", [1, *(pytest.param(one, marks=pytest.mark.slow) for one in ("image", "frames", 0, 3))])
def test_layers_one_after_the_other_give_the_spikes_and_gradients_of_steps(one, x64):
    if isinstance(one, str):
        config = ModelConfig((6, 6, 1), network=NODES, time_steps=6)
        x = of_images((*((6,) if one == "frames" else ()), 4, 6, 6, 1))
        model = CSNN(config, dtype=jnp.float64)
    else:
        network = drawn(one)
        config, x = network.config, network.x
        model = from_tensors(config, network.masters, jnp.float64)
    graph, params = nnx.split(model)

    def total(params, whole):
        model = with_rounded_weights(nnx.merge(graph, params))
        reads = scan.usual_output(model)
        if whole:
            library = Jax(config.graph, model.nodes)
            _, output, shares = scan.by_parts(
                model, scan.scaled_input(model, x), library, layers(config.graph), reads, None
            )
        else:
            output, shares = scan.forward_with_densities(model, x, reads)
        weights = jnp.asarray(np.random.default_rng(1).normal(size=output.shape))
        return (output * weights).sum(), (output, jnp.stack([*shares]))

    run = jax.jit(jax.value_and_grad(total, has_aux=True), static_argnums=1)
    (_, output_and_shares), gradient = run(params, True)
    (_, expected), other = run(params, False)
    np.testing.assert_array_equal(output_and_shares[0], expected[0])
    np.testing.assert_allclose(output_and_shares[1], expected[1], rtol=1e-12)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def by_hand(tensors, scales, frames):
    """Spikes of the last layer [time, batch, classes] and statistics, in plain JAX with torch's layouts."""
    statistics, x = {}, jnp.moveaxis(jnp.asarray(frames, jnp.float64), -1, 2) / 256
    for number in (1, 2):
        name, (time, batch) = f"conv{number}", x.shape[:2]
        y = lax.conv(x.reshape(time * batch, *x.shape[2:]), tensors[f"{name}.weight"], (1, 1), "SAME")
        mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3))
        statistics[name] = mean, variance
        wide = (slice(None), None, None)
        y = (y - mean[wide]) / jnp.sqrt(variance + 1e-5)[wide] * scales[name][wide] + tensors[f"{name}.bias"][wide]
        y = y[:, :, : y.shape[2] // 2 * 2, : y.shape[3] // 2 * 2]
        rows, columns = y.shape[2] // 2, y.shape[3] // 2
        windows = y.reshape(*y.shape[:2], rows, 2, columns, 2).swapaxes(3, 4).reshape(*y.shape[:2], rows, columns, 4)
        # Not `max`, which divides by the number of ties, none of which may be left after XLA computes y again.
        y = jnp.take_along_axis(windows, windows.argmax(-1, keepdims=True), -1)[..., 0]
        x = fired(y.reshape(time, batch, *y.shape[1:]))
    flat = x.reshape(*x.shape[:2], -1)
    return fired(flat @ tensors["fc1.weight"].T + tensors["fc1.bias"]), statistics


def fired(currents):
    membrane, spikes = jnp.zeros_like(currents[0]), []
    for current in currents:
        reset = lax.stop_gradient((membrane > 0.5).astype(membrane.dtype))
        membrane = 0.5 * membrane + current - 0.5 * reset
        spikes.append(spike(membrane - 0.5, atan))
    return jnp.stack(spikes)


@pytest.mark.parametrize("frames", [False, True])
def test_losses_gradients_and_statistics_are_those_of_the_equations(frames, x64):
    network = CSNN(SMALL, key=1, dtype=jnp.float64)
    network = from_arrays(SMALL, _arrays(with_rounded_weights(network)), jnp.float64)
    model = Normalized(network, drawn_norms())
    x, labels = of_images((*((STEPS,) if frames else ()), 5, 6, 6, 1)), jnp.asarray([0, 1, 2, 1, 0])
    graph, params = nnx.split(model)

    def loss(params):
        output, densities, statistics = normalized.forward_with_densities(nnx.merge(graph, params), x)
        return ce_rate(output, labels), (output, densities, statistics)

    (value, (output, densities, statistics)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    named = {name: jnp.asarray(one) for name, one in tensors(network).items()}
    scales = {name: norm.scale[...] for name, norm in model.norms.items()}
    sequence = x if frames else np.broadcast_to(x, (STEPS, *x.shape))

    def expected(named, scales):
        spikes, seen = by_hand(named, scales, sequence)
        return ce_rate(spikes, labels), (spikes, seen)

    gradients = jax.jit(jax.value_and_grad(expected, (0, 1), has_aux=True))
    (other, (spikes, seen)), (wanted, of_scales) = gradients(named, scales)
    np.testing.assert_array_equal(output, spikes)
    assert float(value) == pytest.approx(float(other), rel=1e-12) and 0.05 < densities[1] < 0.9
    gradient_model = nnx.merge(graph, gradient)
    for name, one in tensors(gradient_model.network).items():
        assert np.abs(wanted[name]).max() > 1e-6
        np.testing.assert_allclose(one, wanted[name], rtol=1e-8, atol=1e-12, err_msg=name)
    for name, norm in gradient_model.norms.items():
        np.testing.assert_allclose(norm.scale[...], of_scales[name], rtol=1e-8, atol=1e-12)
        assert not norm.mean[...].any() and not norm.variance[...].any()
        np.testing.assert_allclose(statistics[name], seen[name], rtol=1e-10, atol=1e-14)


def drawn_norms():
    rng = np.random.default_rng(2)
    return {f"conv{size - 2}": normalization.Norm(*rng.uniform(0.3, 1, (3, size))) for size in (3, 4)}


def _arrays(model):
    return {name: np.asarray(value[...]) for name, value in model.parameters.items()}


def test_the_folded_network_computes_the_same_with_running_statistics(x64):
    """To rounding; its own weights have other grids, so only unrounded ones are the same function."""
    running, before = drawn_norms(), tensors(CSNN(SMALL, key=1, dtype=jnp.float64))
    after = normalization.folded(before, running)
    x = np.random.default_rng(3).uniform(0, 1, (2, 1, 6, 6))
    for name, norm in running.items():
        own = {part: jnp.asarray(before[f"{name}.{part}"]) for part in ("weight", "bias")}
        y = lax.conv(x, own["weight"], (1, 1), "SAME")
        wide = (slice(None), None, None)
        centered = (y - norm.mean[wide]) / np.sqrt(norm.variance + 1e-5)[wide]
        expected = centered * norm.scale[wide] + own["bias"][wide]
        currents = lax.conv(x, jnp.asarray(after[f"{name}.weight"]), (1, 1), "SAME") + after[f"{name}.bias"][wide]
        np.testing.assert_allclose(currents, expected, rtol=1e-12, atol=1e-12)
        x = np.asarray(expected)
    assert after["fc1.weight"] is before["fc1.weight"]


def test_the_first_batch_sets_the_running_statistics_and_later_ones_count_a_tenth(x64):
    start = drawn_norms()
    model, means = Normalized(CSNN(SMALL, dtype=jnp.float64), start), np.zeros(3)
    for iteration in range(12):
        new = np.full(3, float(iteration + 1))
        model.learn({"conv1": normalization.Statistics(jnp.asarray(new), 2 * new)}, normalization.share(iteration))
        means = means + (new - means) * max(0.1, 1 / (iteration + 1))
    norm = model.norms["conv1"]
    np.testing.assert_allclose(norm.mean[...], means, rtol=1e-12)
    np.testing.assert_allclose(norm.variance[...], 2 * means, rtol=1e-12)
    assert (
        means[0] == pytest.approx(0.81 * 5.5 + 0.09 * 11 + 0.1 * 12)
        and (model.norms["conv2"].mean[...] == start["conv2"].mean).all()
    )
