"""jaxpike: a convolutional network built as in its guide "Spiking convnets", run by `unroll`.

https://abdurrezzak.github.io/jaxpike/docs/guides/convnets
https://abdurrezzak.github.io/jaxpike/docs/guides/coming-from-snntorch: doubles the weights at a decay of 1/2
https://abdurrezzak.github.io/jaxpike/docs/guides/execution: `unroll` moves stateless layers out of the time loop
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxpike as jp
import numpy as np
import optax

PACKAGES = ("jaxpike", "jax", "jaxlib", "equinox", "optax", "numpy")
DIFFERS = "v / 2 + x / 2 with doubled weights; leaked reset with a gradient; channels last"
ADVICE = (
    "unroll (done); unroll_checkpointed is slower and saves memory, unroll_parallel only runs neurons without reset"
)


def build(job):
    keys = iter(jax.random.split(jax.random.key(0), 4))

    def lif():
        return jp.LIF(tau=1 / math.log(2), threshold=1.0, reset="subtract", surrogate=jp.FastSigmoid(slope=25.0))

    net = jp.Sequential(
        jp.Conv2d(1, 32, 3, key=next(keys)),
        jp.Pool2d(2, mode="max"),
        lif(),
        jp.Conv2d(32, 64, 3, key=next(keys)),
        jp.Pool2d(2, mode="max"),
        lif(),
        jp.Flatten(),
        jp.Dense(7 * 7 * 64, 512, key=next(keys)),
        lif(),
        jp.Dense(512, 10, key=next(keys)),
        lif(),
    )
    weighted = [index for index, layer in enumerate(net.layers) if isinstance(layer, (jp.Conv2d, jp.Dense))]

    def weights(of):
        return [getattr(of.layers[index], name) for index in weighted for name in ("weight", "bias")]

    kernels = [(k if k.ndim == 4 else k.T, bias) for k, bias in job.channels_last]
    net = eqx.tree_at(weights, net, [2 * jnp.asarray(values) for layer in kernels for values in layer])
    trained = eqx.tree_at(weights, jax.tree.map(lambda _: False, net), [True] * 2 * len(weighted))
    params, rest = eqx.partition(net, trained)  # the decays and slopes are fixed
    optimizer = optax.adam(job.learning_rate)
    opt_state = optimizer.init(params)

    def forward(params, images):
        x = images[..., None] / 256
        return jp.unroll(eqx.combine(params, rest), jnp.broadcast_to(x, (job.time_steps, *x.shape)))[0]

    @jax.jit
    def train_step(params, opt_state, images, labels):
        def loss_fn(params):
            spikes = forward(params, images)
            target = jnp.broadcast_to(labels, spikes.shape[:-1])
            return optax.softmax_cross_entropy_with_integer_labels(spikes, target).mean()

        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return eqx.apply_updates(params, updates), opt_state, loss

    def step(images, labels):
        nonlocal params, opt_state
        params, opt_state, loss = jax.block_until_ready(train_step(params, opt_state, images, labels))
        return float(loss)

    predict = jax.jit(forward)
    return step, lambda images: np.asarray(predict(params, images))
