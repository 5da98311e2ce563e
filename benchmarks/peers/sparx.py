"""sparx (`sparxml` on PyPI): Flax layers over all time steps at once, as in its README and its MNIST example.

https://github.com/AshishKumar4/sparx#a-first-network
https://github.com/AshishKumar4/sparx/blob/main/examples/train_mnist.py
https://github.com/AshishKumar4/sparx/blob/main/docs/performance.md: its authors' measurements on a CPU
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import sparx

PACKAGES = ("sparxml", "jax", "jaxlib", "flax", "optax", "numpy")
DIFFERS = "spikes at the threshold too; leaked reset; channels last"
ADVICE = "layers over all steps at once; on a CPU, a scan without unrolling (both done)"


def lif():
    surrogate = sparx.surrogate.FastSigmoid(slope=25.0)
    return sparx.nn.LIF(tau=1 / math.log(2), threshold=1.0, surrogate=surrogate, detach_reset=True)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):  # [T, B, 28, 28, 1]
        x = lif()(nn.max_pool(nn.Conv(32, (3, 3))(x), (2, 2), (2, 2)))
        x = lif()(nn.max_pool(nn.Conv(64, (3, 3))(x), (2, 2), (2, 2)))
        x = x.reshape(*x.shape[:2], -1)
        x = lif()(nn.Dense(512)(x))
        return lif()(nn.Dense(10)(x))


def build(job):
    net = Net()
    names = ("Conv_0", "Conv_1", "Dense_0", "Dense_1")
    layers = zip(names, job.channels_last, strict=True)
    made = {name: {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)} for name, (kernel, bias) in layers}
    params = {"params": made}
    optimizer = optax.adam(job.learning_rate)
    opt_state = optimizer.init(params)

    def forward(params, images):
        x = images[..., None] / 256
        return net.apply(params, jnp.broadcast_to(x, (job.time_steps, *x.shape)))

    @jax.jit
    def train_step(params, opt_state, images, labels):
        def loss_fn(params):
            return sparx.losses.per_step_cross_entropy(forward(params, images), labels).mean()

        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state, loss

    def step(images, labels):
        nonlocal params, opt_state
        params, opt_state, loss = jax.block_until_ready(train_step(params, opt_state, images, labels))
        return float(loss)

    predict = jax.jit(forward)
    return step, lambda images: np.asarray(predict(params, images))
