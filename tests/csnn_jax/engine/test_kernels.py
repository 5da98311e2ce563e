"""The kernels take and return arrays by name; malformed ones raise exceptions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refusing

from csnn_jax.engine import kernels
from csnn_jax.engine.library import call, float_of, words_of


def words(*shape):
    return jnp.zeros(shape, jnp.uint16)


ONE = jnp.float32(1)
COUNTED = {"counts": float_of(3)}
CURRENT = {"current": jnp.arange(32.0).reshape(2, 16) / 16, "beta": ONE / 2, "threshold": ONE}
FIRED = {"bits": words_of(2, 4, 1), "membranes": float_of(2, 4, 16), "last": float_of(2, 16)}
SIZES = {"time": np.int64(4), "channels": np.int64(16), "stride": np.int64(16)}
DRIVEN = SIZES | {"reset": "subtract"}
WEIGHTS = {"bits_in": words(2, 4, 1), "dcurrent": jnp.zeros((2, 4, 16))}
KEPT = {"dspikes": jnp.zeros((2, 4, 16)), "membranes": jnp.zeros((2, 4, 16)), "beta": ONE, "threshold": ONE}
RULE = {"reset": "subtract", "surrogate": "atan", "slope": np.float32(25)}
LIF = {"dcurrent": float_of(2, 4, 16), "dbeta": float_of(2), "dthreshold": float_of(2)}
CONV = {"bits": words_of(1, 4, 4), "membranes": float_of(0), "winners": words_of(0, 4, 2, 4), "last": float_of(1, 64)}


def layer(kernel):
    return kernels.LayerOperands(words(1, 4, 16), kernel, jnp.zeros(16), ONE, ONE)._asdict()


def conv(size, padding=1, pool=2):
    place = {"size": np.array([size, 4]), "padding": np.int64(padding), "pool": np.int64(pool)}
    return place | {"reset": "subtract", "channels": np.int64(16), "max": np.bool_(True)}


def backwards(named):
    return dict(reversed(named.items()))


def test_operands_and_results_may_come_in_any_order():
    fired = call("constant_lif", CURRENT, FIRED, **DRIVEN)
    assert np.count_nonzero(fired["bits"]) and np.count_nonzero(fired["membranes"])
    again = call("constant_lif", backwards(CURRENT), backwards(FIRED), **DRIVEN)
    assert list(again) == ["last", "membranes", "bits"]
    for name, array in fired.items():
        np.testing.assert_array_equal(again[name], array)


def without(named, name):
    return {key: value for key, value in named.items() if key != name}


MALFORMED = {
    "no such operand": ("count_spikes", {"spikes": words(3, 4, 1)}, COUNTED, {}, ("bits", "needs")),
    "operand not given": ("constant_lif", CURRENT | {"beta": None}, FIRED, DRIVEN, ("beta", "needs")),
    "operand too many": ("constant_lif", CURRENT | {"bias": ONE}, FIRED, DRIVEN, ("bias", "none")),
    "no such result": ("constant_lif", CURRENT, without(FIRED, "last"), DRIVEN, ("last", "needs")),
    "result too many": ("constant_lif", CURRENT, FIRED | {"v": float_of(1)}, DRIVEN, ("v", "none")),
    "missing attribute": ("constant_lif", CURRENT, FIRED, SIZES, ("reset", "needs")),
    "attribute too many": ("constant_lif", CURRENT, FIRED, DRIVEN | {"size": "9"}, ("size", "none")),
    "wrong attribute": ("constant_lif", CURRENT, FIRED, DRIVEN | {"time": "4"}, ("time", "attribute")),
    "wrong word count": ("count_spikes", {"bits": words(2, 4, 1)}, COUNTED, {}, ("counts", [3], [2])),
    "wrong rank": ("count_spikes", {"bits": words(3, 4)}, COUNTED, {}, ("bits", [3, 4], "3 axes")),
    "wrong type": ("count_spikes", {"bits": jnp.zeros((3, 4, 1), jnp.int32)}, COUNTED, {}, ("bits", "dtype")),
    "wrong result": ("count_spikes", {"bits": words(3, 4, 1)}, {"counts": words_of(3)}, {}, ("counts", "dtype")),
    "weights too many": ("linear_weights", WEIGHTS, {"dkernel": float_of(32, 16)}, {}, ("dkernel",)),
    "no multiple of 16": (
        "linear_weights",
        WEIGHTS | {"dcurrent": jnp.zeros((2, 4, 8))},
        {"dkernel": float_of(16, 8)},
        {},
        ("multiple of 16",),
    ),
    "surrogate unknown": (
        "lif_backward",
        KEPT,
        LIF,
        RULE | {"surrogate": "halo"},
        ("surrogate", '"halo"', '"atan"', '"given"'),
    ),
    "derivative not given": ("lif_backward", KEPT, LIF, RULE | {"surrogate": "given"}, ("given", "needs")),
    "reset unknown": ("lif_backward", KEPT, LIF, RULE | {"reset": "none "}, ('["subtract", "zero", "none"]',)),
    "beta no scalar": ("lif_backward", KEPT | {"beta": jnp.ones(2)}, LIF, RULE, ("beta",)),
    "kernel wide": ("conv_lif", layer(jnp.zeros((9, 9, 16, 16))), CONV, conv(4), ("[1, 2, 3, 4, 5, 6, 7]",)),
    "padding wide": ("conv_lif", layer(jnp.zeros((3, 3, 16, 16))), CONV, conv(4, padding=2), ("padding",)),
    "pool wide": ("conv_lif", layer(jnp.zeros((3, 3, 16, 16))), CONV, conv(4, pool=3), ("pool", [1, 2])),
    "no pool": ("conv_lif", layer(jnp.zeros((3, 3, 16, 16))), CONV, conv(4, pool=1), ("max", "pool")),
    "no neuron": ("conv_lif", layer(jnp.zeros((5, 5, 16, 16))), CONV, conv(4, padding=0), ("pixels", "neuron")),
    "too many inputs": (
        "conv_lif",
        layer(jnp.zeros((7, 7, 1344, 16))),
        CONV,
        conv(4, padding=3),
        (65535, "inputs"),
    ),
    "size another": ("conv_lif", layer(jnp.zeros((3, 3, 16, 16))), CONV, conv(40), ("bits_in",)),
}


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_calls_raise_exceptions(case):
    name, operands, results, attributes, facts = case
    with refusing(jax.errors.JaxRuntimeError, *facts):
        jax.block_until_ready(call(name, operands, results, **attributes))
