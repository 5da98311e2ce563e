"""The C++ operations alone, under AddressSanitizer and UBSan, and the errors of failed builds."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import assert_line, refusing

from csnn_jax.engine import build

PROGRAM = Path(__file__).parent / "test_ops.cc"
# With this option on, GCC 12 misaligns variables on the stack (GCC bug 110027).
OPTIONS = {"ASAN_OPTIONS": "detect_stack_use_after_return=0"}
SANITIZE = ("-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.mark.slow
def test_operations_under_sanitizers(tmp_path):
    program = build.link_program(PROGRAM, tmp_path / "test_ops", SANITIZE)
    for isa in build.instruction_sets(build.find_compiler()):
        done = subprocess.run(
            [program], env=os.environ | OPTIONS | {"CSNN_ISA": isa}, capture_output=True, text=True, check=False
        )
        if "expected one of this machine's" in done.stderr:  # an older CPU: the others were checked
            continue
        assert (done.stdout.strip(), done.returncode) == (isa, 0), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-g++") and shutil.which("qemu-aarch64")),
    reason="needs g++-aarch64-linux-gnu and qemu-user",
)
def test_operations_on_aarch64(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "aarch64-linux-gnu-g++")
    program = build.link_program(PROGRAM, tmp_path / "test_ops", ("-static",))
    done = subprocess.run(["qemu-aarch64", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("baseline", 0), done.stdout + done.stderr


def test_a_failed_build_is_reported_in_one_line():
    command = [sys.executable, "-m", "csnn_jax.engine.build"]
    done = subprocess.run(command, env=os.environ | {"CXX": "false"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "failed" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_compiler_may_have_arguments(monkeypatch):
    sets = build.instruction_sets(build.find_compiler())
    monkeypatch.setenv("CXX", f"env {shlex.join(build.find_compiler())}")
    assert build.find_compiler()[0] == "env" and build.instruction_sets(build.find_compiler()) == sets


def test_a_missing_compiler_is_reported_in_one_line(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with refusing(build.BuildError, "c++", "g++", "clang++", unchanged=tmp_path):
        build.build(tmp_path / "library.so")
    monkeypatch.setenv("CXX", "/nowhere/c++")
    with refusing(build.BuildError, "CXX /nowhere/c++", unchanged=tmp_path):
        build.build(tmp_path / "library.so")


@pytest.mark.parametrize("folder", [False, True], ids=["missing", "empty"])
def test_a_missing_jaxlib_is_reported_in_one_line(tmp_path, folder):
    """As if pip had removed its files, of which an empty folder may be left."""
    if folder:
        (tmp_path / "jaxlib").mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(build.SOURCES.parents[2])])}
    command = [sys.executable, "-S", "-m", "csnn_jax.engine.build"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert_line(done.stderr.removesuffix("\n"), "jaxlib", "not installed")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have one instruction set")
def test_an_installation_compiles_the_newest_kernels_of_its_processor():
    compiler = build.find_compiler()
    flags = Path("/proc/cpuinfo").read_text().split()
    expected = "avx512" if "avx512vl" in flags else "avx2" if "avx2" in flags else "baseline"
    assert build.instruction_sets(compiler, here=True) == {expected: build.X86_SETS[expected]}
    assert build.instruction_sets(["false"], here=True) == build.instruction_sets(compiler) == build.X86_SETS
