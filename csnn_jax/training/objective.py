"""What training minimises and what evaluation counts."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


def ce_rate(spikes: Float[Array, "time batch classes"], labels: Int[Array, " batch"]) -> Float[Array, ""]:
    """Cross entropy of every step's output spikes, averaged over time and batch (snnTorch `ce_rate_loss`).

    A silent network gives ln(classes); the floor, where only the right neuron fires, at every step, is
    ln(1 + (classes - 1) / e).
    """
    log_probability = jax.nn.log_softmax(spikes)
    picked = jnp.take_along_axis(log_probability, labels[None, :, None], axis=-1)
    return -picked.mean()


def predict(counts: Float[Array, "batch classes"]) -> Int[Array, " batch"]:
    """The class with the most output spikes, the lowest on ties (snnTorch `accuracy_rate`)."""
    return counts.argmax(-1)
