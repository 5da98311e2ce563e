"""The optimiser, of optax parts. The learning rate is not its own: every update is given one.

`csnn_torch/optimizer.py` computes the same with torch's optimisers.
"""

from typing import Any

import jax
import optax

from csnn_jax.config import TrainConfig


def make(config: TrainConfig) -> optax.GradientTransformation:
    """The transformation from a gradient to an update, which is then to be multiplied by the learning rate.

    In this order: the gradient is clipped (`optax.clip_by_global_norm`), adam and sgd add the decayed weights to it,
    the optimiser makes a direction of it, and adamw adds the decayed weights to that. Constants are torch's.
    """
    parts = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    decay = [optax.add_decayed_weights(config.decay, decayed)] if config.decay else []
    if config.optimizer == "sgd":
        direction = [optax.trace(config.momentum)] if config.momentum else []
    else:
        direction = [optax.scale_by_adam()]
    parts += [*direction, *decay] if config.optimizer == "adamw" else [*decay, *direction]
    return optax.chain(*parts, optax.scale(-1.0))


def decayed(params: Any) -> Any:
    """Which parameters weight decay is for: kernels; a bias has one dimension, a beta or threshold none."""
    return jax.tree.map(lambda parameter: parameter.ndim > 1, params)
