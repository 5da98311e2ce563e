"""Trains and evaluates the network in JAX: one jit per training step, data set and state kept on the device."""

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
from csnn_jax.data import Split
from csnn_jax.engine import process, scan
from csnn_jax.network import model as models
from csnn_jax.runs import weights
from csnn_jax.runs.metrics import Evaluation
from csnn_jax.trained import Windows, floats, take
from csnn_jax.training import checkpoint
from csnn_jax.training.objective import ce_rate


class State(NamedTuple):
    """What a training step changes. `last_good` holds the parameters before the latest update: if that update
    turns out to have led to a gradient that is not finite, they are what there is to keep."""

    params: Any
    last_good: Any
    optimizer: Any


def make_update(graphdef, optimizer: optax.GradientTransformation, scale: float, engine: ModuleType = scan):
    """The training step, a pure function (State, x uint8, labels) -> (State, loss, finite) to be jitted.

    x is [batch, H, W, C] or [time, batch, H, W, C] and is divided by `scale`. Where the loss or the gradient is not
    finite the state is returned as it was. `engine` is one of those in csnn_jax.engine.
    """

    def update(state: State, x: Array, labels: Array) -> tuple[State, Array, Array]:
        def loss_of(params):
            model = nnx.merge(graphdef, params)
            return ce_rate(engine.run(model, floats(x, scale, model))[1], labels)

        loss, gradient = jax.value_and_grad(loss_of)(state.params)
        finite = jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((loss, gradient))]))
        updates, moments = optimizer.update(gradient, state.optimizer)
        new = State(optax.apply_updates(state.params, updates), state.params, moments)
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, state), loss, finite

    return update


class Learner:
    """A network, its optimiser and its training data on the device. See `job.Learner` for the methods.

    Args:
        config: the job; `config.model` must fit the data.
        train: what to learn from.
        tensors: weights to start from, in torch's layout; None: drawn from the seed.

    Raises:
        UserError: an engine that can't run the network.
    """

    def __init__(self, config: Config, train: Split, tensors: weights.Tensors | None = None):
        process.set_up(config.train.dtype)
        self.config = config
        dtype = jnp.dtype(config.train.dtype)
        if tensors is None:
            model = models.CSNN(config.model, config.train.seed, dtype=dtype)
        else:
            model = models.from_tensors(config.model, tensors, dtype)
        engine, self._engine = engines.choose(config.train.engine, model, frames=train.images.ndim == 5)
        self.graphdef, params = nnx.split(model)
        self.optimizer = optax.adam(config.train.lr)
        self.state = State(params, jax.tree.map(jnp.copy, params), self.optimizer.init(params))
        self._windows = Windows(config.model, self.graphdef, engine, config.train.seed)
        update = make_update(self.graphdef, self.optimizer, self._windows.scale, engine)
        self._update = scan.jit(update, donate_argnums=0)
        self._images, self._labels = self._windows.hold(train.images), jnp.asarray(train.labels)

    def describe(self) -> str:
        device = jax.devices()[0]
        kind = f" ({device.device_kind})" if device.device_kind != device.platform else ""
        return f"JAX {jax.__version__}, {self._engine}, {device.platform}{kind}"

    def step(self, iteration: int, index: np.ndarray) -> tuple[float, bool]:
        x = self._windows.present(self._images, index, (0, iteration))
        self.state, loss, finite = self._update(self.state, x, take(self._labels, index))
        return float(loss), bool(finite)

    def roll_back(self) -> None:
        self.state = self.state._replace(params=self.state.last_good)

    def evaluate(self, split: Split, go_on: Callable[[], bool] = lambda: True) -> Evaluation | None:
        return self._windows.evaluate(self.state.params, split, go_on)

    def trace(self, images: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        x = self._windows.present(self._windows.hold(images), np.arange(len(images)), (2, 0))
        found = self._windows.trace(self.state.params, x)
        return [np.asarray(m) for m in found.membranes], [np.asarray(s) for s in found.spikes]

    def tensors(self) -> weights.Tensors:
        return models.tensors(nnx.merge(self.graphdef, self.state.params))

    def save(self, directory: Path, iteration: int) -> None:
        checkpoint.save(directory, iteration, self.state)

    def restore(self, directory: Path) -> int:
        iteration, self.state = checkpoint.restore(directory, self.state)
        return iteration
