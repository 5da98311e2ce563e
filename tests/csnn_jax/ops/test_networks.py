"""The public operations equal plain JAX, in values and in every gradient, alone and under JAX's transformations.

Weights lie on grids, so membranes are equal to the bit; gradients are compared with float64's.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import plain_layers as plain
import pytest
from refusals import refusing

from csnn_jax import ops
from csnn_jax.engine.library import Unsupported
from csnn_jax.network.surrogate import atan

pytestmark = pytest.mark.numeric

STEPS, BATCH = 5, 3
SETTINGS = {
    "held image": {},
    "held image, not shared settings": {"beta2": 0.5, "reset2": "zero"},
    "sequence": {"frames": True},
    "reset to zero, averages": {"reset": "zero", "pool": "avg"},
    "no reset, no pool, own surrogate": {"reset": "none", "pool": None, "surrogate": lambda x: 1 / (1 + x * x)},
    "many steps": {"steps": 40},
}


def drawn(seed: int = 0) -> dict[str, Any]:
    """Weights of a residual network with 3, 5, 6 and 4 outputs, on grids."""
    rng = np.random.default_rng(seed)
    shapes = {"conv1": (3, 3, 2, 3), "conv2": (3, 3, 3, 5), "conv3": (2, 2, 8, 6), "out": (6, 4)}
    scales = {"conv1": 0.4, "conv2": 0.4, "conv3": 0.3, "out": 0.8}
    weights = {
        name: tuple(np.rint(64 * scales[name] * (rng.normal(size=size) + 0.1)) / 64 for size in (shape, shape[-1:]))
        for name, shape in shapes.items()
    }
    return weights | {"beta": np.float64(0.75), "threshold": np.float64(1.0)}


def inputs(frames: bool) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.integers(0, 2, (STEPS, BATCH, 6, 7, 2)) * 1.0 if frames else rng.integers(0, 9, (BATCH, 6, 7, 2)) / 8


def ours(
    weights: Any, x: Any, steps: int = STEPS, beta2: Any = None, reset2: Any = None, frames: bool = False, **settings
) -> list[Any]:
    """The layers' spikes, membranes, last membranes and densities."""
    settings = {"reset": "subtract", "surrogate": partial(atan, slope=3.0), "membranes": True} | settings
    pool = settings.pop("pool", "max")
    beta, threshold = weights["beta"], weights["threshold"]
    own = {**settings, "reset": reset2 or settings["reset"]}
    source = ops.pack(x) if frames else ops.held(x, steps)
    a = ops.conv_lif(source, *weights["conv1"], beta, threshold, padding=1, **settings)
    b = ops.conv_lif(a.spikes, *weights["conv2"], beta if beta2 is None else beta2, threshold, padding=1, **own)
    both = ops.side_by_side([a.spikes, b.spikes])
    c = ops.conv_lif(both, *weights["conv3"], beta, threshold, pool=pool, **settings)
    d = ops.linear_lif(
        c.spikes,
        weights["out"][0].repeat(-(-np.prod(c.spikes.shape[2:]) // 6), 0),
        weights["out"][1],
        beta,
        threshold,
        **settings,
    )
    layers = [a, b, c, d]
    return [[ops.unpack(one.spikes), one.membranes, one.last, one.density] for one in layers]


def theirs(
    weights: Any, x: Any, steps: int = STEPS, beta2: Any = None, reset2: Any = None, frames: bool = False, **settings
) -> list[Any]:
    """The same in plain JAX."""
    settings = {"reset": "subtract", "surrogate": partial(atan, slope=3.0)} | settings
    pool = settings.pop("pool", "max")
    beta, threshold = weights["beta"], weights["threshold"]
    own = {**settings, "reset": reset2 or settings["reset"]}
    source = x if frames else jnp.broadcast_to(x, (steps, *x.shape))
    a = plain.conv_lif(source, *weights["conv1"], beta, threshold, padding=1, **settings)
    b = plain.conv_lif(a[0], *weights["conv2"], beta if beta2 is None else beta2, threshold, padding=1, **own)
    both = jnp.concatenate([a[0], b[0]], -1)
    c = plain.conv_lif(both, *weights["conv3"], beta, threshold, pool=pool, **settings)
    d = plain.linear_lif(
        c[0],
        weights["out"][0].repeat(-(-np.prod(c[0].shape[2:]) // 6), 0),
        weights["out"][1],
        beta,
        threshold,
        **settings,
    )
    return [[spikes, membranes, membranes[-1], spikes.mean()] for spikes, membranes in (a, b, c, d)]


def as_type(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda array: jnp.asarray(array, dtype), tree)


def loss_of(arrays: Any) -> jax.Array:
    """Depends on each number, each with its own weight."""
    rng, total = np.random.default_rng(2), 0.0
    for array in jax.tree.leaves(arrays):
        total += (jnp.asarray(rng.normal(size=array.shape), array.dtype) * array).sum() + (array**2).mean()
    return total


def assert_close(actual: Any, expected: Any, bound: float = 1e-5) -> None:
    """Relative to the largest absolute value of each array, which isn't 0."""
    for (path, one), other in zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other)
        assert np.abs(other).max() > 0 and np.abs(one - other).max() <= bound * np.abs(other).max(), (
            jax.tree_util.keystr(path)
        )


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.slow] * (kind in ("held image", "many steps"))) for kind in SETTINGS],
)
def test_a_residual_network_equals_plain_jax(kind):
    settings, weights = SETTINGS[kind], drawn()
    x = inputs(settings.get("frames", False))
    layers = jax.jit(partial(ours, **settings))(*as_type((weights, x), jnp.float32))
    expected = jax.jit(partial(theirs, **settings))(*as_type((weights, x), jnp.float32))
    for one, other in zip(layers, expected, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one[:3], other[:3])
        assert 0.01 < one[3] < 0.9

    def gradient(function: Any) -> Any:
        return jax.jit(jax.grad(lambda *arguments: loss_of(function(*arguments, **settings)), (0, 1)))

    by_ours = gradient(ours)(*as_type((weights, x), jnp.float32))
    with jax.enable_x64(True):
        assert_close(by_ours, gradient(theirs)(*as_type((weights, x), jnp.float64)))


def dark_half() -> ops.Held:
    """An image whose right half is black, for 40 steps: neurons there come to rest, as do those that read them."""
    image = np.zeros((BATCH, 6, 16, 2), np.float32)
    image[:, :, :7] = inputs(False)
    return ops.held(jnp.asarray(image), 40)


def cost(kernels: Any, beta: Any, threshold: Any, feeds: int | None, readers: int = 1, stays: Any = None) -> jax.Array:
    """Of two convolutions and a linear layer."""
    first, second = (jnp.asarray(kernel, jnp.float32) for kernel in kernels)
    a = ops.conv_lif(dark_half(), first, jnp.full(3, 0.25), padding=1, pool="max", stays=stays)
    b = ops.conv_lif(a.spikes, second, jnp.full(5, 0.25), beta, threshold, padding=1, feeds=feeds)
    wide = jnp.full((b.layout.neurons // 16 * 5, 2), 0.125)
    return sum(ops.unpack(ops.linear_lif(b.spikes, wide).spikes).sum() for _ in range(readers))


ARGUMENTS = tuple(drawn()[name][0] for name in ("conv1", "conv2")), 0.5, 1.0
"""Of `cost`: those with a gradient."""


@pytest.mark.parametrize("feeds", [2, None])
def test_the_gradient_of_neurons_at_rest_equals_that_of_any_neurons(feeds):
    """With a mask, the kernels take no neuron's rest into account."""
    gradient = jax.jit(jax.grad(cost, (0, 1, 2)), static_argnums=3)
    assert_close(gradient(*ARGUMENTS, feeds), gradient(*ARGUMENTS, None, stays=jnp.ones((BATCH, 3, 8, 3), bool)))


def test_a_second_reader_of_spikes_that_feed_a_layer_makes_the_gradient_nan():
    gradient = jax.jit(jax.grad(cost), static_argnums=(3, 4))
    for feeds, known in ((2, np.isnan), (None, np.isfinite)):
        assert all(known(slope).all() for slope in gradient(*ARGUMENTS, feeds, 2))
    a = ops.conv_lif(dark_half(), ARGUMENTS[0][0].astype(np.float32), padding=1, pool="max")
    b = ops.conv_lif(a.spikes, ARGUMENTS[0][1].astype(np.float32), padding=1, feeds=2)
    for read in (
        lambda spikes: ops.conv_lif(spikes, jnp.zeros((3, 3, 5, 1))),
        lambda spikes: ops.pointwise(spikes, jnp.zeros((5, 1))),
        lambda spikes: ops.side_by_side([spikes]),
        ops.unpack,
    ):
        with refusing(ValueError, "`feeds`"):
            read(b.spikes)


def test_spikes_beside_others_without_a_gradient_have_theirs():
    @partial(jax.jit, static_argnums=1)
    @jax.grad
    def gradient(kernel: Any, kind: Any) -> jax.Array:
        x = jnp.asarray(inputs(True), jnp.float32)
        own = ops.conv_lif(ops.pack(x), kernel, padding=1, surrogate=atan).spikes
        both = ops.side_by_side([ops.pack(x.astype(kind)), own])
        return ops.unpack(ops.linear_lif(both, jnp.full((6 * 7 * 5, 1), 1 / 64)).spikes).sum()

    kernel = jnp.asarray(drawn()["conv1"][0], jnp.float32)
    of_bytes, of_floats = (gradient(kernel, kind) for kind in (jnp.uint8, jnp.float32))
    assert of_bytes.any() and (of_bytes == of_floats).all()


# --- transformations


def loss(weights: Any, x: Any, **settings: Any) -> jax.Array:
    return loss_of(ours(weights, x, **settings))


def both() -> tuple[Any, Any]:
    return as_type((drawn(), inputs(False)), jnp.float32)


def stacked(count: int) -> Any:
    """Several networks' weights."""
    return jax.tree.map(lambda *each: jnp.stack(each), *(as_type(drawn(seed), jnp.float32) for seed in range(count)))


def take(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda array: array[index], tree)


def assert_equal(actual: Any, expected: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_checkpoint_changes_nothing():
    expected, checkpointed = (
        jax.jit(jax.value_and_grad(function, (0, 1)))(*both()) for function in (loss, jax.checkpoint(loss))
    )
    assert_close(checkpointed, expected, 1e-6)


def test_a_scan_over_iterations_equals_a_loop():
    weights, x = both()
    update = jax.jit(lambda weights, _: (jax.tree.map(lambda w, g: w - g / 64, weights, jax.grad(loss)(weights, x)), 0))
    by_scan, _ = jax.lax.scan(update, weights, length=2)
    assert_close(by_scan, update(update(weights, None)[0], None)[0], 1e-6)


@pytest.mark.parametrize("frames", [False, True])
def test_vmap_over_images_equals_the_batch(frames):
    weights, x = as_type((drawn(), inputs(frames)), jnp.float32)
    axis = 1 if frames else 0
    one = lambda image: ours(weights, jnp.expand_dims(image, axis), frames=frames)  # noqa: E731
    mapped = jax.jit(jax.vmap(one, axis))(x)
    for alone, together in zip(mapped, jax.jit(partial(ours, frames=frames))(weights, x), strict=True):
        assert_equal(alone[0][:, :, 0].swapaxes(0, 1), together[0])
        assert_equal(alone[1][:, :, 0].swapaxes(0, 1), together[1])


@pytest.mark.parametrize("frames", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_gradient_of_a_vmap_equals_that_of_a_loop(frames):
    """Each example has its own weight in the sum; weights are mapped with the image, and shared with the sequence."""
    axis, scales, mapped = 1 if frames else 0, jnp.asarray([1.0, 10.0, 100.0]), not frames
    weights, x = as_type((drawn(), inputs(frames)), jnp.float32)
    each = stacked(3)

    def one(weights: Any, x: Any, scale: Any) -> jax.Array:
        return scale * loss(weights, jnp.expand_dims(x, axis), frames=frames)

    def together(weights: Any, x: Any) -> jax.Array:
        return jax.vmap(one, (0 if mapped else None, axis, 0))(weights, x, scales).sum()

    gradient = jax.jit(jax.grad(one, (0, 1)))
    loop = [gradient(take(each, n) if mapped else weights, jnp.take(x, n, axis), scales[n]) for n in range(3)]
    of_weights = jax.tree.map(lambda *parts: jnp.stack(parts) if mapped else sum(parts), *(one for one, _ in loop))
    expected = of_weights, jnp.stack([of_x for _, of_x in loop], axis)
    assert_close(jax.jit(jax.grad(together, (0, 1)))(each if mapped else weights, x), expected)


def test_gradients_per_example_equal_a_loop():
    weights, x = both()
    gradient = jax.jit(jax.grad(lambda weights, image: loss(weights, image[None])))
    mapped = jax.jit(jax.vmap(gradient, (None, 0)))(weights, x)
    for index, image in enumerate(x):
        assert_equal(take(mapped, index), gradient(weights, image))


def test_an_ensemble_equals_a_loop():
    """Several networks, and one network with several thresholds."""
    _, x = both()
    networks = stacked(3)
    gradient = jax.jit(jax.grad(loss))
    mapped = jax.jit(jax.vmap(gradient, (0, None)))(networks, x)
    for index in range(3):
        assert_equal(take(mapped, index), gradient(take(networks, index), x))
    nested = jax.jit(jax.vmap(jax.vmap(lambda w, image: ours(w, image[None])[-1][1], (None, 0)), (0, None)))(
        networks, x
    )
    for index in range(3):
        assert_equal(nested[index, :, :, 0].swapaxes(0, 1), ours(take(networks, index), x)[-1][1])


def test_jacrev_equals_gradients():
    weights, x = both()
    layers = lambda weights: jnp.stack([layer[3] for layer in ours(weights, x)])  # noqa: E731
    jacobian = jax.jit(jax.jacrev(layers))(weights)
    for index in range(4):
        expected = jax.jit(jax.grad(lambda weights, index=index: layers(weights)[index]))(weights)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), take(jacobian, index), expected)


def test_shards_add_up_to_the_whole():
    weights, _ = both()
    x = jnp.asarray(np.random.default_rng(3).integers(0, 9, (4, 6, 7, 2)) / 8, jnp.float32)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]), ("images",))
    spec = jax.sharding.PartitionSpec

    def shard(weights: Any, x: Any) -> Any:
        return jax.lax.psum(jax.grad(lambda weights: ours(weights, x)[-1][1].sum())(weights), "images")

    sharded = jax.shard_map(shard, mesh=mesh, in_specs=(spec(), spec("images")), out_specs=spec(), check_vma=False)
    whole = jax.jit(jax.grad(lambda weights: ours(weights, x)[-1][1].sum()))(weights)
    assert_close(jax.jit(sharded)(weights, x), whole, 1e-5)


@pytest.mark.parametrize("transform", ["jvp", "linearize", "hessian", "grad of grad"])
def test_forward_mode_and_second_derivatives_are_refused(transform):
    weights, x = both()
    function = lambda x: loss(weights, x)  # noqa: E731
    calls = {
        "jvp": lambda: jax.jvp(function, (x,), (x,)),
        "linearize": lambda: jax.linearize(function, x)[1](x),
        "hessian": lambda: jax.hessian(function)(x),
        "grad of grad": lambda: jax.grad(lambda x: jax.grad(function)(x).sum())(x),
    }
    with pytest.raises((Unsupported, TypeError), match=r"forward mode|second derivatives|custom_vjp"):
        calls[transform]()


WRONG = {
    "source": (lambda s: ops.conv_lif(jnp.zeros((3, 6, 7, 2)), jnp.zeros((3, 3, 2, 1))), ("spikes", "ops.pack")),
    "a layer": (
        lambda s: ops.linear_lif(ops.linear_lif(s, jnp.zeros((84, 2))), jnp.zeros((2, 1))),
        ("Layer", ".spikes"),
    ),
    "surrogate": (lambda s: ops.linear_lif(s, jnp.zeros((84, 1)), surrogate="atan"), ("surrogate", "'atan'")),
    "padding's type": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 2, 1)), padding="SAME"), ("padding", "'SAME'")),
    "feeds": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 2, 1)), feeds=0), ("feeds", "0")),
    "no outputs": (lambda s: ops.linear_lif(s, jnp.zeros((84, 0))), ("outputs",)),
    "stays's type": (lambda s: ops.linear_lif(s, jnp.zeros((84, 1)), stays=jnp.ones((3, 1))), ("stays", "bool")),
    "stays's batch": (
        lambda s: ops.linear_lif(s, jnp.zeros((84, 1)), stays=jnp.ones((1, 1), bool)),
        ("stays", "[1, 1]", "[3, 1]"),
    ),
    "vmapped": (
        lambda s: (
            jax.vmap(lambda x: ops.linear_lif(ops.held(x[None], 2), jnp.zeros((84, 1)), membranes=True))(
                s.image
            ).membranes
        ),
        ("jax.vmap", "inside"),
    ),
    "kernel": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 4, 1))), ("kernel", "[3, 3, 4, 1]", "[6, 7, 2]")),
    "kernel's rank": (lambda s: ops.conv_lif(s, jnp.zeros((3, 2))), ("kernel", "[3, 2]")),
    "linear kernel": (lambda s: ops.linear_lif(s, jnp.zeros((3, 2))), ("kernel", "[3, 2]")),
    "kernel before a loop": (
        lambda s: ops.recurrent_lif(s, jnp.zeros((3, 2)), jnp.zeros(2)),
        ("kernel", "[3, 2]", "[6, 7, 2]"),
    ),
    "bias": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 2, 1)), jnp.zeros(2)), ("bias", "[2]", "[1]")),
    "dtype": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 2, 1), jnp.float16)), ("float16", "float32")),
    "beta": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 2, 1)), beta=jnp.ones(3)), ("beta", "[3]", "scalar")),
    "pool": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 2, 1)), pool="sum"), ("pool", "'sum'", "'max'")),
    "padding": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 2, 1)), padding=2), ("padding", "2", "0 to 1")),
    "reset": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 2, 1)), reset="clear"), ("reset", "'clear'")),
    "size": (lambda s: ops.conv_lif(s, jnp.zeros((7, 7, 2, 1))), ("output", "7 pixels")),
    "bits": (lambda s: ops.linear_lif(s, jnp.zeros((84, 1)), weight_bits=13), ("weight_bits", "13", "12")),
    "stays": (lambda s: ops.linear_lif(s, jnp.zeros((84, 1)), stays=jnp.ones((3, 2), bool)), ("stays", "[3, 2]")),
    "membranes": (lambda s: ops.linear_lif(s, jnp.zeros((84, 1))).membranes, ("membranes=True",)),
    "membranes's type": (lambda s: ops.linear_lif(s, jnp.zeros((84, 1)), membranes=1), ("membranes", "1")),
    "threshold": (lambda s: ops.linear_lif(s, jnp.zeros((84, 1)), threshold=jnp.ones(3)), ("threshold", "[3]")),
    "features": (lambda s: ops.conv_lif(ops.held(s.image[:, 0, 0], 2), jnp.zeros((1, 1, 2, 1))), ("kernel", "[2]")),
    "oblong kernel": (lambda s: ops.conv_lif(s, jnp.zeros((3, 2, 2, 1))), ("kernel", "[3, 2, 2, 1]")),
    "negative padding": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 2, 1)), padding=-1), ("padding", "-1")),
    "half a kernel": (lambda s: ops.conv_lif(s, jnp.zeros((2, 2, 2, 1)), padding=1), ("padding", "1", "0 to 0")),
    "added": (lambda s: ops.conv_lif(s, jnp.zeros((3, 3, 2, 1)), added=jnp.zeros((3, 20))), ("added", "[3, 320]")),
    "pointwise": (lambda s: ops.pointwise(s, jnp.zeros((3, 1))), ("kernel", "[3, 1]", "[6, 7, 2]")),
    "pointwise rank": (lambda s: ops.pointwise(s, jnp.zeros((2, 1, 1))), ("kernel", "[2, 1, 1]")),
    "pointwise features": (lambda s: ops.pointwise(ops.held(s.image[:, 0, 0], 2), jnp.zeros((2, 1))), ("[in, out]",)),
    "recurrent": (lambda s: ops.recurrent_lif(s, jnp.zeros((84, 2)), jnp.zeros((2, 3))), ("recurrent", "[2, 3]")),
    "recurrent type": (
        lambda s: ops.recurrent_lif(s, jnp.zeros((84, 2)), jnp.zeros(2, jnp.int32)),
        ("recurrent", "int32", "float32"),
    ),
    "vmapped density": (
        lambda s: jax.vmap(lambda x: ops.linear_lif(ops.held(x[None], 2), jnp.zeros((84, 1))))(s.image).density,
        ("jax.vmap", "inside"),
    ),
    "vmapped spikes": (
        lambda s: ops.linear_lif(jax.vmap(ops.pack)(jnp.ones((2, 1, 1, 4))), jnp.zeros((4, 1))),
        ("jax.vmap", "inside"),
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_arguments_are_refused(kind):
    call, words = WRONG[kind]
    with refusing(ValueError, *words):
        call(ops.held(jnp.zeros((3, 6, 7, 2)), 2))


GRIDS = {
    "kernel": ((np.zeros(3, np.float32),), ("kernel", "[3]")),
    "bias": ((np.zeros((2, 3), np.float32), np.zeros(2, np.float32)), ("bias", "[2]", "[3]")),
    "input_bits": ((np.zeros((2, 3), np.float32), None, 13), ("input_bits", "13", "0 to 12")),
    "input_step": ((np.zeros((2, 3), np.float32), None, 0, 0.3), ("input_step", "0.3", "power of two")),
    "pool": ((np.zeros((2, 3), np.float32), None, 0, 1.0, 3), ("pool", "3", "power of two")),
    "bits": ((np.zeros((2**20, 1), np.float32), None, 8), (f"{2**20:,}", "bits")),
    "type": ((np.zeros((2, 3), np.int32),), ("kernel", "int32")),
    "nothing": ((np.zeros((0, 3), np.float32),), ("kernel", "[0, 3]")),
    "bias type": ((np.zeros((2, 3), np.float32), np.zeros(3, np.int32)), ("bias", "int32")),
    "input_bits below": ((np.zeros((2, 3), np.float32), None, -1), ("input_bits", "-1")),
    "input_step's sign": ((np.zeros((2, 3), np.float32), None, 0, -1.0), ("input_step", "-1.0")),
    "no pool": ((np.zeros((2, 3), np.float32), None, 0, 1.0, 0), ("pool", "0")),
}


@pytest.mark.parametrize("kind", GRIDS)
def test_invalid_grids_are_refused(kind):
    arguments, words = GRIDS[kind]
    with refusing(ValueError, *words):
        ops.on_grid(*arguments)


@pytest.mark.parametrize(("settings", "bits", "finer"), [((), 20, 0), ((0, 0.5, 4), 18, 1), ((8, 1 / 256), 12, 8)])
def test_weights_are_rounded_to_multiples_whose_sums_float32_represents(settings, bits, finer):
    """In 24 bits: 5 inputs, a bias worth 8, and a pool of 4. Biases are multiples of a weight's step and an input's."""
    rng = np.random.default_rng(0)
    given = rng.uniform(-1, 1, (5, 3)).astype(np.float32), rng.uniform(-1, 1, 3).astype(np.float32)

    @jax.jit
    @partial(jax.grad, argnums=(0, 1), has_aux=True)
    def rounded(kernel, bias):
        made = ops.on_grid(kernel, bias, *settings)
        return 3 * (made[0].sum() + made[1].sum()), (made, ops.on_grid(kernel, None, *settings))

    slopes, (made, (alone, zeros)) = rounded(*given)
    for value, parameter, of_value in zip(given, made, (bits, bits + finer), strict=True):
        units = np.asarray(parameter) * 2.0**of_value
        assert (units == np.rint(units)).all() and 0 < abs(parameter - value).max() <= 0.5 / 2**of_value
    assert all((slope == 3).all() for slope in slopes) and (alone == made[0]).all() and not zeros.any()


def test_sizes_without_a_kernel_are_refused():
    with refusing(Unsupported, "kernel", "8", "7"):
        ops.conv_lif(ops.held(jnp.zeros((3, 9, 9, 2)), 2), jnp.zeros((8, 8, 2, 1)))

    def run(inputs):
        return jax.eval_shape(lambda x, kernel: ops.conv_lif(ops.held(x, 1), kernel, feeds=1).counts, *inputs)

    fits, more = ([jnp.zeros((1, 1, 1, size)), jnp.zeros((1, 1, size, 1))] for size in (65535, 65536))
    assert run(fits).shape == (1,)
    with refusing(Unsupported, 65536, 65535):
        run(more)


def test_invalid_inputs_are_refused():
    for call, words in (
        (lambda: ops.held(jnp.zeros((2, 3, 4)), 2), ("image", "[2, 3, 4]")),
        (lambda: ops.held(jnp.zeros((2, 3)), 0), ("time_steps", "0")),
        (lambda: ops.pack(jnp.zeros((2, 3))), ("x", "[2, 3]")),
        (lambda: ops.pack(jnp.zeros((2, 3, 4), jnp.int32)), ("int32", "uint8")),
        (lambda: ops.side_by_side([]), ("spikes", "[]")),
        (lambda: ops.side_by_side([jnp.zeros(3)]), ("expected spikes",)),
        (lambda: ops.side_by_side([ops.pack(jnp.zeros((2, 3, 2)), 2)]), ("counts",)),
        (lambda: ops.unpack(jnp.zeros((2, 3))), ("expected spikes",)),
        (lambda: ops.pack(ops.pack(jnp.zeros((2, 3, 2)))), ("packed already",)),
        (lambda: ops.pack(jnp.zeros((2, 0, 2))), ("[2, 0, 2]",)),
        (lambda: ops.pack(jnp.zeros((2, 3, 2)), 5), ("planes", "5", "1 to 4")),
        (lambda: ops.held(jnp.zeros((2, 3)), 2.5), ("time_steps", "2.5")),
        (lambda: ops.held(jnp.zeros((2, 3)), True), ("time_steps", "True")),
        (lambda: ops.held(jnp.zeros((2, 3), jnp.int32), 2), ("image", "int32")),
        (lambda: ops.held(jnp.zeros((2, 0)), 2), ("image", "[2, 0]")),
        (lambda: ops.held(ops.pack(jnp.zeros((2, 3, 2))), 2), ("image", "spikes")),
        (lambda: ops.side_by_side(ops.pack(jnp.zeros((2, 3, 2)))), ("spikes", "list")),
        (
            lambda: ops.side_by_side([ops.pack(jnp.zeros((2, 3, 1))), ops.pack(jnp.zeros((2, 4, 2)))]),
            ("differ",),
        ),
    ):
        with refusing(ValueError, *words):
            call()
