"""What a process that trains sets for itself."""

import os
import subprocess
import sys

import pytest
from commands import ENVIRONMENT, SMALL, refused_by_process

CODE = """
from csnn_jax.engine import process
process.set_up({dtype!r})
import jax
print(jax.config.jax_compilation_cache_dir, jax.config.jax_enable_x64, jax.numpy.zeros(1).dtype)
"""


def settings(dtype: str, **environment: str) -> list[str]:
    clean = {name: value for name, value in ENVIRONMENT.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    command = [sys.executable, "-c", CODE.format(dtype=dtype)]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(("dtype", "x64"), [("float32", "False"), ("float64", "True")])
def test_float64_is_switched_on_for_a_job_that_asks_for_it(dtype, x64, tmp_path):
    assert settings(dtype, XDG_CACHE_HOME=str(tmp_path))[1:] == [x64, dtype]


def test_the_cache_is_the_users_unless_the_environment_says_where(tmp_path):
    assert settings("float32", XDG_CACHE_HOME=str(tmp_path))[0] == os.path.join(tmp_path, "csnn_jax", "xla")
    elsewhere = str(tmp_path / "elsewhere")
    assert settings("float32", JAX_COMPILATION_CACHE_DIR=elsewhere)[0] == elsewhere


def test_empty_entries_of_the_cache_are_dropped(tmp_path):
    cache = tmp_path / "csnn_jax" / "xla"
    cache.mkdir(parents=True)
    (cache / "jit_a-cache").touch()
    (cache / "jit_b-cache").write_bytes(b"compiled")
    settings("float32", XDG_CACHE_HOME=str(tmp_path))
    names = [path.name for path in cache.iterdir()]
    assert "jit_b-cache" in names and "jit_a-cache" not in names


def test_a_platform_that_is_not_installed_is_refused_in_one_line(tmp_path):
    out = tmp_path / "run"
    blind = ENVIRONMENT | {"JAX_PLATFORMS": "cuda"}
    line = refused_by_process("csnn_jax.train", *SMALL, "--out", out, env=blind)
    assert "JAX_PLATFORMS=cuda: JAX has no such device here" in line
    assert not out.exists()
