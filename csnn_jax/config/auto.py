"""What `auto` stands for: the original recipe for the original network, else what docs/learning.md found best.

It depends on the flags that name the stack, its input and its neurons alone. So an ablation of the window, the seed,
the batch or the data is one.
"""

import math
from dataclasses import replace
from typing import Literal

from csnn_jax.config.job import Config, Init, Schedule
from csnn_jax.config.network import GEOMETRY, ModelConfig, SurrogateName

KEPT = 2**29
"""Bytes of membranes that an iteration may keep before `auto` makes micro-batches of it. The same on every machine."""

_STACK = ("input_shape", "conv_channels", *GEOMETRY, "pool_after", "bias", "hidden", "encoding", "neuron", "output")


def is_original(model: ModelConfig) -> bool:
    """Whether this is the default network, for which snnTorch's recipe was made."""
    stack = all(getattr(model, name) == getattr(ModelConfig, name) for name in _STACK)
    return stack and model.reset == ModelConfig.reset and not is_delicate(model)


def is_delicate(model: ModelConfig) -> bool:
    """Whether neurons have another memory than the default ones, or learn their parameters: no reset, another decay."""
    learned = any(layer.neurons.learned for layer in model.layers)
    decays = [name for name, parameter in model.kind.parameters.items() if parameter.decays]
    usual = all(set(model.each(name)) == {model.kind.parameters[name].default} for name in decays)
    return "none" in model.each("reset") or learned or not usual or model.neuron != ModelConfig.neuron


def surrogate_of(model: ModelConfig) -> SurrogateName:
    """The surrogate that a model has."""
    if model.surrogate != "auto":
        return model.surrogate
    return "fast_sigmoid" if is_original(model) else "atan"


def slope_of(model: ModelConfig) -> float | None:
    """The surrogate's slope of a model: wide without a reset where `auto` chose the surrogate; None: snnTorch's."""
    chosen = model.surrogate == "auto" and model.slope is None and "none" in model.each("reset")
    return 1.0 if chosen else model.slope


def lr_of(config: Config) -> float:
    """The learning rate that a job has."""
    return usual_lr(config) if config.train.lr is None else config.train.lr


def usual_lr(config: Config) -> float:
    """The learning rate of a job that names none; a tenth where weights are given, which it would undo."""
    rate = 1e-2 if is_original(config.model) else 2.5e-3 if is_delicate(config.model) else 5e-3
    return rate if config.train.init_from is None else rate / 10


def init_of(config: Config) -> Init:
    """The initial weights that a job has; those of `init_from` are given."""
    if config.train.init != "auto" or config.train.init_from is not None:
        return config.train.init
    return "torch" if is_original(config.model) else "calibrated"


def schedule_of(config: Config) -> Schedule:
    """The schedule that a job has."""
    if config.train.schedule != "auto":
        return config.train.schedule
    return "cosine" if is_delicate(config.model) or not config.model.conv_channels else "constant"


def membranes(config: Config) -> int:
    """Bytes of an image's states over the window, of all layers."""
    neurons = len(config.model.kind.states) * sum(math.prod(layer.out_shape) for layer in config.model.layers)
    return neurons * config.model.time_steps * (8 if config.train.dtype == "float64" else 4)


def microbatch_of(config: Config) -> int | Literal["off"]:
    """The images that a job has in the network at once."""
    settings = config.train
    if settings.microbatch != "auto":
        return settings.microbatch
    fitting = max(1, KEPT // membranes(config))
    if fitting >= settings.batch_size or settings.rate_target is not None:
        return "off"
    return max(size for size in range(1, fitting + 1) if settings.batch_size % size == 0)


def decided(config: Config) -> Config:
    """The job with surrogate and slope, initial weights, learning rate, schedule and micro-batches named."""
    model = replace(config.model, surrogate=surrogate_of(config.model), slope=slope_of(config.model))
    train = replace(
        config.train,
        init=init_of(config),
        lr=lr_of(config),
        schedule=schedule_of(config),
        microbatch=microbatch_of(config),
    )
    return replace(config, model=model, train=train)


def check_decided(config: Config) -> None:
    """Raises ValueError where `auto` still stands in a job that is to begin."""
    if config != decided(config):
        raise ValueError("config holds `auto`, expected what csnn_jax.config.decided makes of it")


def summary(before: Config, after: Config) -> str | None:
    """The flags that were chosen, for the log; None where none were."""
    chosen = {
        "--surrogate": (before.model.surrogate == "auto", after.model.surrogate),
        "--slope": (before.model.slope != after.model.slope, f"{after.model.slope or 0:g}"),
        "--init": (before.train.init != after.train.init, after.train.init),
        "--lr": (before.train.lr is None, f"{after.train.lr:g}"),
        "--schedule": (before.train.schedule == "auto" and after.train.schedule == "cosine", "cosine"),
    }
    flags = [f"{flag} {value}" for flag, (was_auto, value) in chosen.items() if was_auto]
    return ", ".join(flags) or None


def microbatch_summary(before: Config, after: Config) -> str | None:
    """Why a job has micro-batches, for the log; None where it has none, or was asked for them."""
    if before.train.microbatch != "auto" or after.train.microbatch == "off":
        return None
    whole = membranes(after) * after.train.batch_size
    return f"of {after.train.microbatch} images, for all {after.train.batch_size} would keep {whole / 1e9:.1f} GB"
