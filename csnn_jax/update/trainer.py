"""Trains and evaluates the network in JAX: one jit per training step, the state kept on the devices."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from types import ModuleType
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax

from csnn_jax.config import Config, TrainConfig, check_decided
from csnn_jax.data import Images, Split, batches, check_split
from csnn_jax.devices import mesh
from csnn_jax.engine import normalized, process, scan
from csnn_jax.engine.normalized import Normalized
from csnn_jax.errors import UserError
from csnn_jax.initial import start as initial
from csnn_jax.network import model as models
from csnn_jax.network.rounding import rounded
from csnn_jax.runner import Runners
from csnn_jax.runs import layouts, normalization
from csnn_jax.runs.metrics import Evaluation, NeuronSummary, StepMetrics
from csnn_jax.runs.normalization import Statistics
from csnn_jax.training import plan
from csnn_jax.training.feed import Batch
from csnn_jax.update import gradient
from csnn_jax.update import objective as objectives
from csnn_jax.update import optimizer as optimizers
from csnn_jax.update.gradient import Gradient
from csnn_jax.update.objective import AddUp
from csnn_jax.window import Trace


class State(NamedTuple):
    """The state that a training step changes.

    Attributes:
        params: the parameters.
        last_good: the parameters before the latest update, to keep if that update leads to a gradient that isn't
            finite.
        optimizer: the optimizer's moments.
        average: averaged parameters; None without averaging.
    """

    params: Any
    last_good: Any
    optimizer: Any
    average: Any = None


def make_update(
    graphdef: nnx.GraphDef, optimizer: optax.GradientTransformation, gradient: Gradient, add_up: AddUp = jnp.sum
) -> Callable[..., tuple[State, StepMetrics]]:
    """Makes the training step, a pure function that the caller jits.

    Returns:
        (State, x, labels, rate, sound, renewal, masks, choosing, share) -> (State, StepMetrics). x is uint8 [batch, H,
            W, C] or [time, batch, H, W, C]; rate is the learning rate; sound is whether everything has been finite so
            far; renewal is the weight of the new parameters in the average; masks are dropout's; choosing is whether to
            choose the exponents of grids again; share is the batch's weight in running statistics. If the loss, the
            gradient or an earlier step isn't finite, the state is returned unchanged, so steps that were dispatched
            before the host noticed have no effect.
    """

    def with_exponents(params: Any, before: Any, choosing: Array | bool) -> Any:
        """The parameters with newly chosen exponents, or those of `before`."""
        model, old = nnx.merge(graphdef, params), nnx.merge(graphdef, before)
        for name, layer in model.weights.items():
            if layer.exponents is not None:
                choose, exponents = partial(layer.best_exponents, add_up), old.weights[name].exponents[...]
                layer.exponents = nnx.Param(lax.cond(choosing, choose, lambda exponents=exponents: exponents))
        return nnx.split(model)[1]

    def with_statistics(params: Any, statistics: dict[str, Statistics], share: float | None) -> Any:
        """The parameters with running statistics that include those of a batch."""
        model = nnx.merge(graphdef, params)
        model.learn(statistics, share)
        return nnx.split(model)[1]

    def update(
        state: State,
        x: Array,
        labels: Array,
        rate: float,
        sound: Array | bool = True,
        renewal: float | None = None,
        masks: Sequence[Array] = (),
        choosing: Array | bool = True,
        share: float | None = None,
    ) -> tuple[State, StepMetrics]:
        loss, densities, gradients, statistics = gradient(state.params, x, labels, *masks)
        leaves = jax.tree.leaves((loss, gradients))
        finite = jnp.all(jnp.stack([sound, *[jnp.isfinite(leaf).all() for leaf in leaves]]))
        gradients = jax.tree.map(rounded, gradients)  # or the compiler merges factors before and after
        updates, moments = optimizer.update(gradients, state.optimizer, state.params)
        updates = jax.tree.map(lambda update: rounded(update * rate), updates)
        params = with_exponents(optax.apply_updates(state.params, updates), state.params, choosing)
        if statistics is not None:
            params = with_statistics(params, statistics, share)
        average = state.average
        if average is not None:
            mean = jax.tree.map(lambda old, new: old + rounded(renewal * (new - old)), average, params)
            average = with_exponents(mean, average, choosing)
        new = State(params, state.params, moments, average)
        kernels = [layer.kernel[...] for layer in nnx.merge(graphdef, gradients).weights.values()]
        norms = jnp.stack([jnp.sqrt(add_up(kernel * kernel)) for kernel in kernels])
        new = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, state)
        return new, StepMetrics(loss, finite, densities, norms)

    return update


@lru_cache(maxsize=8)
def compiled(
    graphdef: nnx.GraphDef, settings: TrainConfig, engine: ModuleType, devices: mesh.Devices
) -> tuple[optax.GradientTransformation, Callable[..., tuple[State, StepMetrics]]]:
    """The optimizer and the jitted training step, which trainers of equal networks and settings share.

    So a series of seeds or learning rates compiles them once.

    Args:
        graphdef: the network's structure.
        settings: those that the step depends on, see `of_step`.
        engine: as for `gradient.make`.
        devices: likewise.
    """
    add_up = engine.add_up
    optimizer, objective = optimizers.make(settings, add_up), objectives.make(settings, add_up)
    of_batch = gradient.make(graphdef, objective, engine, settings.part, devices, settings.dropout)
    return optimizer, scan.jit(make_update(graphdef, optimizer, of_batch, add_up), donate_argnums=0)


def of_step(settings: TrainConfig) -> TrainConfig:
    """The settings with defaults for those that a training step doesn't depend on."""
    default, around = TrainConfig(), ("epochs", "lr", "init", "init_density", "init_from", "seed", "max_iters")
    reports = ("eval_every", "eval_images", "checkpoint_every", "keep_checkpoints", "schedule", "warmup", "ema")
    return replace(settings, **{name: getattr(default, name) for name in (*around, *reports)})


class Trainer:
    """Trains a network in JAX, and owns its parameters, optimizer and data.

    `training.trainer.Trainer` documents the methods.

    Args:
        config: the job, as returned by `config.decided`; `config.model` must fit the data.
        train: training data.
        tensors: initial weights in torch's layout; None: from the seed and `config.train.init`.
        devices: number of devices of this process that share every batch, or "all".

    Raises:
        ValueError: the config contains `auto`, or images or labels don't fit the network.
        UserError: the engine can't run the network, there are fewer devices, or they can't share a batch evenly.
    """

    def __init__(
        self,
        config: Config,
        train: Split,
        tensors: layouts.Tensors | None = None,
        devices: int | Literal["all"] = 1,
    ):
        check_decided(config)
        check_split(train, config.model)
        process.set_up(config.train.dtype)
        settings, self.config, self.devices = config.train, config, mesh.chosen(devices)
        if settings.batch_size % self.devices.count:
            expected = f"expected a multiple of {self.devices.count}, the number of devices that share it"
            raise UserError(f"--batch-size {settings.batch_size}: {expected}")
        model = models.without_values(config.model, settings.dtype)
        if settings.batch_norm and self.devices.count > 1:
            raise UserError(f"--batch-norm: expected one device and process, not {self.devices.count}")
        self._runners = Runners(model, settings.engine, settings.seed, self.devices)
        self._engine = self._runners.describe(train.images)  # refuses before weights are calibrated, which takes long
        given = None if tensors is None else initial.Start.given(config.model, tensors)
        self.start = given or initial.start(config, train)
        models.load_arrays(model, self.start.arrays)
        self.graphdef, params = nnx.split(self._normalized(model, train) if settings.batch_norm else model)
        self._choosing = plan.choosing(settings, len(train.labels))
        engine = normalized if settings.batch_norm else self._runners.of(train.images).engine
        optimizer, self._update = compiled(self.graphdef, of_step(settings), engine, self.devices)
        state = State(params, params, optimizer.init(params), None if settings.ema is None else params)
        self.state, self._sound = self.devices.copy((state, np.array(True)))

    def _normalized(self, model: models.CSNN, train: Split) -> Normalized:
        """A network with batch normalization."""
        tensors, start = initial.normalized(self.config, self.start, train)
        models.load_tensors(model, tensors)
        return Normalized(model, start)

    def describe(self) -> str:
        training = "scan engine (--batch-norm), evaluations: " if self.config.train.batch_norm else ""
        return f"JAX {jax.__version__}, {training}{self._engine}, {self.devices.describe()}"

    def rows(self, batch: int) -> slice:
        return self.devices.rows(batch)

    def step(self, batch: Batch, rate: float) -> StepMetrics:
        self.state, metrics = self._update(*self._operands(batch, rate))
        self._sound = metrics.finite
        return metrics

    def _operands(self, batch: Batch, rate: float) -> tuple[Any, ...]:
        size = len(batch.labels) * self.devices.processes
        x = self.devices.put(batch.images, size, batch.images.ndim - 4)
        labels = self.devices.put(batch.labels, size)
        renewal = None if self.config.train.ema is None else self.config.train.renewal(batch.iteration)
        masks = self._masks(batch.iteration, size)
        share = normalization.share(batch.iteration) if self.config.train.batch_norm else None
        return self.state, x, labels, rate, self._sound, renewal, masks, batch.iteration < self._choosing, share

    def _masks(self, iteration: int, batch: int) -> tuple[Array, ...]:
        """Dropout's masks for an iteration; empty without dropout."""
        settings = self.config.train
        if not settings.dropout:
            return ()
        drawn = batches.dropout_masks(self.config.model, settings.dropout, settings.seed, iteration, batch)
        return tuple(self.devices.put(mask[self.rows(batch)], batch) for mask in drawn)

    def roll_back(self) -> None:
        self.state = self.state._replace(params=self.devices.copy(self.state.last_good))  # a step donates both

    @property
    def _weights(self) -> Any:
        """The result of training: the averaged parameters, or the parameters if there is no average."""
        return self.state.params if self.state.average is None else self.state.average

    def evaluate(self, split: Split, go_on: Callable[[], bool] = lambda: True) -> Evaluation | None:
        return self._runners.of(split.images).evaluate(self._plain(self._weights), split, go_on)

    def summarize_neurons(self, images: Images, before: bool = False) -> dict[str, NeuronSummary]:
        params = self._plain(self.state.last_good if before else self.state.params)
        return self._runners.of(images).summarize_neurons(mesh.alone(params), images)

    def trace(self, images: np.ndarray) -> Trace:
        runner = self._runners.of(images)
        x = runner.present(runner.hold(images), np.arange(len(images)), (2, 0))
        return runner.trace(mesh.alone(self._plain(self._weights)), x)

    def tensors(self) -> layouts.Tensors:
        return layouts.on_grid(self.config.model, self.masters())

    def masters(self) -> layouts.Tensors:
        return self._tensors(self._weights)

    def _tensors(self, params: Any) -> layouts.Tensors:
        """Parameters with torch's names and layouts, without the normalization that they may contain."""
        model = nnx.merge(self.graphdef, mesh.alone(params))
        return model.folded() if isinstance(model, Normalized) else models.tensors(model)

    def _plain(self, params: Any) -> Any:
        """The parameters of the network that is evaluated: of the same one without normalization."""
        if not self.config.train.batch_norm:
            return params
        dtype = jnp.dtype(self.config.train.dtype)
        return self.devices.copy(nnx.split(models.from_tensors(self.config.model, self._tensors(params), dtype))[1])

    def snapshot(self) -> dict[str, np.ndarray]:
        return {_name(path): np.array(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(self.state)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        restored = jax.tree_util.tree_map_with_path(lambda path, _: jnp.array(state[_name(path)]), self.state)
        self.state, self._sound = self.devices.copy((restored, np.array(True)))


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
