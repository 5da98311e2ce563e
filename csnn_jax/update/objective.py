"""The loss that training minimises."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from csnn_jax.config import TrainConfig

Objective = Callable[[Array, Array, Array], Array]
"""(output spikes [time, batch, classes], labels [batch], densities [layers]) -> what training minimises, a scalar."""


def make(config: TrainConfig) -> Objective:
    """The loss of a job: `ce_rate` and, where there is a target, `rate_cost`."""

    def objective(spikes: Array, labels: Array, densities: Array) -> Array:
        loss = ce_rate(spikes, labels, config.label_smoothing)
        return loss if config.rate is None else loss + rate_cost(densities, *config.rate)

    return objective


def ce_rate(spikes: Array, labels: Array, smoothing: float = 0.0) -> Array:
    """Cross entropy of every step's output spikes, averaged over time and batch (snnTorch `ce_rate_loss`).

    Args:
        spikes: of the last layer [time, batch, classes].
        labels: true classes, whole numbers [batch]. One that is no class makes the loss NaN.
        smoothing: share of the truth that is spread evenly over the classes (torch `CrossEntropyLoss`).

    Returns:
        The loss in nats, a scalar. A silent network gives ln(classes). The floor, where only the right neuron fires,
            at every step, is ln(1 + (classes - 1) / e).

    Raises:
        ValueError: spikes or labels of another shape, or labels that are no whole numbers.
    """
    if spikes.ndim != 3 or labels.shape != spikes.shape[1:2] or not jnp.issubdtype(labels.dtype, jnp.integer):
        found = f"{list(spikes.shape)} and labels {labels.dtype} {list(labels.shape)}"
        raise ValueError(f"spikes are {found}, expected [time, batch, classes] and whole numbers [batch]")
    log_probability = jax.nn.log_softmax(spikes)
    picked = jnp.take_along_axis(log_probability, labels[None, :, None], axis=-1)[..., 0]
    if smoothing:
        picked = (1 - smoothing) * picked + smoothing * log_probability.mean(-1)
    is_class = (labels >= 0) & (labels < spikes.shape[-1])
    return -jnp.where(is_class, picked, jnp.nan).mean()


def rate_cost(densities: Array, target: float, weight: float) -> Array:
    """Cost of spike rates that miss a target: weight times the mean over hidden layers of (density - target)^2.

    The output layer is left out: its density belongs to the cross entropy. The squared distance of a firing rate from
    a target is that of Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons"
    (2020), of whole layers here and not of neurons.

    Args:
        densities: share of neurons that spike at a step, the output layer's last [layers].
        target: the density to come to.
        weight: of the distance, in the loss.
    """
    return weight * ((densities[:-1] - target) ** 2).mean()
