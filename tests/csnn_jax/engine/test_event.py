"""The event engine's gradients against scan's, its refusals, and any thread count and instruction set.

tests/test_matrix.py compares what it computes; tests/csnn_jax/engine/test_derivatives.py compares derivatives of small
networks with a reference.
"""

import functools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import commands
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import ENVIRONMENT
from flax import nnx
from networks import COUNTS, IMAGES, NETWORKS, RECIPES, Network, Recipe, made, network
from reasons import REASONS
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.data import dropout
from csnn_jax.data.entry import as_floats
from csnn_jax.engine import event, scan
from csnn_jax.network import surrogate
from csnn_jax.network.model import CSNN, from_tensors
from csnn_jax.update.objective import ce_membrane, ce_rate

pytestmark = pytest.mark.numeric

SMALL = ModelConfig((13, 10, 2), conv_channels=(20, 7), hidden=(70,), num_classes=5, time_steps=36)
DERIVATIVES = dict(surrogate.BY_NAME) | {
    "fast_sigmoid, slope 3": functools.partial(surrogate.fast_sigmoid, slope=3.0),
    "the user's": lambda x: jnp.exp(-3 * x * x),
}


def build(one: Network) -> tuple[CSNN, jax.Array]:
    """The network in JAX, and its input as floats, for which there are gradients."""
    return from_tensors(one.config, one.masters), jnp.asarray(as_floats(one.x, one.config))


def changed(dark: int | None = None, gain: float = 2.0, **changes) -> tuple[CSNN, jax.Array]:
    """`SMALL` with changes; `dark` is as in `Recipe`."""
    return build(made(Recipe(replace(SMALL, **changes), gain, dark=dark), 1))


def trained(engine, model: CSNN, x: jax.Array, reads="spikes", dropped: scan.Dropout | None = None):
    """((loss, (output, densities)), gradients of the parameters and the input) of a batch."""
    graphdef, params = nnx.split(model)
    labels = jnp.arange(IMAGES) % model.config.num_classes

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def compute(params, x):
        output, densities = engine.watch(nnx.merge(graphdef, params), x, reads, dropped)
        return (ce_membrane if reads == "membrane" else ce_rate)(output, labels), (output, densities)

    return jax.device_get(compute(params, x))


def check_training(model: CSNN, x: jax.Array, *how) -> np.ndarray:
    """Checks the loss, output, densities and gradients against the scan engine; returns the output."""
    (loss, (output, densities)), (gradient, of_x) = trained(scan, model, x, *how)
    (own_loss, (own_output, own_densities)), (own_gradient, own_of_x) = trained(event, model, x, *how)
    np.testing.assert_array_equal(own_output, output)
    np.testing.assert_allclose(own_densities, densities, rtol=1e-6)
    assert own_loss == pytest.approx(float(loss), rel=1e-6)
    assert all(np.linalg.norm(block.kernel) > 0 for block in nnx.merge(nnx.graphdef(model), gradient).blocks)
    for (path, got), want in zip(jax.tree.leaves_with_path(own_gradient), jax.tree.leaves(gradient), strict=True):
        # An output layer's threshold may get no gradient if its membranes are read.
        assert np.linalg.norm(got - want) <= 5e-5 * np.linalg.norm(want) + 1e-6, jax.tree_util.keystr(path)
    # Saliency maps and attacks use the input's gradient, which is dense even where a sequence is 0.
    assert x.ndim == 4 or (of_x[np.asarray(x) == 0] != 0).any()
    np.testing.assert_allclose(own_of_x, of_x, rtol=0, atol=1e-4 * np.abs(of_x).max())
    return output


FAST = (
    *("dark half", "reset for each layer", "full blocks, 70 steps", "kernel 1, learned", "averages, zero, 3 bits"),
    *("even kernels, integrator, 6 bits", "1,030 channels", "counts, five channels", "counts that end"),
)
"""The networks whose gradients the default tests compare."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST))
        for name in NETWORKS
        if name not in REASONS["event"] and not RECIPES[name].power  # slopes there are near 0
    ],
)
def test_the_gradients_of_a_network_equal_the_scan_engines(name):
    model, x = build(network(name))
    check_training(model, x, "membrane" if model.config.output == "integrator" else "spikes")


AVERAGE, LEARNED = dict(pool="avg", reset="zero"), dict(learn_beta=True, learn_threshold=True)
TRAINED = {
    "membranes, learned": (LEARNED, "membrane", False),
    "membranes after a convolution": (dict(hidden=(), surrogate="straight_through"), "membrane", False),
    "integrator": (dict(output="integrator", reset="zero", surrogate="sigmoid") | LEARNED, "membrane", True),
    "dropout, zero, avg pool, two hidden": (AVERAGE | dict(hidden=(40, 21)), "spikes", True),
    "dropout after a convolution": (dict(hidden=(), surrogate="sigmoid", slope=3.0), "membrane", True),
    "averages, a dark half": (dict(pool="avg", input_shape=(12, 24, 2), dark=14), "spikes", False),
}


def dropped(model: CSNN) -> scan.Dropout:
    """Drops half of the neurons; doubled weights are still multiples of the unit."""
    return scan.Dropout(tuple(map(jnp.asarray, dropout.draw(model.config, 0.5, 0, 0, IMAGES))), 2.0)


@pytest.mark.parametrize(("changes", "reads", "drops"), TRAINED.values(), ids=TRAINED.keys())
def test_the_gradient_equals_the_scan_engines(changes, reads, drops):
    model, x = changed(**changes)
    output = check_training(model, x, reads, dropped(model) if drops else None)
    if drops:
        assert not np.array_equal(scan.watch(model, x, reads)[0], output)


@pytest.fixture(scope="module")
def high() -> tuple[CSNN, jax.Array]:
    """A network with membranes above 2, below which sparse_fast_sigmoid is 0."""
    return changed(conv_channels=(), hidden=(18,), time_steps=32, beta=0.9, reset="none")


@pytest.mark.parametrize("derivative", DERIVATIVES.values(), ids=DERIVATIVES.keys())
def test_gradients_of_every_surrogate(derivative, high):
    model, x = high
    for block in model.blocks:
        block.derivative = derivative
    check_training(model, x)


@pytest.mark.parametrize(
    ("changes", "wrong", "fact", "most"),
    [
        (COUNTS, lambda x: x.at[0, 0, 0, 0, 0].set(16), "0 to 15", 15),
        (COUNTS, lambda x: x.at[0, 0, 0, 0, 0].set(-1), -1, 15),
        (COUNTS, lambda x: x.at[-1].set(jnp.nan), "nan", 15),
        (dict(encoding="rate"), lambda x: 2 * x, "0 to 1", 1),
    ],
)
def test_other_sequences_are_refused(changes, wrong, fact, most):
    model = CSNN(replace(SMALL, **changes))
    x = wrong(jnp.ones((36, IMAGES, 13, 10, 2)))
    with refusing(ValueError, "x", fact):
        event.tally(model, x)
    with refusing(jax.errors.JaxRuntimeError, f"0 to {most}", "sequence"):
        jax.block_until_ready(jax.jit(lambda x: event.tally(model, x))(x))


CHILD = """
import os, sys; sys.path[:0] = sys.argv[2:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[1])])
import hashlib, jax, numpy as np
from test_event import changed, event, trained
digest = hashlib.sha256()
for surrogate in ("fast_sigmoid", "sigmoid"):
    model, x = changed(time_steps=30, hidden=(), surrogate=surrogate)
    output, (gradient, _) = trained(event, model, x)  # XLA computes the input's gradient, which training doesn't need
    for leaf in jax.tree.leaves((output, gradient, event.tally(model, x))):
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
