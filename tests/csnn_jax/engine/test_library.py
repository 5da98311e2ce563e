"""Loading the kernel library: its limits, and the errors if it can't be used."""

import subprocess

import jax.numpy as jnp
import pytest
from commands import ENVIRONMENT
from refusals import assert_line, refused_by_process, refusing

from csnn_jax.engine import bits, build, library


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
    command = [build.find_compiler(), "-x", "c++", "-shared", "-fPIC", "-o", path, "-"]
    subprocess.run(command, input=source, text=True, check=True)


def test_the_library_is_loaded_and_has_limits():
    assert library.failure() is None and library.available()
    expected = library.Limits(65535, 1024, 4, 12, list(range(1, 8)), [1, 2], resets=["subtract", "zero", "none"])
    assert library.limits() == expected


def test_without_the_library_the_engine_says_how_to_build_it(another):
    assert not library.available()
    facts = ("libcsnn.so", "C++20 compiler", "`python -m csnn_jax.engine.build`")
    assert_line(library.failure(), *facts)
    spikes = bits.Spikes(jnp.zeros((1, 1, 1), jnp.uint16), None)
    for use in (library.limits, lambda: bits.count(spikes)):
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
LIMITS = (
    FFI + ' extern "C" const void* csnn_limits() { return 0; } extern "C" const char* csnn_isa_problem() { return ""; }'
)


@pytest.mark.parametrize(
    ("more", "lacks"), [("", "csnn_ffi_minor"), (FFI, "csnn_limits"), (LIMITS, "csnn_constant_lif")]
)
def test_a_library_that_lacks_an_operation_is_refused(another, more, lacks):
    compile_library(another, f"{OURS} {more}")
    assert_line(library.failure(), "libcsnn.so", lacks, "rebuild")


def test_a_library_built_for_a_newer_jax_is_refused(another):
    """JAX would refuse its operations only when they run."""
    compile_library(another, f"{OURS} {FFI.replace('1', '99')}")
    assert_line(library.failure(), "libcsnn.so", "newer JAX", "`python -m csnn_jax.engine.build`")


@pytest.mark.slow
def test_an_unknown_instruction_set_is_a_user_error(tmp_path):
    environment = ENVIRONMENT | {"CSNN_ISA": "mmx"}
    refused_by_process("csnn_jax.train", names=("CSNN_ISA=mmx", "baseline"), env=environment, cwd=tmp_path)
