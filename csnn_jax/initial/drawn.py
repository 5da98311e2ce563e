"""The weights that a seed draws."""

from csnn_jax.config import Config
from csnn_jax.runs.layouts import Arrays


def drawn(config: Config) -> Arrays:
    """Torch's initial weights, uniform in +-1/sqrt(fan_in), drawn by JAX from the seed."""
    import jax

    from csnn_jax.network import model

    with jax.enable_x64(config.train.dtype == "float64"):
        return model.arrays(model.CSNN(config.model, config.train.seed, dtype=config.train.dtype))
