"""The event engine against scan: spikes, gradients, refusals; any thread count and instruction set."""

import functools
import subprocess
import sys
from pathlib import Path

import commands
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import ENVIRONMENT
from flax import nnx

from csnn_jax.config import ModelConfig
from csnn_jax.data import dropout
from csnn_jax.engine import event, scan
from csnn_jax.network import surrogate
from csnn_jax.network.model import CSNN
from csnn_jax.update.objective import ce_membrane, ce_rate

pytestmark = pytest.mark.numeric

BATCH, UNIT = 5, 4096
SMALL = dict(input_shape=(13, 10, 2), conv_channels=(20, 7), hidden=(70,), num_classes=5, time_steps=36)
STACKS = {
    "two conv": {},
    "three conv, a reset for each layer": dict(
        input_shape=(17, 16, 1), conv_channels=(6, 33, 17), hidden=(), threshold=0.7, reset=("none", "zero") * 2
    ),
    "blocks of 32 and 16 channels, all of which exist": dict(conv_channels=(16, 48), hidden=()),
    "output layer only": dict(conv_channels=(), hidden=()),
    "kernel 1, beta 0": dict(kernel_size=1, beta=0.0),
    "no padding": dict(kernel_size=(5, 2), padding="valid", input_shape=(17, 15, 1)),
    "no pool, no bias": dict(pool="none", padding="valid", bias=False, conv_channels=(20, 7, 4)),
    "a pool after the first": dict(pool=("avg", "none"), padding=("same", "valid"), kernel_size=(3, 4)),
    "beta 1": dict(beta=1.0, time_steps=20),
    "avg pool, reset zero, 3 bits": dict(pool="avg", reset="zero", weight_bits=3),
    "learned beta and threshold": dict(learn_beta=True, learn_threshold=True, beta=0.6),
    "more than 64 steps": dict(time_steps=70, hidden=()),
    "many constant channels": dict(input_shape=(4, 5, 1), conv_channels=(1030, 3), hidden=(), time_steps=12),
    "2,100 inputs, whose weights have 12 bits": dict(conv_channels=(), hidden=(2100,)),
}
DERIVATIVES = dict(surrogate.BY_NAME) | {
    "fast_sigmoid, slope 3": functools.partial(surrogate.fast_sigmoid, slope=3.0),
    "the user's": lambda x: jnp.exp(-3 * x * x),
}


def build(sequence: int = 0, bright: int | None = None, **changes) -> tuple[CSNN, jax.Array]:
    """A network whose every layer fires, and images or a sequence of random counts up to `sequence`.

    Weights and pixels are multiples of one power of two, so float32 sums them exactly in any order, and membranes
    equal scan's on every processor. `bright`: the images are 0 from this column on.
    """
    counts = dict(scale=1.0, input_bits=(sequence - 1).bit_length()) if sequence else {}
    config = ModelConfig(**(SMALL | counts | changes))
    model = CSNN(config, 3)
    generator = np.random.default_rng(1)
    x = generator.integers(0, 17, (BATCH, *config.input_shape)) / 16
    x[:, :, bright or config.input_shape[1] :] = 0
    if sequence:
        shape = (config.time_steps, *x.shape)
        share = 0.4 if sequence == 1 else 0.1
        x = (generator.random(shape) < share) * generator.integers(1, sequence, shape, endpoint=True)
    x = jnp.asarray(x, jnp.float32)
    for i, block in enumerate(model.blocks):
        original = np.asarray(block.kernel[...])
        if block.bias is not None:
            block.bias[...] = jnp.round(block.bias[...] * UNIT) / UNIT
        for scale in (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0):
            block.kernel[...] = jnp.asarray(np.round(original * scale * UNIT) / UNIT)
            if block.exponents is not None:
                block.exponents[...] = block.best_exponents(jnp.sum)
            if densities(model, jitted(event.tally, model, x))[i] > 0.04:
                break
    return model, x


_compiled = {}


def jitted(function, model: CSNN, x: jax.Array):
    """`function(model, x)`, compiled once for each network."""
    graphdef, params = nnx.split(model)
    key = function, id(model)
    if key not in _compiled:
        _compiled[key] = model, jax.jit(lambda params, x: function(nnx.merge(graphdef, params), x))
    return _compiled[key][1](params, x)


def densities(model: CSNN, tally: scan.SpikeCounts) -> np.ndarray:
    neurons = np.array([np.prod(layer.out_shape) for layer in model.config.layers])
    return np.asarray(tally.fired).sum(0) / neurons / BATCH / model.config.time_steps


def trained(engine, model: CSNN, x: jax.Array, reads="spikes", dropped: scan.Dropout | None = None):
    """((loss, (output, densities)), gradient) of a batch."""
    graphdef, params = nnx.split(model)
    labels = jnp.arange(BATCH) % model.config.num_classes

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def compute(params):
        output, densities = engine.watch(nnx.merge(graphdef, params), x, reads, dropped)
        return (ce_membrane if reads == "membrane" else ce_rate)(output, labels), (output, densities)

    return jax.device_get(compute(params))


def check_training(model: CSNN, x: jax.Array, *how) -> np.ndarray:
    """Checks the loss, output, densities and gradient against the scan engine; returns the output."""
    (loss, (output, densities)), gradient = trained(scan, model, x, *how)
    (own_loss, (own_output, own_densities)), own_gradient = trained(event, model, x, *how)
    np.testing.assert_array_equal(own_output, output)
    np.testing.assert_allclose(own_densities, densities, rtol=1e-6)
    assert own_loss == pytest.approx(float(loss), rel=1e-6)
    assert all(np.linalg.norm(block.kernel) > 0 for block in nnx.merge(nnx.graphdef(model), gradient).blocks)
    for (path, got), want in zip(jax.tree.leaves_with_path(own_gradient), jax.tree.leaves(gradient), strict=True):
        # An output layer's threshold may get no gradient if its membranes are read.
        assert np.linalg.norm(got - want) <= 5e-5 * np.linalg.norm(want) + 1e-6, jax.tree_util.keystr(path)
    return output


def check(model: CSNN, x: jax.Array) -> None:
    """The same membranes, spikes and training as scan, in a network that fires."""
    (last, own), (_, expected) = (jax.device_get(jitted(engine.trace, model, x)) for engine in (event, scan))
    for one, other in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, membranes in zip(last, expected.membranes, strict=True):
        np.testing.assert_array_equal(one["mem"], membranes[-1])
    tally = jitted(event.tally, model, x)
    assert all(0.01 < d < 0.6 for d in densities(model, tally)), densities(model, tally)
    fired = [s.sum(axis=(0, *range(2, s.ndim))) for s in expected.spikes]
    np.testing.assert_array_equal(tally.fired, np.stack(fired, axis=1))
    np.testing.assert_array_equal(tally.scores, expected.spikes[-1].sum(0))
    seen = [jitted(engine.fires, model, x) for engine in (event, scan)]
    for own, other, spikes in zip(*seen, expected.spikes, strict=True):
        np.testing.assert_array_equal(own, spikes.any(axis=(0, *range(2, spikes.ndim - 1))))
        np.testing.assert_array_equal(other, own)
    check_training(model, x)


@pytest.mark.parametrize("changes", STACKS.values(), ids=STACKS.keys())
def test_membranes_spikes_and_gradients_of_every_stack(changes):
    check(*build(**changes))


AVERAGE, LEARNED = dict(pool="avg", reset="zero"), dict(learn_beta=True, learn_threshold=True)
TRAINED = {
    "membranes, learned": (LEARNED, "membrane", False),
    "membranes, zero, avg pool": (AVERAGE | LEARNED, "membrane", False),
    "membranes, none, no conv": (dict(reset="none", conv_channels=(), beta=0.8), "membrane", False),
    "membranes, output layer only": (dict(conv_channels=(), hidden=()) | LEARNED, "membrane", False),
    "membranes after a convolution": (dict(hidden=(), surrogate="straight_through"), "membrane", False),
    "integrator": (dict(output="integrator", reset="zero", surrogate="sigmoid") | LEARNED, "membrane", True),
    "dropout": ({}, "spikes", True),
    "dropout, zero, avg pool, two hidden": (AVERAGE | dict(hidden=(40, 21)), "spikes", True),
    "dropout, no conv, membranes": (dict(conv_channels=(), hidden=(40, 21)), "membrane", True),
    "dropout after a convolution": (dict(hidden=(), surrogate="sigmoid", slope=3.0), "membrane", True),
    "dropout, one conv, learned": (dict(conv_channels=(19,), hidden=(33,)) | LEARNED, "spikes", True),
}


def dropped(model: CSNN) -> scan.Dropout:
    """Drops half of the neurons; doubled weights are still multiples of the unit."""
    return scan.Dropout(tuple(map(jnp.asarray, dropout.draw(model.config, 0.5, 0, 0, BATCH))), 2.0)


@pytest.mark.parametrize(("changes", "reads", "drops"), TRAINED.values(), ids=TRAINED.keys())
def test_the_gradient_equals_the_scan_engines(changes, reads, drops):
    model, x = build(**changes)
    output = check_training(model, x, reads, dropped(model) if drops else None)
    trace = jitted(scan.trace, model, x)[1]
    whole = (trace.membranes if reads == "membrane" else trace.spikes)[-1]
    assert np.array_equal(whole, output) is not drops


def test_the_next_layer_gets_the_spikes_kept_by_dropout():
    model, x = build(hidden=())
    output, _ = scan.watch(model, x, "membrane", dropped(model))
    before = np.asarray(jitted(scan.trace, model, x)[1].spikes[-2]).reshape(len(output), BATCH, -1)
    last, (stays,) = model.blocks[-1], dropped(model).masks
    currents = before * np.asarray(stays) * 2 @ np.asarray(last.kernel[...]) + np.asarray(last.bias[...])
    state = {"mem": np.zeros_like(currents[0])}
    for current, expected in zip(currents, output, strict=True):
        state, _ = last.fire(state, current)
        np.testing.assert_allclose(state["mem"], expected, atol=1e-6)


@pytest.mark.parametrize("engine", [scan, event])
def test_membrane_readouts_score_the_sums_of_membranes(engine):
    model, x = build(readout="membrane")
    expected = jitted(scan.trace, model, x)[1].membranes[-1].sum(0)
    np.testing.assert_allclose(jitted(engine.tally, model, x).scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pool", ["max", "avg"])
def test_gradients_where_parts_of_the_image_are_dark(pool):
    """Nothing fires there and every membrane settles, which the backward pass exploits."""
    model, x = build(input_shape=(12, 24, 2), pool=pool, bright=14)
    trace = jax.device_get(jitted(event.trace, model, x)[1])
    assert not trace.spikes[0][..., 8:, :].any()
    assert (trace.membranes[1][-6:, :, :, 5:] == trace.membranes[1][-1, :, :, 5:]).all()
    check(model, x)


@pytest.fixture(scope="module")
def high() -> tuple[CSNN, jax.Array]:
    """A network with membranes above 2, below which sparse_fast_sigmoid is 0."""
    model, x = build(conv_channels=(7, 18), hidden=(), time_steps=32, beta=0.9, reset="none")
    check(model, x)
    return model, x


@pytest.mark.parametrize("derivative", DERIVATIVES.values(), ids=DERIVATIVES.keys())
def test_gradients_of_every_surrogate(derivative, high):
    model, x = high
    for block in model.blocks:
        block.derivative = derivative
    check_training(model, x)


SEQUENCES = {
    "spikes": dict(sequence=1, encoding="rate"),
    "frames of 0 and 1": dict(sequence=1),
    "counts": dict(sequence=15),
    "counts of five channels": dict(sequence=15, input_shape=(9, 10, 5), pool="avg", reset="zero"),
    "counts, no conv": dict(sequence=15, conv_channels=(), hidden=(40,)),
    "counts, one conv, no pool": dict(sequence=15, conv_channels=(7,), pool="none", hidden=()),
}


@pytest.mark.parametrize("changes", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_input_with_a_time_axis_and_its_gradient(changes):
    """Saliency maps and attacks use the gradient, which is dense even where the input is 0."""
    model, x = build(**changes)
    check(model, x)
    weight = jnp.arange(1.0, 1 + model.config.num_classes)

    def gradient(engine):
        return np.asarray(jax.jit(jax.grad(lambda x: (engine.run(model, x)[1] @ weight).sum()))(x))

    expected = gradient(scan)
    assert (expected[x == 0] != 0).any()
    np.testing.assert_allclose(gradient(event), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("changes", "wrong", "most"),
    [
        (dict(sequence=15), lambda x: x.at[0, 0, 0, 0, 0].set(16), 15),
        (dict(sequence=15), lambda x: -x, 15),
        (dict(sequence=15), lambda x: x.at[-1].set(jnp.nan), 15),
        (dict(sequence=1, encoding="rate"), lambda x: 2 * x, 1),
    ],
)
def test_other_sequences_are_refused(changes, wrong, most):
    model, x = build(**changes)
    with pytest.raises(ValueError, match=r"x (isn't a sequence of whole numbers|has values) from .*"):
        event.tally(model, wrong(x))
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"takes whole numbers from 0 to {most} in a sequence"):
        jax.block_until_ready(jax.jit(lambda x: event.tally(model, x))(wrong(x)))


CHILD = """
import os, sys; sys.path[:0] = sys.argv[2:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[1])])
import hashlib, jax, numpy as np
from test_event import build, event, trained
digest = hashlib.sha256()
for surrogate in ("fast_sigmoid", "sigmoid"):
    model, x = build(time_steps=30, hidden=(), surrogate=surrogate)
    for leaf in jax.tree.leaves((trained(event, model, x), event.tally(model, x))):
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
