"""The kernel library: its limits, the errors if it can't be used, and calls of its operations."""

import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import ENVIRONMENT
from refusals import assert_line, refused_by_process, refusing

from csnn_jax.engine import build, library


@pytest.fixture
def another(monkeypatch, tmp_path):
    """A path used for the library, where no file exists yet."""
    path = tmp_path / build.LIBRARY.name
    monkeypatch.setattr(build, "LIBRARY", path)
    library.failure.cache_clear()
    yield path
    library.failure.cache_clear()


def compile_library(path, source):
    """Compiles one C++ source to a shared library."""
    command = [*build.find_compiler(), "-x", "c++", "-shared", "-fPIC", "-o", path, "-"]
    subprocess.run(command, input=source, text=True, check=True)


def test_the_library_is_loaded_and_has_limits():
    assert library.failure() is None and library.available()
    expected = library.Limits(65535, 1024, 4, 12, 64, list(range(1, 8)), [1, 2], resets=["subtract", "zero", "none"])
    assert library.limits() == expected


def test_without_the_library_the_engine_says_how_to_build_it(another):
    assert not library.available()
    facts = ("libcsnn.so", "C++20 compiler", "`python -m csnn_jax.engine.build`")
    assert_line(library.failure(), *facts)
    for use in (library.limits, lambda: library.call("count_spikes", bits=jnp.zeros((1, 1, 1), jnp.uint16))):
        with refusing(RuntimeError, *facts):
            use()


def test_a_file_that_is_not_a_library_takes_one_line(another):
    another.write_text("no library\n")
    assert_line(library.failure(), another, "loaded")


def test_a_library_from_other_sources_is_refused(another):
    compile_library(another, 'extern "C" const char* csnn_sources() { return "0123"; }')
    assert_line(library.failure(), "libcsnn.so", "sources", "`python -m csnn_jax.engine.build`")


OURS = f'extern "C" const char* csnn_sources() {{ return "{build.sources_digest()}"; }}'
FFI = 'extern "C" int csnn_ffi_minor() { return 1; }'
DESCRIBED = """
#ifndef PROBLEM
#define PROBLEM ""
#endif
#define EXPORT(name, text) extern "C" const char* name() { return text; }
EXPORT(csnn_isa_problem, PROBLEM) EXPORT(csnn_description, R"({"limits": {}, "operations": {"constant_lif": {}}})")"""


@pytest.mark.parametrize(
    ("more", "lacks"), [("", "csnn_ffi_minor"), (FFI, "csnn_description"), (FFI + DESCRIBED, "csnn_constant_lif")]
)
def test_a_library_that_lacks_an_operation_is_refused(another, more, lacks):
    compile_library(another, f"{OURS} {more}")
    assert_line(library.failure(), "libcsnn.so", lacks, "rebuild")


def test_a_library_built_for_a_newer_jax_is_refused(another):
    """JAX would refuse its operations only when they run."""
    compile_library(another, f"{OURS} {FFI.replace('1', '99')}")
    assert_line(library.failure(), "libcsnn.so", "newer JAX", "`python -m csnn_jax.engine.build`")


def test_a_library_without_kernels_for_this_processor_is_refused(another, monkeypatch):
    """As when a clone is used on an older processor than the one that it was installed on."""
    compile_library(another, f'#define PROBLEM "has no kernels"\n{OURS} {FFI} {DESCRIBED}')
    monkeypatch.delenv("CSNN_ISA", raising=False)
    assert_line(library.failure(), "libcsnn.so", "no kernels", "`python -m csnn_jax.engine.build`")


@pytest.mark.slow
def test_an_unknown_instruction_set_is_a_user_error(tmp_path):
    environment = ENVIRONMENT | {"CSNN_ISA": "mmx"}
    refused_by_process("csnn_jax.train", names=("CSNN_ISA=mmx", "baseline"), env=environment, cwd=tmp_path)


# --- calls


def words(*shape):
    return jnp.zeros(shape, jnp.uint16)


ONE = jnp.float32(1)
CONSTANT = {"current": jnp.ones((2, 16)), "beta": ONE / 2, "threshold": ONE, "reset": "subtract"} | {
    "time": 4,
    "channels": 16,
    "stride": 16,
}
LIF = {"dspikes": jnp.zeros((2, 4, 16)), "membranes": jnp.zeros((2, 4, 16)), "beta": ONE, "threshold": ONE} | {
    "reset": "subtract",
    "surrogate": "atan",
    "slope": 25,
}


def conv(kernel, height=4, padding=1, pool=2, rows=2):
    operands = {"bits_in": words(1, 4, 16), "kernel": kernel, "bias": jnp.zeros(16), "beta": ONE, "threshold": ONE}
    sizes = {"height": height, "width": 4, "rows": rows, "columns": 2, "padding": padding, "pool": pool, "max": True}
    return operands | sizes | {"reset": "subtract", "channels": 16, "weight_bits": 0}


THREE = jnp.zeros((3, 3, 16, 16))
MISNAMED = [
    ("count_spikes", {"spikes": words(3, 4, 1)}, ("spikes", "count_spikes")),
    ("count_spikes", {"bits": None}, ("bits", "needs")),
    ("count_spikes", {"bits": words(3, 4)}, ("bits", [3, 4], "images", "words")),
    ("constant_lif", CONSTANT | {"want": ["winners"]}, ("winners", "constant_lif")),
    ("constant_lif", CONSTANT | {"reset": None}, ("reset", "needs")),
]
MALFORMED = {
    "another type": ("count_spikes", {"bits": jnp.zeros((3, 4, 1), jnp.int32)}, ("bits", "uint16")),
    "no multiple of 16": ("linear_weights", {"bits_in": words(2, 4, 1), "dcurrent": jnp.zeros((2, 4, 8))}, (16,)),
    "surrogate unknown": ("lif_backward", LIF | {"surrogate": "halo"}, ("surrogate", '"halo"', '"atan"', '"given"')),
    "derivative missing": ("lif_backward", LIF | {"surrogate": "given"}, ("given", "needs")),
    "reset unknown": ("lif_backward", LIF | {"reset": "none "}, ('["subtract", "zero", "none"]',)),
    "no step": ("constant_lif", CONSTANT | {"time": 0}, ("time",)),
    "kernel oblong": ("conv_lif", conv(jnp.zeros((3, 2, 16, 16))), ("kernel", [3, 2, 16, 16], [3, 3, 16, 16])),
    "kernel wide": ("conv_lif", conv(jnp.zeros((9, 9, 16, 16))), ("[1, 2, 3, 4, 5, 6, 7]",)),
    "padding wide": ("conv_lif", conv(THREE, padding=2), ("padding",)),
    "pool wide": ("conv_lif", conv(THREE, pool=3), ("pool", [1, 2])),
    "no pool": ("conv_lif", conv(THREE, pool=1), ("max", "pool")),
    "no neuron": ("conv_lif", conv(jnp.zeros((5, 5, 16, 16)), padding=0), ("pixels", "neuron")),
    "rows unlike": ("conv_lif", conv(THREE, rows=1), ("rows", "columns")),
    "inputs too many": (
        "conv_lif",
        conv(jnp.zeros((7, 7, 1344, 16)), padding=3) | {"bits_in": words(1, 4, 1344)},
        (65535, "inputs"),
    ),
    "size another": ("conv_lif", conv(THREE, height=40), ("bits_in", [1, 4, 16], [1, 4, 160])),
    "weights too fine": ("conv_lif", conv(THREE) | {"weight_bits": 13}, ("weight_bits",)),
}


@pytest.mark.parametrize(("operation", "arguments", "facts"), MISNAMED)
def test_arguments_are_those_that_the_library_describes(operation, arguments, facts):
    with refusing(ValueError, *facts):
        library.call(operation, **arguments)


@pytest.mark.parametrize(("operation", "arguments", "facts"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_calls_raise_exceptions(operation, arguments, facts):
    with refusing(jax.errors.JaxRuntimeError, *facts):
        jax.block_until_ready(library.call(operation, **arguments))


def places(*names):
    return {name: np.int64(place) for place, name in enumerate(names)}


@pytest.mark.parametrize(
    ("shape", "attributes", "facts"),
    [
        (2, {"operands": places("bits"), "results": places("counts")}, ("counts", [2], [3])),
        (3, {"operands": places("bits"), "results": places("sums")}, ("counts", "needs")),
        (3, {"operands": places("x", "bits"), "results": places("counts")}, ("bits",)),
        (3, {}, ("operands", "needs")),
    ],
)
def test_the_library_checks_what_it_reads_and_writes(shape, attributes, facts):
    assert library.available()
    count = jax.ffi.ffi_call("csnn_count_spikes", jax.ShapeDtypeStruct((shape,), jnp.float32))
    with refusing(jax.errors.JaxRuntimeError, *facts):
        jax.block_until_ready(count(words(3, 4, 1), **attributes))
