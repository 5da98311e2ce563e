"""The kernel library: its limits, the errors if it can't be used, and calls of its operations."""

import re
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import ENVIRONMENT
from refusals import assert_line, refused_by_process, refusing

from csnn_jax.engine import build, library
from csnn_jax.errors import UserError


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
    library.failure.cache_clear()
    monkeypatch.setenv("CSNN_ISA", "baseline")
    with refusing(UserError, "has no kernels"):  # whoever chose an instruction set doesn't want the scan engine
        library.failure()


CHOOSE = """
import ctypes, sys
problem = ctypes.CDLL(sys.argv[1]).csnn_isa_problem
problem.restype = ctypes.c_char_p
print(problem().decode())
"""


def test_the_library_names_the_instruction_sets_that_can_be_chosen():
    def problem(isa):
        command = [sys.executable, "-S", "-c", CHOOSE, build.LIBRARY]
        done = subprocess.run(command, env=ENVIRONMENT | {"CSNN_ISA": isa}, capture_output=True, text=True, check=True)
        return done.stdout.removesuffix("\n")

    (listed,) = re.findall(r"this machine's: ([^;]+);", assert_line(problem("mmx"), "CSNN_ISA=mmx"))
    names = listed.split(", ")
    assert names == [name for name in build.X86_SETS if name in names]
    assert {problem(name) for name in ("", *names)} == {""}


@pytest.mark.slow
def test_an_unknown_instruction_set_is_a_user_error(tmp_path):
    environment = ENVIRONMENT | {"CSNN_ISA": "mmx"}
    refused_by_process("csnn_jax.train", names=("CSNN_ISA=mmx", "baseline"), env=environment, cwd=tmp_path)


# --- calls


zeros = partial(np.zeros, dtype=np.float32)


def words(*shape):
    return np.zeros(shape, np.uint16)


ONE = np.float32(1)
CONSTANT = {"current": np.ones((2, 16), np.float32), "beta": ONE / 2, "threshold": ONE, "reset": "subtract"} | {
    "time": 4,
    "channels": 16,
    "stride": 16,
}
LIF = {"dspikes": zeros((2, 4, 16)), "membranes": zeros((2, 4, 16)), "beta": ONE, "threshold": ONE} | {
    "reset": "subtract",
    "surrogate": "atan",
    "slope": 25,
}


def conv(kernel, height=4, padding=1, pool=2, rows=2):
    operands = {"bits_in": words(1, 4, 16), "kernel": kernel, "bias": zeros(16), "beta": ONE, "threshold": ONE}
    sizes = {"height": height, "width": 4, "rows": rows, "columns": 2, "padding": padding, "pool": pool, "max": True}
    return operands | sizes | {"reset": "subtract", "channels": 16, "weight_bits": 0}


THREE = zeros((3, 3, 16, 16))
LINEAR = {"bits_in": words(1, 2, 1), "kernel": zeros((16, 16)), "bias": zeros(16), "beta": ONE} | {
    "threshold": ONE,
    "reset": "subtract",
    "channels": 16,
    "weight_bits": 0,
}
POOL = {"height": 4, "width": 4, "rows": 2, "columns": 2, "added": 1, "words": 1, "size": 2, "stride": 2}
BYTES = np.zeros((1, 1, 1, 4), np.uint8)
BOTH = {"right": zeros((3, 16)), "transposed": zeros((16, 3))}


def backward(channels=16, **changes):
    """The arguments of `conv_backward` for 2x2 pixels and a kernel of one."""
    operands = {"dspikes": zeros((1, 2, 64)), "membranes": zeros((1, 2, 64)), "beta": ONE, "threshold": ONE}
    operands |= {"bits_in": words(1, 2, channels // 4), "kernel": zeros((1, 1, channels, 16))}
    sizes = {"height": 2, "width": 2, "rows": 2, "columns": 2, "padding": 0, "pool": 1, "max": False}
    neurons = {"reset": "subtract", "surrogate": "atan", "surrogate_in": "atan", "slope": 25, "leading": channels}
    return operands | {"grouped": zeros((channels // 16, 16, 1, 16))} | sizes | neurons | changes


def constant(channels=16, **changes):
    """The same, if the input's neurons are under a constant current."""
    neurons = {"beta_in": ONE, "threshold_in": ONE, "current_in": zeros((1, 4 * channels))}
    return backward(channels, **({"want": ["dcurrent_in"]} | neurons | changes))


def pool(bits=16, **changes):
    """The arguments of `pool_spikes`."""
    return POOL | {"bits_in": words(1, 1, bits) + np.uint16(1)} | changes


def product(inner):
    """A gradient of spikes as a product, instead of an array."""
    return {"dspikes": None, "left": zeros((1, 2, inner)), "right": zeros((4, inner, 16))}


MISNAMED = [
    ("count_spikes", {"spikes": words(3, 4, 1)}, ("spikes", "count_spikes")),
    ("count_spikes", {"bits": None}, ("bits", "needs")),
    ("count_spikes", {"bits": words(3, 4)}, ("bits", [3, 4], "images", "words")),
    ("constant_lif", CONSTANT | {"want": ["winners"]}, ("winners", "constant_lif")),
    ("constant_lif", CONSTANT | {"reset": None}, ("reset", "needs")),
]
MALFORMED = {
    "another type": ("count_spikes", {"bits": np.zeros((3, 4, 1), np.int32)}, ("bits", "uint16")),
    "no multiple of 16": ("linear_weights", {"bits_in": words(2, 4, 1), "dcurrent": zeros((2, 4, 8))}, (16,)),
    "surrogate unknown": ("lif_backward", LIF | {"surrogate": "halo"}, ("surrogate", '"halo"', '"atan"', '"given"')),
    "derivative missing": ("lif_backward", LIF | {"surrogate": "given"}, ("given", "needs")),
    "reset unknown": ("lif_backward", LIF | {"reset": "none "}, ('["subtract", "zero", "none"]',)),
    "no step": ("constant_lif", CONSTANT | {"time": 0}, ("time",)),
    "kernel oblong": ("conv_lif", conv(zeros((3, 2, 16, 16))), ("kernel", [3, 2, 16, 16], [3, 3, 16, 16])),
    "kernel wide": ("conv_lif", conv(zeros((9, 9, 16, 16))), ("[1, 2, 3, 4, 5, 6, 7]",)),
    "padding wide": ("conv_lif", conv(THREE, padding=2), ("padding",)),
    "pool wide": ("conv_lif", conv(THREE, pool=3), ("pool", [1, 2])),
    "no pool": ("conv_lif", conv(THREE, pool=1), ("max", "pool")),
    "no neuron": ("conv_lif", conv(zeros((5, 5, 16, 16)), padding=0), ("pixels", "neuron")),
    "rows unlike": ("conv_lif", conv(THREE, rows=1), ("rows", "columns")),
    "inputs too many": (
        "conv_lif",
        conv(zeros((7, 7, 1344, 16)), padding=3) | {"bits_in": words(1, 4, 1344)},
        (65535, "inputs"),
    ),
    "size another": ("conv_lif", conv(THREE, height=40), ("bits_in", [1, 4, 16], [1, 4, 160])),
    "weights too fine": ("conv_lif", conv(THREE) | {"weight_bits": 13}, ("weight_bits",)),
    "weights of -1 bits": ("linear_lif", LINEAR | {"weight_bits": -1}, ("weight_bits",)),
    "winners of averages": ("conv_lif", conv(THREE) | {"max": False, "want": ["winners"]}, ("winners",)),
    "padding negative": ("conv_lif", conv(THREE, padding=-1), ("padding",)),
    "padding half": ("conv_lif", conv(zeros((2, 2, 16, 16))), ("padding",)),
    "no column": (
        "conv_lif",
        conv(zeros((5, 5, 16, 16)), height=6, padding=0) | {"bits_in": words(1, 4, 24)},
        ("pixels", "neuron"),
    ),
    "columns unlike": ("conv_lif", conv(THREE) | {"columns": 1}, ("rows", "columns")),
    "inputs odd": ("conv_lif", conv(THREE[:, :, :8]) | {"bits_in": words(1, 4, 8)}, ("kernel", 16)),
    "outputs odd": ("conv_lif", conv(THREE[..., :8]) | {"bias": zeros(8), "channels": 8}, ("kernel", 16)),
    "convolution without steps": ("conv_lif", conv(THREE) | {"bits_in": words(1, 0, 16)}, ("time",)),
    "product without steps": ("linear_lif", LINEAR | {"bits_in": words(1, 0, 1)}, ("time",)),
    **{f"{n} of 16 channels": ("conv_lif", conv(THREE) | {"channels": n}, ("channels",)) for n in (0, 17)},
    **{f"{n} of 16 outputs": ("linear_lif", LINEAR | {"channels": n}, ("channels",)) for n in (0, 17)},
    **{f"{n} of 16 neurons": ("constant_lif", CONSTANT | {"channels": n}, ("channels", "stride")) for n in (0, 17)},
    **{f"{n} neurons apart": ("constant_lif", CONSTANT | {"stride": n}, ("channels", "stride")) for n in (0, 8, 32)},
    "8 neurons": ("constant_lif", CONSTANT | {"current": np.ones((2, 8), np.float32)}, ("neurons", 16)),
    "8 membranes": ("lif_backward", LIF | dict.fromkeys(("dspikes", "membranes"), zeros((2, 4, 8))), (16,)),
    "no membranes": ("lif_backward", LIF | dict.fromkeys(("dspikes", "membranes"), zeros((2, 0, 16))), ("time",)),
    **{f"{n} planes": ("pack", {"bytes": BYTES, "planes": n, "words": 2}, ("planes",)) for n in (0, 5)},
    "words of more planes": ("pack", {"bytes": BYTES, "planes": 1, "words": 2}, ("words",)),
    "columns odd": ("multiply", {"left": zeros((2, 3)), "right": zeros((3, 8))}, ("right", 16)),
    "two right sides": ("multiply", {"left": zeros((2, 3))} | BOTH, ("right", "transposed")),
    "no spikes in a sum": ("pool_backward", pool(0, added=0, dspikes=zeros((1, 1, 64))), ("added", 64)),
    "65 spikes in a sum": ("pool_spikes", pool(16 * 65, added=65), ("added", 64)),
    **{f"{name} 0": ("pool_spikes", pool(**{name: 0}), (name,)) for name in ("size", "stride")},
    **{f"{name} 1": ("pool_spikes", pool(4, **{name: 1}), (name,)) for name in ("height", "width")},
    **{f"{name} 1 of 2": ("pool_spikes", pool(**{name: 1}), (name,)) for name in ("rows", "columns")},
    **{f"{n} of 16 leading": ("conv_backward", backward(leading=n), ("leading",)) for n in (0, 8, 32)},
    "no gradient": ("conv_backward", backward(dspikes=None), ("dspikes",)),
    "half a product": ("conv_backward", backward(**product(16) | {"right": None}), ("dspikes", "right")),
    "product of 8": ("conv_backward", backward(**product(8)), ("left", 16)),
    "constant, reset zero": ("conv_backward", constant(reset="zero"), ("reset zero",)),
    "constant, derivative given": ("conv_backward", constant(surrogate_in="given"), ("surrogate_in",)),
    "constant, no current": ("conv_backward", constant(current_in=None), ("current_in",)),
    "constant, every step": ("conv_backward", constant(want=["dcurrent", "dcurrent_in"]), ("dcurrent",)),
    "constant, 1,040 channels": ("conv_backward", constant(1040), ("kernel", 1024)),
}
ACCEPTED = {
    "12 bits": ("conv_lif", conv(THREE) | {"weight_bits": 12}),
    "kernel 7": ("conv_lif", conv(zeros((7, 7, 16, 16)), padding=3)),
    "a single channel": ("conv_lif", conv(THREE) | {"channels": 1}),
    "a single output": ("linear_lif", LINEAR | {"channels": 1}),
    "a single neuron in a step": ("constant_lif", CONSTANT | {"channels": 1, "time": 1}),
    "64 spikes in a window": ("pool_spikes", pool(256, height=2, width=2, rows=1, columns=1, added=64)),
    "a product of 16": ("conv_backward", backward(**product(16))),
    "constant, 1,024 channels": ("conv_backward", constant(1024)),
    "65,535 inputs": (
        "image_current",
        {"image": zeros((1, 1, 1, 65535)), "kernel": zeros((1, 1, 65535, 16)), "bias": zeros(16)}
        | {"height": 1, "width": 1, "rows": 1, "columns": 1, "padding": 0, "pool": 1, "max": False},
    ),
}


@pytest.mark.parametrize(("operation", "arguments", "facts"), MISNAMED)
def test_arguments_are_those_that_the_library_describes(operation, arguments, facts):
    with refusing(ValueError, *facts):
        library.call(operation, **arguments)


@pytest.mark.parametrize(("operation", "arguments", "facts"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_calls_raise_exceptions(operation, arguments, facts):
    with refusing(jax.errors.JaxRuntimeError, *facts):
        jax.block_until_ready(library.call(operation, **arguments))


@pytest.mark.parametrize(("operation", "arguments"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_calls_at_the_limits_are_accepted(operation, arguments):
    outputs = jax.device_get(library.call(operation, **arguments))
    assert all(np.isfinite(values).all() for values in outputs.values())


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
