"""Complete jobs by name, for `--recipe`. docs/results.md has their results; benchmarks/recipes.py measures them."""

from dataclasses import replace

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig

_NET = ModelConfig(time_steps=5, surrogate="atan")
_DATA = DataConfig(augment=(2.0, 10.0, 0.1))
_TRAIN = TrainConfig(lr=0.005, init="calibrated", ema=0.999, eval_every=0, checkpoint_every=468)
_COUNTS = replace(_TRAIN, lr=0.002, loss="mse_count")

RECIPES: dict[str, Config] = {
    # snnTorch's tutorial: 100 steps, one epoch, Adam at a constant learning rate.
    "original": Config(
        ModelConfig(surrogate="fast_sigmoid"), train=TrainConfig(lr=0.01, schedule="constant", init="torch")
    ),
    # MNIST in about twice the default job's time: five time steps, augmented images, averaged weights, and a loss
    # on spike counts.
    "fast": Config(_NET, _DATA, replace(_COUNTS, epochs=15, eval_every=468, checkpoint_every=0)),
    # The default stack's highest accuracy in under an hour.
    "accurate": Config(_NET, _DATA, replace(_COUNTS, epochs=40)),
    # Few synaptic operations: two time steps, and half the channels in the first layer.
    "sparse": Config(
        replace(_NET, conv_channels=(16, 64), time_steps=2), _DATA, replace(_TRAIN, epochs=20, init_density=0.04)
    ),
    # For neuromorphic pipelines: average pools and a reset to zero, so bundles can include a NIR file.
    "nir": Config(replace(_NET, pool="avg", reset="zero"), _DATA, replace(_TRAIN, epochs=9)),
    # Event-camera recordings: simulated ones, or real ones with `--dataset nmnist:DIR` or `events:DIR`.
    "events": Config(replace(_NET, time_steps=10), DataConfig(dataset="saccades"), replace(_TRAIN, epochs=5)),
}


def recipe(name: str | None) -> Config:
    """A recipe's job; None: the default job."""
    return Config() if name is None else RECIPES[name]
