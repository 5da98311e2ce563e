"""Fixtures that several test modules share."""

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import EMITTERS, ENVIRONMENT, FOUR_DEVICES, SMALL, UNOPTIMISED, run
from digits import few_digits
from flax import nnx
from hypothesis import settings
from once import once

from csnn_jax.config import ModelConfig
from csnn_jax.engine import scan
from csnn_jax.network.model import CSNN, exact

# Optimising takes XLA longer than all the rest of these tests. The commands, in processes of their own, are compiled as
# for a user, and so is what depends on it: see the fixture `optimised`.
# Four devices are for the tests that spread a batch; others use the first one.
os.environ["JAX_COMPILATION_CACHE_DIR"] = ENVIRONMENT["JAX_COMPILATION_CACHE_DIR"]  # and not the user's own
os.environ["XLA_FLAGS"] = f"{ENVIRONMENT['XLA_FLAGS']} {FOUR_DEVICES} {UNOPTIMISED}".strip()

settings.register_profile("csnn", deadline=None, derandomize=True)
settings.load_profile("csnn")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A few of MNIST's digits, as `--dataset` takes them: 10 iterations of 32 are an epoch."""
    return f"idx:{once(tmp_path_factory, 'digits', few_digits)}"


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the stack `SMALL` on MNIST, by the event engine; only to be read.

    Every layer fires. What the training printed is in the file `printed` beside it.
    """
    return once(tmp_path_factory, "small", lambda folder: _train(folder, *SMALL, "--max-iters", 150)) / "run"


@pytest.fixture(scope="session")
def scan_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `small_run`, of the stack `bundles.SMALL`, by the scan engine in float64."""
    stack = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 6, "--pool", "avg", "--reset", "zero")
    job = ("--engine", "scan", "--dtype", "float64", "--max-iters", 60, "--seed", 3)
    return once(tmp_path_factory, "scan", lambda folder: _train(folder, *stack, *job)) / "run"


def _train(folder: Path, *flags: object) -> None:
    done = run("csnn_jax.train", *flags, "--eval-every", 50, "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    (folder / "printed").write_text(done.stdout)


@pytest.fixture(autouse=True)
def float32_again() -> Iterator[None]:
    """Takes back what a float64 job sets for its whole process."""
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def x64() -> Iterator[None]:
    """float64 in JAX for the length of a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def optimised() -> Callable[..., Callable]:
    """`jax.jit` as a user's process compiles."""
    options = {"xla_backend_optimization_level": 3, **EMITTERS}
    return functools.partial(jax.jit, compiler_options=options)


@pytest.fixture
def firing(x64) -> Callable[..., tuple[CSNN, jax.Array]]:
    """Makes a float64 network, on its grid, and images of which every layer that can fires: `firing(config)`.

    A silent network matches anything, so the weights are drawn, larger than the default, until 1 to 60 % of every
    layer's neurons fire at a step.
    """

    def make(config: ModelConfig) -> tuple[CSNN, jax.Array]:
        graph, params, images = _firing(config)
        return nnx.merge(graph, params), images

    return make


@functools.cache
def _firing(config: ModelConfig, batch: int = 3):
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (batch, *config.input_shape)) / 256)
    neurons = np.array([np.prod(layer.out_shape) for layer in config.layers]) * config.time_steps * batch
    graph = nnx.graphdef(CSNN(config, dtype=jnp.float64))
    fired = jax.jit(lambda params: scan.tally(nnx.merge(graph, params), images).fired)
    spiking = slice(len(neurons) - (config.output == "integrator"))
    density = np.zeros(len(neurons))
    for key in range(50):
        params = jax.tree.map(lambda p: 4 * p if p.ndim > 1 else p, nnx.state(CSNN(config, key, dtype=jnp.float64)))
        density = (np.asarray(fired(params)).sum(0) / neurons)[spiking]
        if (density > 0.01).all() and (density < 0.6).all():
            return graph, nnx.state(exact(nnx.merge(graph, params))), images
    raise AssertionError(f"no key makes every layer of {config} fire, the last one {density}")
