"""First and second derivatives of every output of both engines: the reference's, or an error. Never silently 0.

The references (tests/helpers/reference_jax.py, and reference_graph.py for first derivatives, which is faster) were
written from docs/design.md alone. Second derivatives are the gradient of the gradient's product with a random
direction.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_chains
import reference_jax as reference
from flax import nnx
from reference_settings import settings_of
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.engine import event, scan
from csnn_jax.engine.library import Unsupported
from csnn_jax.network.model import CSNN, derivative_of, tensors
from csnn_jax.network.surrogate import spike
from csnn_jax.update.objective import ce_membrane, ce_rate, mse_count
from csnn_jax.window import Carry, output

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
BRIEF = replace(SMALL, hidden=(), beta=(0.75, 0.5), threshold=(1.0, 0.75))
"""It takes less time to trace."""
NETWORKS = {
    # at least 32 channels, of which scan's products skip the silent ones
    "wide, strides, averages": replace(
        BRIEF,
        conv_channels=(33, 34),
        time_steps=2,
        beta=(0.75, 0.5, 0.875),
        threshold=(1.0, 0.75, 0.5),
        stride=(2, 1),
        pool=("none", "avg"),
        reset=("zero", "none", "subtract"),
        per_channel=("beta", "threshold"),
        surrogate="sigmoid",
        slope=2.0,
    ),
    "synaptic, pools after, integrator": replace(
        SMALL,
        neuron="synaptic",
        alpha=0.5,
        learn_alpha=True,
        per_channel=("beta", "alpha", "threshold"),
        reset=("clear", "zero", "subtract"),
        pool_after=True,
        output="integrator",
        surrogate="fast_sigmoid",
        slope=2.0,
        time_steps=2,
    ),
}
INTEGRATOR = replace(BRIEF, conv_channels=(), hidden=(4,), output="integrator")


@cache
def tensors_of(config: ModelConfig) -> dict[str, np.ndarray]:
    """The tensors of a network in which every layer spikes, with torch's names and layouts."""
    return network_of_seed(config, 1)


def network_of_seed(config: ModelConfig, seed: int) -> dict[str, np.ndarray]:
    drawn = tensors(CSNN(config, seed))
    return {name: 4 * value + 0.1 if name.endswith("weight") else value for name, value in drawn.items()}


def image_for(config: ModelConfig) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 257, (BATCH, *config.input_shape)) / 256


def network(config: ModelConfig, dtype: Any) -> tuple[dict[str, jax.Array], jax.Array]:
    """A network's tensors, and an image for it."""
    values = {name: jnp.asarray(value, dtype) for name, value in tensors_of(config).items()}
    return values, jnp.asarray(image_for(config), dtype)


@cache
def shapes(config: ModelConfig) -> tuple[nnx.GraphDef, nnx.State]:
    """A network without values, which are traced once."""
    return nnx.split(nnx.eval_shape(lambda: CSNN(config)))


def made(config: ModelConfig, values: dict[str, jax.Array]) -> CSNN:
    """A network with these tensors, which JAX may be differentiating."""
    model = nnx.merge(*shapes(config))
    for name, own in model.weights.items():
        weight = values[f"{name}.weight"]
        if own.node.is_convolution:
            kernel = weight.transpose(2, 3, 1, 0)
        else:
            *sizes, channels = config.graph.unflattened(own.node)
            planes = (channels, *sizes)  # torch's order of features
            kernel = jnp.moveaxis(weight.reshape(-1, *planes), 1, -1).reshape(len(weight), -1).T
        own.kernel = nnx.Param(kernel)
        own.bias = nnx.Param(values[f"{name}.bias"])
    for name, neurons in model.neurons.items():
        for one in neurons.parameters:
            neurons.values[one] = nnx.Param(values[f"{name}.{one}"])
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
    "forward": lambda e, m, x: e.forward(m, x),
    "densities": lambda e, m, x: e.forward_with_densities(m, x),
    "densities membranes": lambda e, m, x: e.forward_with_densities(m, x, "membrane"),
    "trace": lambda e, m, x: e.trace(m, x),
    "count": lambda e, m, x: e.count(m, x),
}
"""(engine, model, x) -> what the engine returns."""
OUTPUTS: dict[str, tuple[str, Callable, Callable]] = {
    "forward: last states": ("forward", lambda r: r[0], lambda r: [states(layer, -1) for layer in r]),
    "forward: output": ("forward", lambda r: r[1], lambda r: r[-1]["spikes"]),
    "densities: spikes": ("densities", lambda r: r[0], lambda r: r[-1]["spikes"]),
    "densities: membranes": ("densities membranes", lambda r: r[0], lambda r: r[-1]["membrane"]),
    "densities: shares": ("densities", lambda r: r[1], lambda r: jnp.stack([s["spikes"].mean() for s in r])),
    "trace: last states": ("trace", lambda r: r[0], lambda r: [states(layer, -1) for layer in r]),
    "trace: states": ("trace", lambda r: r[1].states, lambda r: [states(layer) for layer in r]),
    "trace: spikes": ("trace", lambda r: r[1].spikes, lambda r: [layer["spikes"] for layer in r]),
    "count: scores": ("count", lambda r: r.scores, lambda r: r[-1]["spikes"].sum(0)),
    "count: fired": ("count", lambda r: r.fired, lambda r: fired(r)),
}
"""For each output of the engines: the call, what the call returns -> the output, the reference's layers -> the same."""


def states(layer: dict[str, jax.Array], step: Any = slice(None)) -> dict[str, jax.Array]:
    names = {"membrane": "mem", "synaptic": "syn"}
    return {names[name]: values[step] for name, values in layer.items() if name in names}


def fired(layers: list[dict[str, jax.Array]]) -> jax.Array:
    """Spikes of each image and layer."""
    return jnp.stack([s["spikes"].sum((0, *range(2, s["spikes"].ndim))) for s in layers], 1)


def of_engine(engine: Any, config: ModelConfig, output: Callable, dtype: Any, **options: Any) -> Any:
    return derivatives(lambda values, x: output(engine, made(config, values), x), *network(config, dtype), **options)


def of_reference(config: ModelConfig, output: Callable) -> Any:
    """The second derivatives."""

    def function(values: Any, x: Any) -> Any:
        layers = reference.outputs(settings_of(config), values, x, dtype=x.dtype)
        return output(list(layers.values()))

    with jax.enable_x64(True):
        return derivatives(function, *network(config, jnp.float64))


def of_numpy(config: ModelConfig, output: Callable, x: np.ndarray, masks: Any = None) -> Any:
    """The first derivatives, in float64."""
    values, settings = tensors_of(config), settings_of(config) | {"dropout": 0.5}
    layers = reference_chains.trace(settings, values, x, np.float64, masks)
    states = {name: {key: layer[key] for key in ("spikes", "membrane")} for name, layer in layers.items()}
    with jax.enable_x64(True):
        cotangents = jax.jit(jax.grad(lambda states: loss_of(output(list(states.values())))))(states)
    gradients = reference_chains.gradients(settings, values, x, jax.device_get(cotangents), masks=masks)
    return {name: gradients[name] for name in values}, gradients["x"]


def assert_close(actual: Any, expected: Any, bound: float) -> None:
    """Relative to the largest absolute value of each tensor, and nowhere 0."""
    pairs = zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True)
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


@pytest.mark.slow
def test_scan_equals_the_reference(x64):
    """For every output."""
    functions, same = all_of(OUTPUTS)
    assert_close(of_engine(scan, BRIEF, functions, jnp.float64), of_reference(BRIEF, same), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_scan_equals_the_reference_for_other_networks(kind, x64):
    config = NETWORKS[kind]
    functions, same = all_of(["trace: states", "trace: spikes"])
    assert_close(of_engine(scan, config, functions, jnp.float64), of_reference(config, same), 1e-10)


def test_event_equals_the_reference_once():
    """For every output; test_event.py has other networks."""
    functions, same = all_of(OUTPUTS)
    gradients = of_engine(event, SMALL, functions, jnp.float32, order=1)
    assert_close(gradients, of_numpy(SMALL, same, image_for(SMALL)), 1e-5)


@pytest.mark.parametrize("name", OUTPUTS)
def test_second_derivatives_on_event_are_refused(name):
    with refusing(Unsupported, "second derivatives", "scan engine"):
        of_engine(event, BRIEF, all_of([name])[0], jnp.float32, jit=shapes_only)


def shapes_only(function: Callable) -> Callable:
    """Like `jax.jit`, but traces the function and doesn't run it."""
    return partial(jax.eval_shape, function)


def in_scan(function: Callable) -> Callable:
    return lambda *arguments: jax.lax.scan(lambda carry, _: (carry, function(*arguments)), 0, length=1)[1]


def test_a_gradient_in_a_remat_or_a_scan_on_event_is_not_refused():
    expected = of_numpy(BRIEF, lambda r: r[-1]["spikes"], image_for(BRIEF))
    for jit in (jax.checkpoint, in_scan):
        function = jit(lambda values, x: event.forward(made(BRIEF, values), x)[1])
        assert_close(derivatives(function, *network(BRIEF, jnp.float32), order=1), expected, 1e-5)


@pytest.mark.parametrize("engine", [scan, event])
def test_run_of_an_integrator_returns_its_membranes(engine):
    values, x = network(INTEGRATOR, jnp.float32)

    def run(values: Any, x: Any) -> tuple[jax.Array, ...]:
        model = made(INTEGRATOR, values)
        return engine.forward(model, x)[1], output(INTEGRATOR, *engine.trace(model, x)[1])

    np.testing.assert_array_equal(*jax.jit(run)(values, x))
    gradients = of_engine(engine, INTEGRATOR, lambda e, m, x: e.forward(m, x)[1], jnp.float32, order=1)
    assert_close(gradients, of_numpy(INTEGRATOR, lambda r: r[-1]["membrane"], image_for(INTEGRATOR)), 1e-5)


@pytest.mark.parametrize(
    ("engine", "bound", "order"), [pytest.param(scan, 1e-10, 2, marks=pytest.mark.slow), (event, 1e-5, 1)]
)
def test_sequences_with_dropout_equal_the_reference(engine, bound, order):
    """Frames of counts from 0 to 15."""
    config = replace(SMALL, input_shape=(3, 4, 2), scale=1.0, input_bits=4)
    frames = np.random.default_rng(6).integers(0, 16, (3, BATCH, *config.input_shape))
    first_mask = np.random.default_rng(5).random((BATCH, 1, 2, 3)) < 0.7
    masks = first_mask.reshape(BATCH, -1), np.array([[1, 0, 1, 1], [1, 1, 0, 1]], bool)
    dropout = scan.Dropout(tuple(map(jnp.asarray, masks)), 2.0)
    by_name = {"fc1": first_mask.transpose(0, 3, 1, 2).reshape(BATCH, -1), "fc2": masks[1]}

    def ours(values: Any, x: Any) -> Any:
        return engine.forward_with_densities(made(config, values), x, dropout=dropout)[0]

    def same(values: Any, x: Any) -> Any:
        layers = reference.outputs(settings_of(config) | {"dropout": 0.5}, values, x, by_name, x.dtype)
        return layers["fc2"]["spikes"]

    with jax.enable_x64(engine is scan):
        dtype = jnp.float64 if engine is scan else jnp.float32
        arguments = network(config, dtype)[0], jnp.asarray(frames, dtype)
        gradients = derivatives(ours, *arguments, order=order)
        if engine is scan:
            expected = derivatives(same, *arguments)
        else:
            expected = of_numpy(config, lambda r: r[-1]["spikes"], frames.astype(float), by_name)
    assert_close(gradients, expected, bound)


@pytest.mark.slow
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

    ours = after_training(lambda values, x: scan.forward(made(config, values), x)[1])
    same = after_training(
        lambda values, x: reference.outputs(settings_of(config), values, x, dtype=x.dtype)["fc2"]["spikes"]
    )
    arguments = jnp.float64(0.1), values
    gradients, expected = (derivatives(function, *arguments, order=1) for function in (ours, same))
    assert_close(gradients, expected, 1e-10)


@pytest.mark.parametrize("loss", ["ce_rate", "ce_membrane", "mse_count"])
def test_losses_equal_the_reference(loss, x64):
    """With and without label smoothing."""
    ours = {"ce_rate": ce_rate, "ce_membrane": ce_membrane, "mse_count": mse_count}[loss]
    output, labels = jnp.asarray(np.random.default_rng(7).normal(size=(4, 3, 5))), jnp.array([0, 4, 2])
    for smoothing in (0.0, 0.2):
        gradients = derivatives(lambda output, share=smoothing: ours(output, labels, share), output)
        same = derivatives(lambda output, share=smoothing: getattr(reference, loss)(output, labels, share), output)
        assert_close(gradients, same, 1e-10)


@pytest.mark.parametrize("surrogate", reference.SURROGATES)
def test_surrogates_equal_the_reference(surrogate, x64):
    """Where a derivative is constant, the second is 0."""
    config = replace(SMALL, surrogate=surrogate, slope=None)
    x = jnp.asarray(np.random.default_rng(8).normal(size=50) * 2)
    gradients = derivatives(lambda x: spike(x, derivative_of(config)), x)
    expected = derivatives(lambda x: reference.spike_with(reference.surrogate(settings_of(config)))(x), x)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


def test_single_steps_equal_the_reference(x64):
    """From any states."""
    config = replace(BRIEF, reset=("zero", "subtract"))
    values, x = network(config, jnp.float64)
    rng = np.random.default_rng(9)
    before = [jnp.asarray(rng.uniform(0.3, 1.3, (BATCH, *node.shape))) for node in config.graph.neurons]

    def stepped(values: Any, x: Any, before: Any) -> Any:
        names = [node.name for node in config.graph.neurons]
        carry = Carry({name: {"mem": membrane} for name, membrane in zip(names, before, strict=True)}, {})
        after, spikes = made(config, values).step(carry, x)
        return [after.states[name]["mem"] for name in names], spikes

    def same(values: Any, x: Any, before: Any) -> Any:
        names = {node.name: {"membrane": one} for node, one in zip(config.graph.weighted, before, strict=True)}
        layers = reference.outputs(settings_of(config) | {"time_steps": 1}, values, x, dtype=x.dtype, before=names)
        return [s["membrane"][0] for s in layers.values()], tuple(s["spikes"][0] for s in layers.values())

    assert_close(derivatives(stepped, values, x, before), derivatives(same, values, x, before), 1e-10)


# For vmap on the event engine, see tests/csnn_jax/ops/test_networks.py.


def test_vmap_over_images_equals_the_batch():
    values, x = network(BRIEF, jnp.float32)
    model = made(BRIEF, values)
    together = jax.jit(lambda x: scan.forward(model, x)[1].swapaxes(0, 1))(x)
    one = lambda image: scan.forward(model, image[None])[1][:, 0]  # noqa: E731
    for mapped in (jax.vmap(one), lambda x: jax.lax.map(one, x)):
        np.testing.assert_array_equal(jax.jit(mapped)(x), together)


@pytest.mark.parametrize("engine", [pytest.param(scan, marks=pytest.mark.slow), event])
def test_vmap_over_networks_equals_a_loop(engine):
    """Spikes of several networks, and their gradients; XLA may add up scan's in another order."""
    config, x = replace(BRIEF, learn_beta=False), network(BRIEF, jnp.float32)[1]
    networks = [as_float32(network_of_seed(config, seed)) for seed in range(3)]

    def cost(values: Any) -> tuple[jax.Array, Any]:
        trace = engine.trace(made(config, values), x)[1]
        return loss_of(trace.spikes), trace

    gradient = jax.jit(jax.grad(cost, has_aux=True))
    slopes, traces = jax.jit(jax.vmap(gradient))(jax.tree.map(lambda *each: jnp.stack(each), *networks))
    for index, values in enumerate(networks):
        slope, trace = gradient(values)
        jax.tree.map(lambda mapped, one, i=index: np.testing.assert_array_equal(mapped[i], one), traces, trace)
        mapped_slope = jax.tree.map(lambda array, i=index: array[i], slopes)
        if engine is event:
            jax.tree.map(np.testing.assert_array_equal, mapped_slope, slope)
        else:
            assert_close(mapped_slope, slope, 1e-5)


def as_float32(values: Any) -> Any:
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), values)
