"""The settings of a training process."""

import subprocess
import sys

from commands import ENVIRONMENT, SMALL
from refusals import refused_by_process

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


def test_a_job_sets_its_type_and_a_cache_whose_empty_entries_are_dropped(tmp_path):
    cache = tmp_path / "csnn_jax" / "xla"
    cache.mkdir(parents=True)
    (cache / "jit_a-cache").touch()
    (cache / "jit_b-cache").write_bytes(b"compiled")
    assert settings("float32", XDG_CACHE_HOME=str(tmp_path)) == [str(cache), "False", "float32"]
    names = [path.name for path in cache.iterdir()]
    assert "jit_b-cache" in names and "jit_a-cache" not in names
    elsewhere = str(tmp_path / "elsewhere")
    assert settings("float64", JAX_COMPILATION_CACHE_DIR=elsewhere) == [elsewhere, "True", "float64"]


def test_a_platform_that_is_not_installed_is_refused_in_one_line(tmp_path):
    flags = (*SMALL, "--out", tmp_path / "run")
    blind = ENVIRONMENT | {"JAX_PLATFORMS": "cuda"}
    refused_by_process("csnn_jax.train", *flags, names=("JAX_PLATFORMS=cuda", "cpu"), env=blind)
