"""Fixtures shared by several test modules."""

import functools
import gc
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import jax
import pytest
from commands import EMITTERS, ENVIRONMENT, FOUR_DEVICES, SMALL, passed
from digits import few_digits
from hypothesis import settings
from once import once

from csnn_jax import runner
from csnn_jax.figures import style
from csnn_jax.update import trainer

# XLA spends more time on optimization than these tests take otherwise. Functions for which it matters are compiled as
# for a user: see the fixture `optimised`, and `commands.OPTIMISED` for commands.
# Tests that split a batch use four devices; others use the first one.
for name in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"):
    os.environ[name] = ENVIRONMENT[name]  # instead of the user's
os.environ["XLA_FLAGS"] = f"{ENVIRONMENT['XLA_FLAGS']} {FOUR_DEVICES}"

gc.disable()  # until everything is imported: see pytest_collection

settings.register_profile("csnn", deadline=None, derandomize=True)
settings.load_profile("csnn")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Makes garbage collection rare, and exempts what the imports made: it takes a tenth of the time otherwise."""
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 10, 10)
        gc.enable()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A few MNIST digits as a value for `--dataset`; an epoch has 10 iterations of 32."""
    return f"idx:{once(tmp_path_factory, 'digits', few_digits)}"


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the stack `SMALL` on MNIST, trained with the event engine; read-only.

    Every layer fires. The training output is in the file `printed` next to it.
    """
    job = (*SMALL, "--schedule", "constant", "--max-iters", 60, "--eval-every", 60)
    return once(tmp_path_factory, "small", lambda folder: _train(folder, *job)) / "run"


@pytest.fixture(scope="session")
def scan_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like `small_run`, but with the stack `bundles.SMALL` and the scan engine in float64."""
    stack = ("--conv-channels", 4, "--hidden", 16, "--time-steps", 6, "--pool", "avg", "--reset", "zero")
    job = ("--engine", "scan", "--dtype", "float64", "--schedule", "constant", "--max-iters", 20, "--eval-every", 0)
    return once(tmp_path_factory, "scan", lambda folder: _train(folder, *stack, *job, "--seed", 3)) / "run"


def _train(folder: Path, *flags: object) -> None:
    (folder / "printed").write_text(passed("csnn_jax.train", *flags, "--out", folder / "run"))
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(autouse=True, scope="session")
def quick_figures() -> None:
    """Draws figures without measuring their text, except in tests that use `constrained`."""
    style.LAYOUT = None


@pytest.fixture
def constrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws figures as for users: all text has its own place."""
    monkeypatch.setattr(style, "LAYOUT", "constrained")


@pytest.fixture
def recompiled() -> Iterator[None]:
    """Compiles networks again during and after a test that changes what they compute."""
    for function in (runner.compiled, trainer.compiled):
        function.cache_clear()
    yield
    for function in (runner.compiled, trainer.compiled):
        function.cache_clear()


@pytest.fixture(autouse=True)
def float32_again() -> Iterator[None]:
    """Resets what a float64 job sets for the whole process."""
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def x64() -> Iterator[None]:
    """Enables float64 in JAX during a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def optimised() -> Callable[..., Callable]:
    """`jax.jit`, compiling as in a user's process."""
    options = {"xla_backend_optimization_level": 3, **EMITTERS}
    return functools.partial(jax.jit, compiler_options=options)
