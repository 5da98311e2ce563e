"""The rows of arrays that the kernels take and give: their order, and that malformed ones are exceptions."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from csnn_jax.engine import build, kernels
from csnn_jax.engine.bits import LANES, Drive, Rule
from csnn_jax.engine.library import call, float_of, words_of

ROWS = {
    "constant_lif": (Drive, kernels.Fired),
    "linear_lif": (kernels.Layer, kernels.Fired),
    "conv_lif": (kernels.Layer, kernels.ConvFired),
    "lif_backward": (kernels.LifBackward, kernels.LifGradients),
    "conv_backward": (kernels.ConvBackward, kernels.ConvGradients),
}


def binding(operation):
    """(operands, results) that an operation's binding in handlers.cc names; the handler's signature must agree."""
    source = (build.SOURCES / "handlers.cc").read_text()
    (bound,) = re.findall(rf"SYMBOL\(csnn_{operation},(.*?)\);\n", source, re.S)
    (signature,) = re.findall(rf"^static ffi::Error {operation}\((.*?)\) {{", source, re.S | re.M)
    operands, results = (re.findall(rf"\.{kind}<\w+>\(\) +// (\w+)", bound) for kind in ("Arg", "Ret"))
    assert re.findall(r"\b(?:F32|U16) (\w+)", signature) == operands
    assert re.findall(r"\bOut\w+ (\w+)", signature) == results
    return operands, results


@pytest.mark.parametrize("operation", ROWS)
def test_the_fields_stand_in_the_order_of_the_bindings(operation):
    operands, results = (list(row._fields) for row in ROWS[operation])
    if operation == "constant_lif":
        assert operands == ["current", "beta", "threshold"]
    assert binding(operation) == (operands, results)


def test_sources_are_numbered_as_in_the_kernels():
    (names,) = re.findall(r"enum class Source : int64_t {(.*?)};", (build.SOURCES / "kernels.h").read_text(), re.S)
    assert re.findall(r"^ +(\w+)", names, re.M) == ["data", "spikes", "constant"]
    assert (kernels.DATA, kernels.SPIKES, kernels.CONSTANT) == (0, 1, 2)


@pytest.mark.parametrize("keep", [True, False])
def test_membranes_and_winners_are_given_where_they_are_kept(keep):
    one = jnp.float32(1)
    bits_in = jnp.full((2, 3, 5 * 4), 0xFFFF, jnp.uint16)
    layer = kernels.Layer(bits_in, jnp.ones((3, 3, 16, 32)), jnp.zeros(32), one / 2, one)
    fired = kernels.conv_lif(layer, Rule("subtract", "atan", 2.0, keep), 30, (5, 4), max_pool=True)
    neurons = 2 * 2 * 32
    assert fired.bits.shape == (2, 3, neurons // LANES)
    assert fired.last.shape == (2, neurons)
    assert fired.membranes.shape == ((2, 3, neurons) if keep else (0,))
    assert fired.winners.shape == (2 if keep else 0, 3, 2, neurons // LANES)


def words(*shape):
    return jnp.zeros(shape, jnp.uint16)


RULE = {"reset": np.int64(0), "surrogate": np.int64(0), "slope": np.float32(25)}
ONE = jnp.float32(1)
LIF = (float_of(2, 4, 16), float_of(2), float_of(2))
CONV = (words_of(1, 4, 4), float_of(0), words_of(0, 4, 2, 4), float_of(1, 64))


def conv(size):
    return {"size": np.array([size, 4]), "reset": np.int64(0), "channels": np.int64(16), "max": np.int64(1)}


def wide_constant_source(channels):
    """A backward pass of a 1x1 convolution of 2x2 pixels; what it gives and takes."""
    zeros, empty = jnp.zeros, jnp.zeros(0)
    operands = kernels.ConvBackward(
        dspikes=zeros((1, 4, 16)),
        left=empty,
        right=empty,
        membranes=zeros((1, 4, 16)),
        given=empty,
        winners=words(0, 4, 2, 1),
        bits_in=words(1, 4, 4 * channels // LANES),
        kernel=zeros((1, 1, channels, 16)),
        grouped=zeros((channels // LANES, 16, 1, LANES)),
        beta=ONE,
        threshold=ONE,
        current_in=zeros((1, 4 * channels)),
        beta_in=ONE,
        threshold_in=ONE,
    )
    rule = Rule("subtract", "fast_sigmoid", 25.0, keep=True)
    return kernels.conv_backward(operands, rule, (2, 2), False, kernels.CONSTANT)


def test_a_constant_source_has_at_most_1024_channels():
    assert wide_constant_source(1024).din.shape == (1, 4096)
    with pytest.raises(jax.errors.JaxRuntimeError, match="a constant source has at most 1024 channels"):
        jax.block_until_ready(wide_constant_source(1040))


MALFORMED = {
    "wrong word count": ("count_spikes", [float_of(3)], [words(2, 4, 1)], {}, "counts is"),
    "wrong rank": ("count_spikes", [float_of(3)], [words(3, 4)], {}, "bits is"),
    "wrong type": ("count_spikes", [float_of(3)], [jnp.zeros((3, 4, 1), jnp.int32)], {}, "dtype"),
    "too many results": ("count_spikes", [float_of(3), float_of(1)], [words(3, 4, 1)], {}, "number of"),
    "missing attribute": (
        "constant_lif",
        [words_of(2, 4, 1), float_of(0), float_of(2, 16)],
        [jnp.zeros((2, 16)), ONE, ONE],
        {},
        "ttribute",
    ),
    "kernel too small": (
        "linear_weights",
        [float_of(32, 16)],
        [words(2, 4, 1), jnp.zeros((2, 4, 16))],
        {},
        "bits is",
    ),
    "not a multiple of 16": (
        "linear_weights",
        [float_of(16, 8)],
        [words(2, 4, 1), jnp.zeros((2, 4, 8))],
        {},
        "multiples of 16",
    ),
    "surrogate unknown": (
        "lif_backward",
        LIF,
        [jnp.zeros((2, 4, 16)), jnp.zeros((2, 4, 16)), jnp.zeros(0), ONE, ONE],
        RULE | {"surrogate": np.int64(77)},
        "surrogate",
    ),
    "beta no scalar": (
        "lif_backward",
        LIF,
        [jnp.zeros((2, 4, 16)), jnp.zeros((2, 4, 16)), jnp.zeros(0), jnp.ones(2), ONE],
        RULE,
        "beta is",
    ),
    "kernel even": (
        "conv_lif",
        CONV,
        [words(1, 4, 16), jnp.zeros((2, 2, 16, 16)), jnp.zeros(16), ONE, ONE],
        conv(4),
        r"one of the sizes \[1, 3, 5, 7\]",
    ),
    "too many inputs": (
        "conv_lif",
        CONV,
        [words(1, 4, 16), jnp.zeros((7, 7, 1344, 16)), jnp.zeros(16), ONE, ONE],
        conv(4),
        "at most 65535 inputs",
    ),
    "size another": (
        "conv_lif",
        CONV,
        [words(1, 4, 16), jnp.zeros((3, 3, 16, 16)), jnp.zeros(16), ONE, ONE],
        conv(40),
        "bits_in is",
    ),
}


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_operands_are_exceptions(case):
    name, results, operands, attributes, message = case
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(call(name, results, *operands, **attributes))
