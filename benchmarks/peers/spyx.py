"""Spyx: a `Sequential` as in its README, trained with the compiled step from "How to train a model".

https://github.com/kmheckel/spyx#quickstart
https://github.com/kmheckel/spyx/blob/main/docs/how-to/train.md
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import spyx
import spyx.nn as snn
from flax import nnx

PACKAGES = ("spyx", "jax", "jaxlib", "flax", "optax", "numpy")
DIFFERS = "passes a spike on one step after the membrane crosses the threshold; reset with a gradient; channels last"
ADVICE = "jit of the whole step (done); compile_fit only saves Python's part of an iteration"


def build(job):
    rngs = nnx.Rngs(0)
    neurons = {"beta": 0.5, "threshold": 1.0, "activation": spyx.axn.superspike(k=25), "rngs": rngs}
    pool = partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))
    model = snn.Sequential(
        nnx.Conv(1, 32, (3, 3), rngs=rngs),
        pool,
        snn.LIF((14, 14, 32), **neurons),
        nnx.Conv(32, 64, (3, 3), rngs=rngs),
        pool,
        snn.LIF((7, 7, 64), **neurons),
        snn.Flatten(),
        nnx.Linear(7 * 7 * 64, 512, rngs=rngs),
        snn.LIF((512,), **neurons),
        nnx.Linear(512, 10, rngs=rngs),
        snn.LIF((10,), **neurons),
    )
    layers = [layer for layer in model.layers if isinstance(layer, (nnx.Conv, nnx.Linear))]
    for layer, (kernel, bias) in zip(layers, job.channels_last, strict=True):
        layer.kernel[...], layer.bias[...] = jnp.asarray(kernel), jnp.asarray(bias)
    weights = nnx.All(nnx.Param, nnx.Not(nnx.PathContains("beta")))  # the decays are fixed
    optimizer = nnx.Optimizer(model, optax.adam(job.learning_rate), wrt=weights)

    def forward(m, images):
        x = images[..., None] / 256
        return snn.run(m, jnp.broadcast_to(x, (job.time_steps, *x.shape)))[0]

    @nnx.jit
    def train_step(model, optimizer, images, labels):
        def loss_fn(m):
            spikes = forward(m, images)
            target = jnp.broadcast_to(labels, spikes.shape[:-1])
            return optax.softmax_cross_entropy_with_integer_labels(spikes, target).mean()

        loss, grads = nnx.value_and_grad(loss_fn, argnums=nnx.DiffState(0, weights))(model)
        optimizer.update(model, grads)
        return loss

    def step(images, labels):
        loss = train_step(model, optimizer, images, labels)
        return float(jax.block_until_ready((loss, nnx.state(model)))[0])

    predict = nnx.jit(forward)
    return step, lambda images: np.asarray(predict(model, images))
