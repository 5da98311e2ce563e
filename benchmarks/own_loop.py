"""Times a training iteration of a residual spiking network, with csnn_jax.ops and in plain JAX; prints JSON.

    python benchmarks/own_loop.py > results/own_loop.json

All sides train the network of docs/python.md in batches of 128 digits with 25 time steps: conv, pool, LIF; conv, LIF; a
convolution that reads the sum of both, pool, LIF; a linear layer, LIF. Biases are shifted until 5% of each layer's
neurons spike per step. Plain JAX is timed in two forms: all steps of a layer at once, and all layers of a step. Sides
take turns in one process after a warm-up; times are medians. Also timed: the gradient of the second convolution's
weights over the window, by XLA in `lax.scan`, and by a layer of csnn_jax.ops, forward and backward.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from csnn_jax import ce_rate, data, machine, ops, spike
from csnn_jax.engine import process
from csnn_jax.network.surrogate import fast_sigmoid

SHAPES = {"conv1": (3, 3, 1, 16), "conv2": (3, 3, 16, 16), "conv3": (3, 3, 16, 32), "out": (7 * 7 * 32, 10)}
STEPS, BATCH = 25, 128
Weights = dict[str, tuple[Array, Array]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", type=float, default=0.05, help="fraction of neurons that spike per step")
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    process.set_up("float32")
    mnist = data.load("mnist", (28, 28, 1)).train
    images, labels = jnp.asarray(mnist.images[:BATCH] / np.float32(256)), jnp.asarray(mnist.labels[:BATCH])
    weights = firing(initial(), images, options.density)
    sides = {"csnn_jax.ops": by_ops, "plain JAX, layer by layer": by_layers, "plain JAX, step by step": by_steps}
    spikes = {name: np.asarray(jax.jit(side)(weights, images)) for name, side in sides.items()}
    differ = {name: int((value != spikes["csnn_jax.ops"]).sum()) for name, value in spikes.items()}
    adam = optax.adam(1e-3)
    calls = {
        name: partial(updating(side, adam), weights, adam.init(weights), images, labels) for name, side in sides.items()
    }
    seconds = timed(calls, options.turns)
    least = min(seconds[name] for name in sides if name != "csnn_jax.ops")
    about = {"command": "python benchmarks/own_loop.py", "commit": machine.commit(), **machine.describe()}
    result = {
        "densities": densities(weights, images),
        "output_spikes_that_differ": differ,
        "iteration_s": seconds,
        "times_as_fast": round(least / seconds["csnn_jax.ops"], 2),
        "conv_weight_gradient_s": timed(weight_gradients(weights, images), options.turns),
    }
    print(json.dumps(about | result, indent=1))


def initial() -> Weights:
    keys = jax.random.split(jax.random.key(0), len(SHAPES))

    def drawn(key: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
        bound = float(np.prod(shape[:-1])) ** -0.5
        return jax.random.uniform(key, shape, minval=-bound, maxval=bound) * 2, jnp.zeros(shape[-1])

    return {name: drawn(key, shape) for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)}


def rounded(weights: Weights) -> Weights:
    """Weights on the grids of their sums; conv3's repeat for its two inputs."""
    (k3, b3), image = weights["conv3"], {"input_bits": 8, "input_step": 1 / 256}
    return {
        "conv1": ops.on_grid(*weights["conv1"], **image),
        "conv2": ops.on_grid(*weights["conv2"]),
        "conv3": ops.on_grid(jnp.concatenate([k3, k3], 2), b3),
        "out": ops.on_grid(*weights["out"]),
    }


def layers(weights: Weights, images: Array) -> list[ops.Layer]:
    on_grid = rounded(weights)
    a = ops.conv_lif(ops.held(images, STEPS), *on_grid["conv1"], padding=1, pool="max")
    b = ops.conv_lif(a.spikes, *on_grid["conv2"], padding=1)
    c = ops.conv_lif(ops.side_by_side([a.spikes, b.spikes]), *on_grid["conv3"], padding=1, pool="max")
    return [a, b, c, ops.linear_lif(c.spikes, *on_grid["out"])]


def by_ops(weights: Weights, images: Array) -> Array:
    return ops.unpack(layers(weights, images)[-1].spikes)


# --- the same in plain JAX


def convolved(x: Array, kernel: Array, bias: Array, pool: bool = False) -> Array:
    y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    window = (1, 2, 2, 1)
    return (lax.reduce_window(y, -jnp.inf, lax.max, window, window, "VALID") if pool else y) + bias


def lif(membrane: Array, current: Array) -> tuple[Array, Array]:
    membrane = 0.5 * membrane + current - lax.stop_gradient((membrane > 1).astype(jnp.float32))
    return membrane, spike(membrane - 1, fast_sigmoid)


def by_layers(weights: Weights, images: Array) -> Array:
    """All steps of a layer at once, and then its neurons."""
    on_grid, time_and_batch = rounded(weights), (STEPS, len(images))
    k3, b3 = on_grid["conv3"]

    def window(current: Array) -> Array:
        return lax.scan(lif, jnp.zeros_like(current[0]), current)[1]

    def at_once(x: Array, kernel: Array, bias: Array, pool: bool = False) -> Array:
        y = convolved(x.reshape(-1, *x.shape[2:]), kernel, bias, pool)
        return window(y.reshape(*time_and_batch, *y.shape[1:]))

    first = convolved(images, *on_grid["conv1"], True)
    a = window(jnp.broadcast_to(first, (STEPS, *first.shape)))
    b = at_once(a, *on_grid["conv2"])
    c = at_once(a + b, k3[:, :, :16], b3, True)
    kernel, bias = on_grid["out"]
    return window(c.reshape(*time_and_batch, -1) @ kernel + bias)


def by_steps(weights: Weights, images: Array) -> Array:
    """All layers of a step, and then the next step."""
    on_grid = rounded(weights)
    k3, b3 = on_grid["conv3"]
    current = convolved(images, *on_grid["conv1"], True)
    batch = len(images)
    shapes = [(14, 14, 16), (14, 14, 16), (7, 7, 32), (10,)]

    def step(states: list[Array], _: None) -> tuple[list[Array], Array]:
        first, a = lif(states[0], current)
        second, b = lif(states[1], convolved(a, *on_grid["conv2"]))
        third, c = lif(states[2], convolved(a + b, k3[:, :, :16], b3, True))
        kernel, bias = on_grid["out"]
        last, d = lif(states[3], c.reshape(batch, -1) @ kernel + bias)
        return [first, second, third, last], d

    return lax.scan(step, [jnp.zeros((batch, *shape)) for shape in shapes], length=STEPS)[1]


# --- timing


def updating(side: Callable[[Weights, Array], Array], adam: Any) -> Callable[..., Any]:
    """A training iteration."""

    def update(weights: Weights, state: Any, images: Array, labels: Array) -> Any:
        gradient = jax.grad(lambda weights: ce_rate(side(weights, images), labels))(weights)
        changes, state = adam.update(gradient, state)
        return optax.apply_updates(weights, changes), state

    return jax.jit(update)


def densities(weights: Weights, images: Array) -> list[float]:
    return [round(float(layer.density), 4) for layer in layers(weights, images)]


def firing(weights: Weights, images: Array, density: float) -> Weights:
    """Shifts the biases of each layer until this fraction of its neurons spike per step."""
    of_layers = jax.jit(lambda weights: [layer.density for layer in layers(weights, images)])
    for index, name in enumerate(SHAPES):
        low, high = -4.0, 4.0
        kernel, bias = weights[name]
        for _ in range(25):
            shift = (low + high) / 2
            weights = weights | {name: (kernel, bias + shift)}
            low, high = (low, shift) if of_layers(weights)[index] > density else (shift, high)
    return weights


def weight_gradients(weights: Weights, images: Array) -> dict[str, Callable[[], Any]]:
    """The gradient of conv2's weights over the window, given the gradient of its neurons' currents."""
    a = layers(weights, images)[0].spikes
    dense, rng = ops.unpack(a), np.random.default_rng(0)
    dcurrent = jnp.asarray(rng.normal(size=(STEPS, BATCH, 14, 14, 16)), jnp.float32)
    kernel, bias = weights["conv2"]

    def xla(kernel: Array) -> Array:
        def step(total: Array, both: tuple[Array, Array]) -> tuple[Array, None]:
            return total + (convolved(both[0], kernel, bias) * both[1]).sum(), None

        return lax.scan(step, jnp.zeros(()), (dense, dcurrent))[0]

    def kernels(kernel: Array) -> Array:
        return (
            ops.conv_lif(a, kernel, bias, beta=0.0, padding=1, reset="none", membranes=True).membranes * dcurrent
        ).sum()

    return {name: partial(jax.jit(jax.grad(f)), kernel) for name, f in (("XLA", xla), ("csnn_jax.ops", kernels))}


def timed(calls: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Median seconds of calls that take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: float(f"{statistics.median(each):.3g}") for name, each in times.items()}


if __name__ == "__main__":
    main()
