"""What training minimises and what evaluation counts."""

import jax
import jax.numpy as jnp
from jax import Array


def ce_rate(spikes: Array, labels: Array) -> Array:
    """Cross entropy of every step's output spikes, averaged over time and batch (snnTorch `ce_rate_loss`).

    Args:
        spikes: of the last layer [time, batch, classes].
        labels: true classes, whole numbers [batch]. One that is no class makes the loss NaN.

    Returns:
        The loss in nats, a scalar. A silent network gives ln(classes). The floor, where only the right neuron fires,
        at every step, is ln(1 + (classes - 1) / e).
    """
    log_probability = jax.nn.log_softmax(spikes)
    picked = jnp.take_along_axis(log_probability, labels[None, :, None], axis=-1)[..., 0]
    is_class = (labels >= 0) & (labels < spikes.shape[-1])
    return -jnp.where(is_class, picked, jnp.nan).mean()


def predict(counts: Array) -> Array:
    """The class [batch] with the most output spikes [batch, classes], the lowest on ties (snnTorch `accuracy_rate`)."""
    return counts.argmax(-1)
