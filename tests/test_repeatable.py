"""Training is bit-identical on every processor and with any number of threads.

Processes that these tests start have their own environment.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from commands import OPTIMISED
from jax import Array, lax
from long_sums import MOST, long_sums
from once import once
from trained_digests import JOBS, RECORDED, digests, first_difference, frames, started

SCRIPT = Path(__file__).parent / "helpers" / "trained_digests.py"
TWO_DEVICES = "--xla_force_host_platform_device_count=2"
CHOSEN = ("CSNN_ISA", "XLA_FLAGS", "NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS")
"""Environment variables that choose instructions or threads."""
PLAIN = {name: value for name, value in OPTIMISED.items() if name not in CHOSEN}


def trained(*jobs: str, xla: str = "", before: tuple[str, ...] = (), **variables: str):
    """The digests that the script prints in the given environment."""
    environment = PLAIN | {"XLA_FLAGS": f"{TWO_DEVICES} {xla}"} | variables
    done = subprocess.run([*before, sys.executable, SCRIPT, *jobs], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The digests of all jobs on this machine."""

    def make(folder: Path) -> None:
        (folder / "digests.json").write_text(json.dumps(trained()))

    return json.loads((once(tmp_path_factory, "digests", make) / "digests.json").read_text())


LONG = MOST + 1


@pytest.mark.parametrize(
    "function, shape, expected",
    [
        (lambda x: x @ x.T, (2, LONG), "dot"),
        (lambda x: x @ x.T, (2, MOST), None),
        (lambda x: x.sum(0), (LONG, 32), "reduce"),
        (lambda x: x.max(), (LONG,), None),
        (lambda x: x.astype(jnp.int32).sum(), (LONG,), None),
        (lambda x: lax.conv(x, x, (1, 1), "VALID"), (2, 2, 13, 5), "convolution"),
        (jax.named_scope("exact")(lambda x: x.sum()), (LONG, 64), None),
        (jax.grad(jax.named_scope("exact")(lambda x: jnp.sin(jnp.ones((LONG, 3)) @ x).sum())), (3, 2), "dot"),
        (lambda x: jnp.linalg.cholesky(x @ x.T), (3, 3), "custom-call"),
    ],
)
def test_long_sums_are_found(function: Callable[[Array], Array], shape: tuple[int, ...], expected: str | None):
    lines = long_sums(jax.jit(function).lower(jnp.ones(shape)).compile().as_text())
    assert [line.split()[0] for line in lines[:1]] == ([expected] if expected else [])


@pytest.mark.slow
def test_training_leaves_no_long_sum_to_xla(here):
    """Runs after `here`, so the compiled programs are in the cache."""
    assert trained("--sums") == {job: [] for job in here}


CORE = str(min(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else "0"
SSE = {"xla": "--xla_cpu_max_isa=SSE4_2", "CSNN_ISA": "baseline"}
ENVIRONMENTS = {
    "SSE4.2, one thread": SSE | {"before": ("taskset", "-c", CORE)},
    "one thread": {"before": ("taskset", "-c", CORE)},
    "AVX2": {"xla": "--xla_cpu_max_isa=AVX2", "CSNN_ISA": "avx2"},
    "SSE4.2": SSE,
    "256 bits": {"xla": "--xla_cpu_prefer_vector_width=256"},
    "NumPy without AVX-512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
    "OpenBLAS of Haswell": {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"},
}


def recorded() -> dict[str, list[str]]:
    return json.loads(RECORDED.read_text())


@pytest.mark.numeric
@pytest.mark.parametrize("job", ["events", "dense", "recurrent"])
def test_training_is_bit_identical_to_the_recorded_digests(job: str, tmp_path: Path):
    """From another processor, compiler or JAX version. Run `trained_digests.py --record` if training changes.

    Nothing is optimized, which takes a third of the time and must change no bit; a slow test optimizes all jobs.
    """
    ours = list(digests(started(JOBS[job].format(frames=frames(tmp_path)))))
    assert first_difference({job: ours}, recorded()) is None


@pytest.mark.numeric
def test_calibrated_weights_are_bit_identical_to_the_recorded_digest():
    assert next(digests(started(JOBS["default"]))) == recorded()["default"][0]


@pytest.mark.slow
def test_optimized_training_is_bit_identical_to_the_recorded_digests(here):
    assert first_difference(here, recorded()) is None


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_training_is_bit_identical_in_every_environment(environment, here):
    assert first_difference(trained(**ENVIRONMENTS[environment]), here) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "job"),
    [
        ("EPYC-Milan", "average"),
        ("max", "average"),
        pytest.param("SandyBridge", "dense", marks=pytest.mark.rare),  # takes minutes
    ],
)
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="no qemu-x86_64")
def test_training_is_bit_identical_on_an_emulated_processor(processor, job, here):
    """They have different caches, and the last one has no fused multiply-add, so libm's code paths differ, too."""
    emulated = trained(job, before=("qemu-x86_64", "-cpu", processor))
    assert first_difference(emulated, here) is None
