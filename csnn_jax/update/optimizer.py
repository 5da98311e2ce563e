"""The optimiser, of optax parts. The learning rate is not its own: every update is given one.

`csnn_torch/optimizer.py` computes the same with torch's optimisers.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from csnn_jax.config import TrainConfig
from csnn_jax.update.objective import AddUp


def make(config: TrainConfig, add_up: AddUp = jnp.sum) -> optax.GradientTransformation:
    """The transformation from a gradient to an update, which is then to be multiplied by the learning rate.

    In this order: the gradient is clipped (`clipped`), adam and sgd add the decayed weights to it,
    the optimiser makes a direction of it, and adamw adds the decayed weights to that. Constants are torch's.
    """
    parts = [clipped(config.clip_norm, add_up)] if config.clip_norm else []
    decay = [optax.add_decayed_weights(config.decay, decayed)] if config.decay else []
    if config.optimizer == "sgd":
        direction = [optax.trace(config.momentum)] if config.momentum else []
    else:
        direction = [optax.scale_by_adam()]
    parts += [*direction, *decay] if config.optimizer == "adamw" else [*decay, *direction]
    return optax.chain(*parts, optax.scale(-1.0))


def clipped(limit: float, add_up: AddUp = jnp.sum) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm`, whose sums `add_up` takes."""

    def clip(gradients: Any, params: Any = None) -> Any:
        del params
        norm = jnp.sqrt(sum(add_up(leaf * leaf) for leaf in jax.tree.leaves(gradients)))
        return jax.tree.map(lambda leaf: jnp.where(norm < limit, leaf, leaf / norm * limit), gradients)

    return optax.stateless(clip)


def decayed(params: Any) -> Any:
    """Which parameters weight decay is for: kernels; a bias has one dimension, a beta or threshold none."""
    return jax.tree.map(lambda parameter: parameter.ndim > 1, params)
