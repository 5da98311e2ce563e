"""The loss that training minimizes."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from csnn_jax.config import Readout, TrainConfig
from csnn_jax.network.rounding import exp, log, rounded, scaled
from csnn_jax.network.surrogate import reverse_mode_only


class Objective(NamedTuple):
    """The function that training minimizes.

    Attributes:
        reads: what it reads from the output layer: spikes or membranes.
        cost: (spikes or membranes [time, batch, classes], labels [batch], densities [layers]) -> a scalar.
    """

    reads: Readout
    cost: Callable[[Array, Array, Array], Array]


AddUp = Callable[..., Array]
"""The sum of an array over an axis, or of all its values: an engine's `add_up`."""


def make(config: TrainConfig, add_up: AddUp = jnp.sum) -> Objective:
    """The loss of a job plus `rate_cost` if there is a target rate; `add_up` computes long sums."""
    loss = {"ce_rate": ce_rate, "ce_membrane": ce_membrane, "mse_count": mse_count}[config.loss]

    def cost(output: Array, labels: Array, densities: Array) -> Array:
        value = loss(output, labels, config.label_smoothing, add_up)
        return value if config.rate is None else value + rounded(rate_cost(densities, *config.rate))

    return Objective(config.reads, cost)


def ce_rate(spikes: Array, labels: Array, smoothing: float = 0.0, add_up: AddUp = jnp.sum) -> Array:
    """Cross entropy of every step's output spikes, averaged over time and batch (snnTorch `ce_rate_loss`).

    Args:
        spikes: of the last layer [time, batch, classes].
        labels: true classes, integers [batch]. Inside `jax.jit`, where values aren't known, a label outside the classes
            makes the loss and its gradient NaN.
        smoothing: fraction of the label that is spread evenly over the classes (torch `CrossEntropyLoss`).
        add_up: computes the sums.

    Returns:
        The loss in nats, a scalar. A silent network gives ln(classes). The minimum, if the correct neuron alone fires
            at every step, is ln(1 + (classes - 1) / e).

    Raises:
        ValueError: spikes or labels have the wrong shape or type, a label is outside the classes, or smoothing isn't
            from 0 to 1.

    Examples:
        The loss falls if the right neuron spikes, here class 2 for one image over five steps:

        >>> import jax.numpy as jnp
        >>> from csnn_jax import ce_rate
        >>> silent = jnp.zeros((5, 1, 10))
        >>> bool(ce_rate(silent.at[:, :, 2].set(1), jnp.array([2])) < ce_rate(silent, jnp.array([2])))
        True
    """
    return _cross_entropy("spikes", spikes, labels, smoothing, add_up)


@reverse_mode_only()
def _cross_entropy(name: str, output: ArrayLike, labels: ArrayLike, smoothing: float, add_up: AddUp) -> Array:
    output, labels, valid = _checked(name, output, labels, smoothing)
    log_probability = log_softmax(output, add_up)
    picked = jnp.take_along_axis(log_probability, labels[None, :, None], axis=-1)[..., 0]
    if smoothing:
        spread = add_up(log_probability, -1)
        picked = scaled(picked, 1 - smoothing) + scaled(spread, smoothing / output.shape[-1])
    return rounded(valid * scaled(add_up(picked), -1 / picked.size))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def log_softmax(x: Array, add_up: AddUp) -> Array:
    """`jax.nn.log_softmax` over the last axis, with `add_up` for the sums of both passes."""
    shifted = x - x.max(-1, keepdims=True)
    return shifted - log(add_up(exp(shifted), -1))[..., None]


def _log_softmax_forward(x: Array, add_up: AddUp) -> tuple[Array, Array]:
    y = log_softmax(x, add_up)
    return y, y


def _log_softmax_backward(add_up: AddUp, y: Array, dy: Array) -> tuple[Array]:
    return (dy - rounded(exp(y) * add_up(dy, -1)[..., None]),)


log_softmax.defvjp(_log_softmax_forward, _log_softmax_backward)


def ce_membrane(membranes: Array, labels: Array, smoothing: float = 0.0, add_up: AddUp = jnp.sum) -> Array:
    """Cross entropy of every step's output membranes: the loss of snnTorch's tutorial 5, averaged over steps.

    Args:
        membranes: of the last layer [time, batch, classes].
        labels: as in `ce_rate`.
        smoothing: likewise.
        add_up: likewise.

    Raises:
        ValueError: as in `ce_rate`.
    """
    return _cross_entropy("membranes", membranes, labels, smoothing, add_up)


@reverse_mode_only()
def mse_count(spikes: Array, labels: Array, smoothing: float = 0.0, add_up: AddUp = jnp.sum) -> Array:
    """Squared error of the spike counts, averaged over batch and classes and divided by the number of steps.

    The target is a spike at every step for the correct class and none for the others (snnTorch `mse_count_loss` with
    its defaults).

    Args:
        spikes: of the last layer [time, batch, classes].
        labels: as in `ce_rate`.
        smoothing: fraction of the target that is spread evenly over the classes.
        add_up: computes the sum over the batch.

    Raises:
        ValueError: as in `ce_rate`.
    """
    spikes, labels, valid = _checked("spikes", spikes, labels, smoothing)
    steps, _, classes = spikes.shape
    target = steps * ((1 - smoothing) * jax.nn.one_hot(labels, classes, dtype=spikes.dtype) + smoothing / classes)
    with jax.named_scope("exact"):
        counts = spikes.sum(0)
    distance = (counts - target) ** 2
    return rounded(valid * scaled(add_up(distance), 1 / (distance.size * steps)))


def _checked(name: str, output: ArrayLike, labels: ArrayLike, smoothing: float) -> tuple[Array, Array, Array]:
    """The output, the labels limited to the classes, and a factor for the loss: 1, or NaN if a label isn't a class.

    Raises ValueError for arguments of the wrong shape, type or value.
    """
    if not (isinstance(smoothing, int | float | np.number) and 0 <= smoothing <= 1):
        raise ValueError(f"smoothing is {smoothing!r}, expected a number from 0 to 1")
    axes, values = "floats [time, batch, classes]", labels
    output, labels = _array(name, output), _array("labels", labels)
    if output.ndim != 3 or output.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"{name} are {output.dtype} {list(output.shape)}, expected {axes}")
    images, classes = output.shape[1:]
    if labels.shape != (images,) or not jnp.issubdtype(labels.dtype, jnp.integer):
        each = f"[{images}], one for each image of the {name} {list(output.shape)}, {axes}"
        raise ValueError(f"labels are {labels.dtype} {list(labels.shape)}, expected integers {each}")
    if labels.dtype.itemsize < 4:  # which may not hold the number of classes
        labels = labels.astype(jnp.int32)
    if not isinstance(values, jax.core.Tracer):
        low, high = (bound(np.asarray(values), initial=0) for bound in (np.min, np.max))
        if low < 0 or high >= classes:
            raise ValueError(f"labels have the value {low if low < 0 else high}, expected 0 to {classes - 1}")
    limited = jnp.clip(labels, 0, classes - 1)
    return output, limited, jnp.where((labels == limited).all(), 1, jnp.nan).astype(output.dtype)


def _array(name: str, value: ArrayLike) -> Array:
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} are of type {type(value).__name__}, expected an array of numbers") from None


def rate_cost(densities: Array, target: float, weight: float) -> Array:
    """Penalty on spike rates: weight times the mean over hidden layers of (density - target)^2.

    The output layer isn't included, because its density is determined by the cross entropy. The squared distance of a
    firing rate from a target is from Bellec et al., "A solution to the learning dilemma for recurrent networks of
    spiking neurons" (2020), but applies to whole layers here instead of neurons.

    Args:
        densities: fraction of neurons that spike at a step [layers], the output layer's last.
        target: the target density.
        weight: weight of the penalty in the loss.
    """
    return weight * rounded((densities[:-1] - target) ** 2).mean()
