"""The optimiser, of optax parts. The learning rate is not its own: every update is given one."""

import optax


def make() -> optax.GradientTransformation:
    """Adam with torch's constants; its updates are to be multiplied by the learning rate."""
    return optax.chain(optax.scale_by_adam(), optax.scale(-1.0))
