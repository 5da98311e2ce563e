"""Networks that NIR can tell."""

from dataclasses import replace

import numpy as np

from csnn_jax.config import ModelConfig
from csnn_jax.runs import layouts
from csnn_jax.runs.layouts import Tensors

SMALL = ModelConfig(conv_channels=(8, 16), hidden=(32,), pool="avg", reset="zero", time_steps=20)
STACKS = {
    "two conv": SMALL,
    "linear only": replace(SMALL, conv_channels=(), pool="max"),
    "one conv, no hidden": replace(SMALL, conv_channels=(8,), hidden=(), threshold=0.7),
    "three conv, colour, odd sizes": replace(
        SMALL, conv_channels=(4, 8, 8), hidden=(32, 16), input_shape=(34, 30, 3), kernel_size=5
    ),
    "no padding, a stride, no pool, no bias": replace(
        SMALL, kernel_size=(5, 4), padding="valid", stride=(1, 2), pool=("avg", "none"), bias=False
    ),
    "ten layers": replace(SMALL, conv_channels=(4,), hidden=(24,) * 8, time_steps=10, threshold=0.5),
    "awkward betas": replace(SMALL, beta=(0.0, 0.4, 1.0, 0.9)),
    "learnt": replace(SMALL, learn_beta=True, learn_threshold=True),
    "rate encoding": replace(SMALL, encoding="rate"),
}


def drawn(config: ModelConfig) -> Tensors:
    """Weights large enough for every layer to fire."""
    rng = np.random.default_rng(0)
    tensors: Tensors = {}
    for name, shape in layouts.expected_shapes(config).items():
        if name.endswith("beta"):
            tensors[name] = np.float32(rng.uniform(-0.1, 1.1))
        elif name.endswith("threshold"):
            tensors[name] = np.float32(rng.uniform(0.5, 1))
        else:
            bound = 7 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1
            tensors[name] = rng.uniform(-bound, bound, shape).astype(np.float32)
    return tensors
