"""First and second derivatives of every output of both engines: the reference's, or an error. Never silently 0.

The reference (tests/helpers/reference_jax.py) was written from docs/design.md alone. Second derivatives are the
gradient of the gradient's product with a random direction.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_jax as reference
from flax import nnx
from reference_settings import settings_of
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.engine import event, scan
from csnn_jax.engine.library import Unsupported
from csnn_jax.network.model import CSNN, derivative_of, tensors
from csnn_jax.network.neuron import leaky
from csnn_jax.network.surrogate import atan, spike
from csnn_jax.update.objective import ce_membrane, ce_rate, mse_count

pytestmark = pytest.mark.numeric

BATCH = 2
SMALL = ModelConfig(
    input_shape=(5, 6, 2),
    conv_channels=(3,),
    hidden=(4,),
    num_classes=3,
    beta=(0.75, 0.5, 0.875),
    threshold=(1.0, 0.75, 0.5),
    learn_beta=True,
    learn_threshold=True,
    surrogate="atan",
    slope=1.0,
    time_steps=3,
)
NETWORKS = {
    "leaky": SMALL,
    # at least 32 channels, of which scan's products skip the silent ones
    "wide": replace(SMALL, conv_channels=(33, 34), hidden=(35,), num_classes=32, pool="none", beta=0.5, threshold=1.0),
    "strides, averages": replace(
        SMALL,
        stride=2,
        pool="avg",
        reset=("zero", "none", "subtract"),
        per_channel=("beta", "threshold"),
        surrogate="sigmoid",
        slope=2.0,
    ),
    "synaptic, pools after": replace(
        SMALL,
        neuron="synaptic",
        alpha=0.5,
        learn_alpha=True,
        per_channel=("beta", "alpha", "threshold"),
        reset=("clear", "zero", "subtract"),
        pool_after=True,
        surrogate="fast_sigmoid",
        slope=2.0,
    ),
    "synaptic integrator, no convolution": replace(
        SMALL,
        conv_channels=(),
        beta=(0.75, 0.5),
        threshold=(1.0, 0.75),
        neuron="synaptic",
        alpha=0.25,
        learn_alpha=True,
        reset=("none", "zero"),
        output="integrator",
    ),
}
ON_EVENT = ("leaky", "wide")
INTEGRATOR = replace(SMALL, output="integrator")


def network(config: ModelConfig, dtype: Any) -> tuple[dict[str, jax.Array], jax.Array]:
    """The tensors of a network in which every layer spikes, with torch's names and layouts, and an image for it."""
    drawn, rng = tensors(CSNN(config, 1)), np.random.default_rng(0)
    wider = {name: 4 * value + 0.1 if name.endswith("weight") else value for name, value in drawn.items()}
    values = {name: jnp.asarray(value, dtype) for name, value in wider.items()}
    return values, jnp.asarray(rng.integers(0, 257, (BATCH, *config.input_shape)) / 256, dtype)


def made(config: ModelConfig, values: dict[str, jax.Array], derivative: Callable | None = None) -> CSNN:
    """A network with these tensors, which JAX may be differentiating."""
    model = CSNN(config, derivative=derivative, dtype=values["fc1.weight"].dtype)
    for block in model.blocks:
        layer, weight = block.layer, values[f"{block.layer.name}.weight"]
        if layer.kind == "conv":
            kernel = weight.transpose(2, 3, 1, 0)
        else:
            *sizes, channels = layer.in_shape
            planes = (channels, *sizes)  # torch's order of features
            kernel = jnp.moveaxis(weight.reshape(-1, *planes), 1, -1).reshape(len(weight), -1).T
        block.kernel = nnx.Param(kernel)
        block.bias = nnx.Param(values[f"{layer.name}.bias"])
        for name in layer.neurons.stored:
            block.values[name] = nnx.Param(values[f"{layer.neurons.name}.{name}"])
    return model


def loss_of(arrays: Any) -> jax.Array:
    """Depends on each number linearly and quadratically, each with its own weight."""
    rng, total = np.random.default_rng(2), 0.0
    for array in jax.tree.leaves(arrays):
        weights = rng.normal(size=(2, *array.shape))
        total += (jnp.asarray(weights[0], array.dtype) * array + jnp.asarray(weights[1], array.dtype) * array**2).sum()
    return total


def derivatives(function: Callable, *arguments: Any, order: int = 2, jit: Callable = jax.jit) -> Any:
    """The first derivative, by all arguments, of a loss on what the function returns; or the second and the first.

    The second is the gradient of the first's product with a random direction.
    """
    everything = tuple(range(len(arguments)))

    def first(*arguments: Any) -> Any:
        return jax.grad(lambda *arguments: loss_of(function(*arguments)), everything)(*arguments)

    def along(*arguments: Any) -> tuple[jax.Array, Any]:
        rng, slopes = np.random.default_rng(3), first(*arguments)
        products = [(jnp.asarray(rng.normal(size=s.shape), s.dtype) * s).sum() for s in jax.tree.leaves(slopes)]
        return sum(products, jnp.zeros((), products[0].dtype)), slopes

    return jit(first if order == 1 else jax.grad(along, everything, has_aux=True))(*arguments)


CALLS: dict[str, Callable] = {
    "run": lambda e, m, x: e.run(m, x),
    "watch": lambda e, m, x: e.watch(m, x),
    "watch membranes": lambda e, m, x: e.watch(m, x, "membrane"),
    "trace": lambda e, m, x: e.trace(m, x),
    "tally": lambda e, m, x: e.tally(m, x),
}
"""(engine, model, x) -> what the engine returns."""
OUTPUTS: dict[str, tuple[str, Callable, Callable]] = {
    "run: last states": ("run", lambda r: r[0], lambda r: [states(layer, -1) for layer in r]),
    "run: output": ("run", lambda r: r[1], lambda r: r[-1]["spikes"]),
    "watch: spikes": ("watch", lambda r: r[0], lambda r: r[-1]["spikes"]),
    "watch: membranes": ("watch membranes", lambda r: r[0], lambda r: r[-1]["membrane"]),
    "watch: densities": ("watch", lambda r: r[1], lambda r: jnp.stack([s["spikes"].mean() for s in r])),
    "trace: last states": ("trace", lambda r: r[0], lambda r: [states(layer, -1) for layer in r]),
    "trace: states": ("trace", lambda r: r[1].states, lambda r: [states(layer) for layer in r]),
    "trace: spikes": ("trace", lambda r: r[1].spikes, lambda r: [layer["spikes"] for layer in r]),
    "tally: scores": ("tally", lambda r: r.scores, lambda r: r[-1]["spikes"].sum(0)),
    "tally: fired": ("tally", lambda r: r.fired, lambda r: fired(r)),
}
"""For each output of the engines: the call, what the call returns -> the output, the reference's layers -> the same."""
REFUSED_ON_EVENT = [name for name in OUTPUTS if not name.endswith((": output", ": spikes", "watch: membranes"))]


def states(layer: dict[str, jax.Array], step: Any = slice(None)) -> dict[str, jax.Array]:
    names = {"membrane": "mem", "synaptic": "syn"}
    return {names[name]: values[step] for name, values in layer.items() if name in names}


def fired(layers: list[dict[str, jax.Array]]) -> jax.Array:
    """Spikes of each image and layer."""
    return jnp.stack([s["spikes"].sum((0, *range(2, s["spikes"].ndim))) for s in layers], 1)


def of_engine(engine: Any, config: ModelConfig, output: Callable, dtype: Any, **options: Any) -> Any:
    return derivatives(lambda values, x: output(engine, made(config, values), x), *network(config, dtype), **options)


def of_reference(config: ModelConfig, output: Callable, **options: Any) -> Any:
    def function(values: Any, x: Any) -> Any:
        layers = reference.outputs(settings_of(config), values, x, dtype=x.dtype)
        return output(list(layers.values()))

    with jax.enable_x64(True):
        return derivatives(function, *network(config, jnp.float64), **options)


def assert_close(found: Any, expected: Any, bound: float) -> None:
    """Relative to the largest absolute value of each tensor, and nowhere 0."""
    pairs = zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True)
    for (path, one), other in pairs:
        one, other = np.asarray(one, np.float64), np.asarray(other)
        largest = np.abs(other).max()
        assert largest > 0, jax.tree_util.keystr(path)
        assert np.abs(one - other).max() <= bound * largest, jax.tree_util.keystr(path)


def all_of(names: Iterable[str]) -> tuple[Callable, Callable]:
    """Several outputs in one program, which takes less time to compile. Each has its own weights in the loss."""
    chosen = [OUTPUTS[name] for name in names]

    def ours(engine: Any, model: CSNN, x: jax.Array) -> list[Any]:
        results = {call: CALLS[call](engine, model, x) for call in dict.fromkeys(call for call, *_ in chosen)}
        return [output(results[call]) for call, output, _ in chosen]

    return ours, lambda layers: [same(layers) for *_, same in chosen]


def test_scan_equals_the_reference(x64):
    """For every output."""
    functions, same = all_of(OUTPUTS)
    assert_close(of_engine(scan, SMALL, functions, jnp.float64), of_reference(SMALL, same), 1e-10)


@pytest.mark.parametrize("kind", [name for name in NETWORKS if name != "leaky"])
def test_scan_equals_the_reference_for_other_networks(kind, x64):
    config = NETWORKS[kind]
    functions, same = all_of(["trace: states", "trace: spikes"])
    assert_close(of_engine(scan, config, functions, jnp.float64), of_reference(config, same), 1e-10)


@pytest.mark.parametrize("kind", ON_EVENT)
def test_event_equals_the_reference_once(kind):
    config, names = NETWORKS[kind], [name for name in OUTPUTS if name not in REFUSED_ON_EVENT]
    functions, same = all_of(names)
    found = of_engine(event, config, functions, jnp.float32, order=1)
    assert_close(found, of_reference(config, same, order=1), 1e-5)
    for name in names:
        with refusing(Unsupported, "second derivatives", "scan engine"):
            of_engine(event, config, all_of([name])[0], jnp.float32, jit=shapes_only)


def shapes_only(function: Callable) -> Callable:
    """Like `jax.jit`, but traces the function and doesn't run it."""
    return partial(jax.eval_shape, function)


def bare(function: Callable) -> Callable:
    return function


def in_scan(function: Callable) -> Callable:
    return lambda *arguments: jax.lax.scan(lambda carry, _: (carry, function(*arguments)), 0, length=1)[1]


@pytest.mark.parametrize("jit", [bare, jax.jit, jax.checkpoint, in_scan])
@pytest.mark.parametrize("output", REFUSED_ON_EVENT)
def test_other_gradients_on_event_are_refused(output, jit):
    """With respect to the model and to the input, each alone."""
    values, x = network(SMALL, jnp.float32)
    outputs, _ = all_of([output])
    function = jit(lambda values, x: outputs(event, made(SMALL, values), x))
    for argument in (0, 1):
        with refusing(Unsupported, "gradient through", "use"):
            jax.eval_shape(jax.grad(lambda *both: loss_of(function(*both)), argument), values, x)


def test_a_gradient_in_a_remat_or_a_scan_on_event_is_not_refused():
    values, x = network(SMALL, jnp.float32)
    outputs = [lambda values, x: event.run(made(SMALL, values), x)[1]]
    expected = derivatives(outputs[0], values, x, order=1)
    for jit in (jax.checkpoint, in_scan):
        assert_close(derivatives(jit(outputs[0]), values, x, order=1), expected, 1e-6)


@pytest.mark.parametrize("engine", [scan, event])
def test_run_of_an_integrator_returns_its_membranes(engine):
    values, x = network(INTEGRATOR, jnp.float32)
    membranes = scan.trace(made(INTEGRATOR, values), x)[1].membranes[-1]
    np.testing.assert_array_equal(engine.run(made(INTEGRATOR, values), x)[1], membranes)
    found = of_engine(engine, INTEGRATOR, lambda e, m, x: e.run(m, x)[1], jnp.float32, order=1)
    assert_close(found, of_reference(INTEGRATOR, lambda r: r[-1]["membrane"], order=1), 1e-5)


@pytest.mark.parametrize(("engine", "bound", "order"), [(scan, 1e-10, 2), (event, 1e-5, 1)])
def test_dropout_equals_the_reference(engine, bound, order):
    config, dtype = replace(SMALL, input_shape=(3, 4, 2)), jnp.float64 if engine is scan else jnp.float32
    kept = np.random.default_rng(5).random((BATCH, 1, 2, 3)) < 0.7
    masks = kept.reshape(BATCH, -1), np.array([[1, 0, 1, 1], [1, 1, 0, 1]], bool)
    dropout = scan.Dropout(tuple(map(jnp.asarray, masks)), 2.0)
    by_name = {"fc1": kept.transpose(0, 3, 1, 2).reshape(BATCH, -1), "fc2": masks[1]}

    def output(values: Any, x: Any) -> Any:
        layers = reference.outputs(settings_of(config) | {"dropout": 0.5}, values, x, by_name, x.dtype)
        return layers["fc2"]["spikes"]

    with jax.enable_x64(True):
        expected = derivatives(output, *network(config, jnp.float64), order=order)
    with jax.enable_x64(engine is scan):
        found = of_engine(engine, config, lambda e, m, x: e.watch(m, x, dropout=dropout)[0], dtype, order=order)
    assert_close(found, expected, bound)


@pytest.mark.parametrize(("engine", "bound", "order"), [(scan, 1e-10, 2), (event, 1e-5, 1)])
def test_sequences_equal_the_reference(engine, bound, order):
    """Frames of counts from 0 to 15."""
    config, dtype = replace(SMALL, scale=1.0, input_bits=4), jnp.float64 if engine is scan else jnp.float32
    frames = np.random.default_rng(6).integers(0, 16, (3, BATCH, *config.input_shape))

    def output(values: Any, x: Any) -> Any:
        return list(reference.outputs(settings_of(config), values, x, dtype=x.dtype).values())[-1]["spikes"]

    with jax.enable_x64(True):
        values, _ = network(config, jnp.float64)
        expected = derivatives(output, values, jnp.asarray(frames, jnp.float64), order=order)
    with jax.enable_x64(engine is scan):
        values, _ = network(config, dtype)
        x = jnp.asarray(frames, dtype)
        found = derivatives(lambda values, x: engine.run(made(config, values), x)[1], values, x, order=order)
    assert_close(found, expected, bound)


def test_learning_to_learn(x64):
    """The gradient of the loss after two steps of gradient descent by the learning rate and the first weights."""
    config = replace(SMALL, conv_channels=(), beta=(0.75, 0.5), threshold=(1.0, 0.75))
    values, x = network(config, jnp.float64)

    def after_training(spikes: Callable) -> Callable:
        def function(rate: jax.Array, values: Any) -> jax.Array:
            labels = jnp.array([0, 2])

            def step(values: Any, _: None) -> tuple[Any, None]:
                slopes = jax.grad(lambda values: ce_rate(spikes(values, x), labels))(values)
                return jax.tree.map(lambda value, slope: value - rate * slope, values, slopes), None

            values, _ = jax.lax.scan(step, values, length=2)
            return spikes(values, x)

        return function

    ours = after_training(lambda values, x: scan.run(made(config, values), x)[1])
    same = after_training(
        lambda values, x: reference.outputs(settings_of(config), values, x, dtype=x.dtype)["fc2"]["spikes"]
    )
    arguments = jnp.float64(0.1), values
    found, expected = (derivatives(function, *arguments, order=1) for function in (ours, same))
    assert_close(found, expected, 1e-10)


@pytest.mark.parametrize("loss", ["ce_rate", "ce_membrane", "mse_count"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_losses_equal_the_reference(loss, smoothing, x64):
    ours = {"ce_rate": ce_rate, "ce_membrane": ce_membrane, "mse_count": mse_count}[loss]
    output, labels = jnp.asarray(np.random.default_rng(7).normal(size=(4, 3, 5))), jnp.array([0, 4, 2])
    found = derivatives(lambda output: ours(output, labels, smoothing), output)
    assert_close(found, derivatives(lambda output: getattr(reference, loss)(output, labels, smoothing), output), 1e-10)


@pytest.mark.parametrize("surrogate", reference.SURROGATES)
def test_surrogates_equal_the_reference(surrogate, x64):
    """Where a derivative is constant, the second is 0."""
    config = replace(SMALL, surrogate=surrogate, slope=None)
    x = jnp.asarray(np.random.default_rng(8).normal(size=50) * 2)
    found = derivatives(lambda x: spike(x, derivative_of(config)), x)
    expected = derivatives(lambda x: reference.spike_with(reference.surrogate(settings_of(config)))(x), x)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_single_steps_equal_the_reference(reset, x64):
    """`CSNN.step` from any states, and `leaky` from any membrane."""
    config = replace(SMALL, reset=reset)
    values, x = network(config, jnp.float64)
    rng = np.random.default_rng(9)
    before = [jnp.asarray(rng.uniform(0.3, 1.3, (BATCH, *layer.out_shape))) for layer in config.layers]

    def stepped(values: Any, x: Any, before: Any) -> Any:
        after, spikes = made(config, values).step(tuple({"mem": membrane} for membrane in before), x)
        return [state["mem"] for state in after], spikes

    def same(values: Any, x: Any, before: Any) -> Any:
        names = {layer.name: {"membrane": membrane} for layer, membrane in zip(config.layers, before, strict=True)}
        layers = reference.outputs(settings_of(config) | {"time_steps": 1}, values, x, dtype=x.dtype, before=names)
        return [s["membrane"][0] for s in layers.values()], tuple(s["spikes"][0] for s in layers.values())

    assert_close(derivatives(stepped, values, x, before), derivatives(same, values, x, before), 1e-10)
    neurons = before[0], before[0] / 2, jnp.float64(0.75), jnp.float64(0.9)
    found = derivatives(lambda u, i, beta, theta: leaky(u, i, beta, theta, reset, atan), *neurons)
    assert_close(found, derivatives(lambda u, i, beta, theta: one_step(u, i, beta, theta, reset), *neurons), 1e-10)


def one_step(u: jax.Array, current: jax.Array, beta: jax.Array, theta: jax.Array, reset: str) -> Any:
    """The equations of docs/design.md."""
    fired = jax.lax.stop_gradient((u > theta).astype(u.dtype))
    kept = (1 - fired) * u if reset == "zero" else u
    u = beta * kept + current - (fired * theta if reset == "subtract" else 0)
    return u, reference.spike_with(lambda x: 1 / (1 + (jnp.pi * x) ** 2))(u - theta)


def test_forward_mode_raises():
    values, x = network(SMALL, jnp.float32)

    def loss(engine: Any) -> Callable:
        return lambda x: loss_of(engine.run(made(SMALL, values), x)[1])

    for engine in (scan, event):
        for function in (loss(engine), jax.grad(loss(engine))):
            with pytest.raises((TypeError, Unsupported), match=r"forward.mode"):  # inside jit, it's JAX's own error
                jax.jvp(function, (x,), (x,))


def test_vmap_is_refused_on_event_and_lax_map_is_not():
    values, x = network(SMALL, jnp.float32)
    model = made(SMALL, values)
    one = lambda image: event.run(model, image[None])[1][:, 0]  # noqa: E731
    for mapped in (jax.vmap(one), jax.jit(jax.vmap(one)), jax.vmap(jax.jit(one))):
        with refusing(Unsupported, "jax.vmap", "jax.lax.map"):
            mapped(x)
    together = event.run(model, x)[1].swapaxes(0, 1)
    np.testing.assert_array_equal(jax.lax.map(one, x), together)
    np.testing.assert_array_equal(jax.vmap(lambda image: scan.run(model, image[None])[1][:, 0])(x), together)
