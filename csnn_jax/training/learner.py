"""Trains and evaluates the network in JAX: one jit per training step, data set and state kept on the device."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from csnn_jax import engine as engines
from csnn_jax.config import Config
from csnn_jax.data import Split, encode
from csnn_jax.engine import scan
from csnn_jax.network import model as models
from csnn_jax.runs import weights
from csnn_jax.runs.metrics import Evaluation, evaluate
from csnn_jax.training import checkpoint
from csnn_jax.training.objective import ce_rate, predict


class State(NamedTuple):
    """What a training step changes. `last_good` holds the parameters before the latest update: if that update
    turns out to have led to a gradient that is not finite, they are what there is to keep."""

    params: Any
    last_good: Any
    optimizer: Any


def set_up_jax(dtype: str) -> None:
    """Compilation cache on disk (unless JAX_COMPILATION_CACHE_DIR says where, or is empty), and float64 if asked."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(home, "csnn_jax", "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Else a step may begin before the memory of the one before it is free, and one day needs it twice.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    _keep_freed_memory()
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)


def _keep_freed_memory() -> None:
    """Has glibc reuse freed memory, where there is glibc, instead of handing it back to the system.

    XLA frees and asks again for all of a step's memory, a gigabyte, at every step; the page faults of touching it anew
    took a tenth of a training iteration. (With a single arena they would be rarer still, but XLA's threads would wait
    for its lock, which took as long wherever compilation had left the arena in pieces.)
    """
    mmap_max, trim_threshold = -4, -1  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, -1)  # never


def make_update(graphdef, optimizer: optax.GradientTransformation, scale: float, engine: ModuleType = scan):
    """The training step, a pure function (State, x uint8, labels) -> (State, loss, finite) to be jitted.

    x is [batch, H, W, C] or [time, batch, H, W, C] and is divided by `scale`. Where the loss or the gradient is not
    finite the state is returned as it was. `engine` is one of those in csnn_jax.engine.
    """

    def update(state: State, x: Array, labels: Array) -> tuple[State, Array, Array]:
        def loss_of(params):
            model = nnx.merge(graphdef, params)
            return ce_rate(engine.run(model, _floats(x, scale, model))[1], labels)

        loss, gradient = jax.value_and_grad(loss_of)(state.params)
        finite = jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((loss, gradient))]))
        updates, moments = optimizer.update(gradient, state.optimizer)
        new = State(optax.apply_updates(state.params, updates), state.params, moments)
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, state), loss, finite

    return update


def _floats(x: Array, scale: float, model: models.CSNN) -> Array:
    return x.astype(model.blocks[0].bias[...].dtype) / scale


class Learner:
    """A network, its optimiser and its training data on the device. See `job.Learner` for the methods.

    Args:
        config: the job; `config.model` must fit the data.
        train: what to learn from; None: the learner only evaluates.
        tensors: weights to start from, in torch's layout; None: drawn from the seed.
        frames: the images have a time axis of their own [N, T, H, W, C].
    """

    def __init__(
        self,
        config: Config,
        train: Split | None = None,
        tensors: weights.Tensors | None = None,
        frames: bool = False,
    ):
        frames = frames or (train is not None and train.images.ndim == 5)
        set_up_jax(config.train.dtype)
        self.config = config
        model = models.CSNN(config.model, config.train.seed, dtype=jnp.dtype(config.train.dtype))
        if tensors is not None:
            models.load_tensors(model, tensors)
        self._engine, self._engine_name = engines.choose(config.train.engine, model, frames)
        self.graphdef, params = nnx.split(model)
        self.optimizer = optax.adam(config.train.lr)
        self.state = State(params, jax.tree.map(jnp.copy, params), self.optimizer.init(params))
        self._scale = 255.0 if config.model.encoding == "direct" else 1.0  # encoded spikes are 0 or 1 already
        self._update = scan.jit(make_update(self.graphdef, self.optimizer, self._scale, self._engine), donate_argnums=0)
        self._tally = scan.jit(self._tally_of)
        self._trace = scan.jit(self._trace_of)
        self._train = None if train is None else (jnp.asarray(train.images), jnp.asarray(train.labels), train.images)

    def describe(self) -> str:
        device = jax.devices()[0]
        kind = f" ({device.device_kind})" if device.device_kind != device.platform else ""
        return f"JAX {jax.__version__}, {self._engine_name}, {device.platform}{kind}"

    def step(self, iteration: int, index: np.ndarray) -> tuple[float, bool]:
        assert self._train is not None
        images, labels, host_images = self._train
        x = self._input(images, host_images, index, (0, iteration))
        self.state, loss, finite = self._update(self.state, x, _take(labels, index))
        return float(loss), bool(finite)

    def roll_back(self) -> None:
        self.state = self.state._replace(params=self.state.last_good)

    def evaluate(self, split: Split, go_on: Callable[[], bool] = lambda: True) -> Evaluation | None:
        images = jnp.asarray(split.images)

        def tally(rows: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
            classes, spikes = self._tally(self.state.params, self._input(images, split.images, rows, (1, number)))
            return np.asarray(classes), np.asarray(spikes)

        return evaluate(split, self.config.model, tally, go_on)

    def trace(self, images: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        rows = np.arange(len(images))
        found = self._trace(self.state.params, self._input(jnp.asarray(images), images, rows, (2, 0)))
        return [np.asarray(m) for m in found.membranes], [np.asarray(s) for s in found.spikes]

    def tensors(self) -> weights.Tensors:
        return models.tensors(nnx.merge(self.graphdef, self.state.params))

    def save(self, directory: Path, iteration: int) -> None:
        checkpoint.save(directory, iteration, self.state)

    def restore(self, directory: Path) -> int:
        iteration, self.state = checkpoint.restore(directory, self.state)
        return iteration

    def _input(self, images: Array, host_images: np.ndarray, index: np.ndarray, stream: tuple[int, int]) -> Array:
        """One batch, uint8: gathered on the device, or encoded as spikes on the host (as csnn_torch does too)."""
        model = self.config.model
        if model.encoding != "direct":
            seed = (self.config.train.seed, *stream)
            return jnp.asarray(encode(host_images[index], model.time_steps, model.encoding, seed))
        return _take(images, index)

    def _tally_of(self, params, x: Array) -> tuple[Array, Array]:
        model = nnx.merge(self.graphdef, params)
        sums = self._engine.tally(model, _floats(x, self._scale, model))
        return predict(sums.counts), sums.fired

    def _trace_of(self, params, x: Array) -> scan.Trace:
        model = nnx.merge(self.graphdef, params)
        return self._engine.trace(model, _floats(x, self._scale, model))[1]


@jax.jit
def _take(array: Array, index: np.ndarray) -> Array:
    """Rows of `array`; images that bring their own time axis [N, T, ...] become time-major [T, batch, ...]."""
    rows = array[index]
    return rows.swapaxes(0, 1) if array.ndim == 5 else rows
