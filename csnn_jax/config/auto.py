"""What `auto` stands for: the original recipe for the original stack, else what docs/learning.md found best.

It depends on the flags that name the stack and its input alone. So an ablation of beta, the window or the data is one.
"""

from dataclasses import replace

from csnn_jax.config.job import Config, Init
from csnn_jax.config.network import ModelConfig, SurrogateName

_STACK = ("input_shape", "conv_channels", "kernel_size", "hidden", "pool", "encoding")


def is_original(model: ModelConfig) -> bool:
    """Whether this is the default stack, for which snnTorch's recipe was made."""
    return all(getattr(model, name) == getattr(ModelConfig, name) for name in _STACK)


def surrogate_of(model: ModelConfig) -> SurrogateName:
    """The surrogate that a model has."""
    if model.surrogate != "auto":
        return model.surrogate
    return "fast_sigmoid" if is_original(model) else "atan"


def lr_of(config: Config) -> float:
    """The learning rate that a job has."""
    if config.train.lr is not None:
        return config.train.lr
    if is_original(config.model):
        return 1e-2
    return 5e-3 if config.model.conv_channels else 2e-3


def init_of(config: Config) -> Init:
    """The initial weights that a job has."""
    if config.train.init != "auto":
        return config.train.init
    return "torch" if is_original(config.model) else "calibrated"


def decided(config: Config) -> Config:
    """The job with surrogate, initial weights and learning rate named."""
    model = replace(config.model, surrogate=surrogate_of(config.model))
    return replace(config, model=model, train=replace(config.train, init=init_of(config), lr=lr_of(config)))


def told(before: Config, after: Config) -> str | None:
    """The flags that were chosen, for the log; None where they are the original recipe's."""
    chosen = {
        "--surrogate": (before.model.surrogate == "auto", after.model.surrogate),
        "--init": (before.train.init == "auto", after.train.init),
        "--lr": (before.train.lr is None, f"{after.train.lr:g}"),
    }
    flags = [f"{flag} {value}" for flag, (was_auto, value) in chosen.items() if was_auto]
    return None if is_original(after.model) else ", ".join(flags) or None
