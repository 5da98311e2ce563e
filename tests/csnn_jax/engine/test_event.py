"""The event engine's gradients against the NumPy reference's, its refusals, and any threads and instruction set.

tests/test_matrix.py compares what it computes.
"""

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import commands
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_graph as reference
from chain_recipes import COUNTS, Recipe
from commands import ENVIRONMENT
from flax import nnx
from networks import IMAGES, NETWORKS, RECIPES, Network, made, network
from reasons import REASONS
from reference_settings import settings_of
from refusals import refusing

from csnn_jax.config import ModelConfig, surrogate_of
from csnn_jax.config.operations import Linear
from csnn_jax.data import batches
from csnn_jax.data.images import as_floats
from csnn_jax.engine import event, scan
from csnn_jax.network import surrogate
from csnn_jax.network.model import CSNN, from_tensors, tensors
from csnn_jax.update.objective import ce_membrane, ce_rate

pytestmark = pytest.mark.numeric

SMALL = ModelConfig((13, 10, 2), conv_channels=(20, 7), hidden=(70,), num_classes=5, time_steps=36)
ELSEWHERE = ("atan", "sigmoid", "straight_through")  # in `TRAINED` and test_derivatives.py
DERIVATIVES = {name: dict(surrogate=name) for name in surrogate.BY_NAME if name not in ELSEWHERE} | {
    "fast_sigmoid, slope 3": dict(surrogate="fast_sigmoid", slope=3.0),
    "the user's": dict(surrogate="heaviside"),
}


def build(one: Network) -> tuple[CSNN, jax.Array]:
    """The network in JAX, and its input as floats, for which there are gradients."""
    return from_tensors(one.config, one.masters), jnp.asarray(as_floats(one.x, one.config))


def recipe(dark: int | None = None, gain: float = 2.0, **changes) -> Network:
    """`SMALL` with changes; `dark` is as in `Recipe`."""
    return made(Recipe(replace(SMALL, **changes), gain, dark=dark), 1)


def trained(model: CSNN, x: jax.Array, reads="spikes", dropped: scan.Dropout | None = None):
    """((loss, (output, densities)), gradients of the parameters and the input) of a batch."""
    graphdef, params = nnx.split(model)
    labels = jnp.arange(IMAGES) % model.config.num_classes

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def compute(params, x):
        output, densities = event.forward_with_densities(nnx.merge(graphdef, params), x, reads, dropped)
        return (ce_membrane if reads == "membrane" else ce_rate)(output, labels), (output, densities)

    return jax.device_get(compute(params, x))


def cross_entropy(output: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss of `trained` on an output, and its gradient."""
    steps, images, classes = output.shape
    powers, right = np.exp(output.astype(float)), np.eye(classes)[np.arange(images) % classes]
    shares = powers / powers.sum(-1, keepdims=True)
    return -np.log((shares * right).sum(-1)).mean(), (shares - right) / (steps * images)


def check_training(one: Network, reads="spikes", drops: bool = False, derivative: Callable | None = None) -> None:
    """Checks the loss, output, densities and gradients against the reference.

    Args:
        one: the network.
        reads: the output that the loss takes, spikes or membranes.
        drops: whether to drop half of the neurons; doubled weights are still multiples of the unit.
        derivative: a surrogate instead of the network's.
    """
    model, x = build(one)
    config, half, factors = one.config, None, None
    settings = settings_of(config) | {"surrogate": derivative or surrogate_of(config)}
    if drops:
        half = scan.Dropout(tuple(map(jnp.asarray, batches.dropout_masks(config, 0.5, 0, 0, IMAGES))), 2.0)
        droppable = config.graph.feeding(Linear)
        factors = {
            node.name: 2.0 * np.asarray(mask).reshape(IMAGES, *node.shape)
            for node, mask in zip(droppable, half.masks, strict=True)
        }
    if derivative is not None:
        for neurons in model.neurons.values():
            neurons.derivative = derivative
    (own_loss, (own_output, own_densities)), (own_gradient, own_of_x) = trained(model, x, reads, half)

    given = one.described, settings, one.masters, np.asarray(x)
    forward = reference.trace(*given, masks=factors)
    layers = {node.name: forward[node.name] for node in config.graph.neurons}
    *_, (last, states) = layers.items()
    output = states[reads]
    assert not drops or not np.array_equal(output, one.layers[last][reads])
    loss, cotangent = cross_entropy(output)
    gradient = reference.gradients(*given, {last: {reads: cotangent}}, forward, factors)
    np.testing.assert_array_equal(own_output, output)
    np.testing.assert_allclose(own_densities, [layer["spikes"].mean() for layer in layers.values()], rtol=1e-6)
    assert own_loss == pytest.approx(loss, rel=1e-6)
    for name, got in tensors(nnx.merge(nnx.graphdef(model), own_gradient)).items():
        want = gradient.get(name, np.zeros_like(got))  # that of an exponent is 0
        assert np.linalg.norm(want) > 0 or not name.endswith("weight")
        # An output layer's threshold may get no gradient if its membranes are read.
        assert np.linalg.norm(got - want) <= 5e-5 * np.linalg.norm(want) + 1e-6, name
    # Saliency maps and attacks use the input's gradient, which is dense even where a sequence is 0.
    of_x = gradient["x"]
    assert x.ndim == 4 or (of_x[np.asarray(x) == 0] != 0).any()
    np.testing.assert_allclose(own_of_x, of_x, rtol=0, atol=1e-4 * np.abs(of_x).max())


FAST = (
    *("reset for each layer", "kernel 1, learned", "averages, zero, 3 bits", "1,030 channels"),
    "counts, five channels",
)
"""The networks whose gradients the default tests compare."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST))
        for name in NETWORKS
        if name not in REASONS["event"] and not RECIPES[name].power  # slopes there are near 0
        if RECIPES[name].config.graph.is_chain  # recurrent layers: tests/csnn_jax/ops
    ],
)
def test_the_gradients_of_a_network_equal_the_references(name):
    one = network(name)
    check_training(one, "membrane" if one.config.output == "integrator" else "spikes")


AVERAGE, LEARNED = dict(pool="avg", reset="zero"), dict(learn_beta=True, learn_threshold=True)
TRAINED = {
    "membranes, learned": (LEARNED, "membrane", False),
    "membranes after a convolution": (dict(hidden=(), surrogate="straight_through"), "membrane", False),
    "integrator": (dict(output="integrator", reset="zero", surrogate="sigmoid") | LEARNED, "membrane", True),
    "dropout, zero, avg pool, two hidden": (AVERAGE | dict(hidden=(40, 21)), "spikes", True),
    "dropout after a convolution": (dict(hidden=(), surrogate="sigmoid", slope=3.0), "membrane", True),
    "averages, a dark half": (dict(pool="avg", input_shape=(12, 24, 2), dark=14), "spikes", False),
}


@pytest.mark.parametrize(("changes", "reads", "drops"), TRAINED.values(), ids=TRAINED.keys())
def test_the_gradient_equals_the_references(changes, reads, drops):
    check_training(recipe(**changes), reads, drops)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_gradients_of_every_surrogate(name):
    """With membranes above 2, below which sparse_fast_sigmoid is 0."""
    one = recipe(
        conv_channels=(), hidden=(), num_classes=18, time_steps=32, beta=0.9, reset="none", **DERIVATIVES[name]
    )
    check_training(one, derivative=bell if name == "the user's" else None)


def bell(x):
    return np.exp(-3 * x * x) if isinstance(x, np.ndarray) else jnp.exp(-3 * x * x)


@pytest.mark.parametrize(
    ("changes", "wrong", "fact", "most"),
    [
        (COUNTS, 16, "0 to 15", 15),
        (COUNTS, -1, -1, 15),
        (COUNTS, np.nan, "nan", 15),
        (dict(encoding="rate"), 2, "0 to 1", 1),
    ],
)
def test_other_sequences_are_refused(changes, wrong, fact, most):
    model = CSNN(replace(SMALL, conv_channels=(), hidden=(), **changes))
    x = np.ones((36, IMAGES, 13, 10, 2), np.float32)
    x[-1, 0, 0, 0, 0] = wrong
    with refusing(ValueError, "x", fact):
        event.count(model, x)
    with refusing(jax.errors.JaxRuntimeError, f"0 to {most}", "sequence"):
        jax.block_until_ready(jax.jit(lambda x: event.count(model, x))(x))


CHILD = """
import os, sys; sys.path[:0] = sys.argv[2:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[1])])
import hashlib, jax, numpy as np
from test_event import build, event, recipe, trained
digest = hashlib.sha256()
for surrogate in ("fast_sigmoid", "sigmoid"):
    model, x = build(recipe(time_steps=30, hidden=(), surrogate=surrogate))
    output, (gradient, _) = trained(model, x)  # XLA computes the input's gradient, which training doesn't need
    for leaf in jax.tree.leaves((output, gradient, event.count(model, x))):
        digest.update(np.asarray(leaf).tobytes())
print(digest.hexdigest())
"""


def digest(threads: int, isa: str = "") -> str:
    environment = ENVIRONMENT | ({"CSNN_ISA": isa} if isa else {})
    places = [Path(__file__).parent, Path(commands.__file__).parent]
    command = [sys.executable, "-c", CHILD, str(threads), *map(str, places)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_any_number_of_threads_and_every_instruction_set_give_the_same_bits():
    flags = Path("/proc/cpuinfo").read_text()
    cases = [(1, "baseline"), (2, "avx2" if " avx2 " in flags else "baseline")]
    cases += [(3, "avx512")] * (" avx512vl " in flags)
    digests = {case: digest(*case) for case in cases}
    assert len(set(digests.values())) == 1, digests
