"""Resolves `auto`: the original recipe for the original network, otherwise the best settings in docs/learning.md.

The choice depends only on the flags that describe the stack, its input and its neurons. Changing the window, the seed,
the batch or the data doesn't change it.
"""

from dataclasses import replace
from typing import Literal

from csnn_jax.config.job import Config, Init, Schedule
from csnn_jax.config.network import GEOMETRY, ModelConfig, SurrogateName

MOST_MEMBRANE_BYTES = 2**29
"""Bytes of membranes that an iteration may keep before `auto` splits it into micro-batches. The same on every
machine."""

_STACK = ("input_shape", "conv_channels", *GEOMETRY, "pool_after", "bias", "hidden", "encoding", "neuron", "output")


def is_original(model: ModelConfig) -> bool:
    """Returns whether this is the default network, which snnTorch's recipe was made for."""
    stack = all(getattr(model, name) == getattr(ModelConfig, name) for name in _STACK)
    return stack and model.reset == ModelConfig.reset and not is_delicate(model)


def is_delicate(model: ModelConfig) -> bool:
    """Returns whether neurons have no reset, a decay other than the default, or learned parameters."""
    learned = any(node.operation.learned for node in model.graph.neurons)
    decays = [name for name, parameter in model.kind.parameters.items() if parameter.decays]
    usual = all(set(model.each(name)) == {model.kind.parameters[name].default} for name in decays)
    return "none" in model.each("reset") or learned or not usual or model.neuron != ModelConfig.neuron


def surrogate_of(model: ModelConfig) -> SurrogateName:
    """The surrogate that a model uses."""
    if model.surrogate != "auto":
        return model.surrogate
    return "fast_sigmoid" if is_original(model) else "atan"


def slope_of(model: ModelConfig) -> float | None:
    """The slope of a model's surrogate: 1 if `auto` chose it for neurons without a reset; None: snnTorch's."""
    chosen = model.surrogate == "auto" and model.slope is None and "none" in model.each("reset")
    return 1.0 if chosen else model.slope


def lr_of(config: Config) -> float:
    """The learning rate that a job uses."""
    return usual_lr(config) if config.train.lr is None else config.train.lr


def usual_lr(config: Config) -> float:
    """The default learning rate of a job; a tenth with `init_from`, to keep the given weights useful."""
    rate = 1e-2 if is_original(config.model) else 2.5e-3 if is_delicate(config.model) else 5e-3
    return rate if config.train.init_from is None else rate / 10


def init_of(config: Config) -> Init:
    """The initial weights that a job uses; `init_from` provides its own."""
    if config.train.init != "auto" or config.train.init_from is not None:
        return config.train.init
    return "torch" if is_original(config.model) else "calibrated"


def schedule_of(config: Config) -> Schedule:
    """The schedule that a job uses."""
    if config.train.schedule != "auto":
        return config.train.schedule
    return "cosine" if is_delicate(config.model) or not config.model.conv_channels else "constant"


def membranes(config: Config) -> int:
    """Bytes of the neuron states of all layers over the window, for one image."""
    neurons = len(config.model.kind.states) * sum(node.size for node in config.model.graph.neurons)
    return neurons * config.model.time_steps * (8 if config.train.dtype == "float64" else 4)


def microbatch_of(config: Config) -> int | Literal["off"]:
    """How many images go through the network at once; "off": the whole batch."""
    settings = config.train
    if settings.microbatch != "auto":
        return settings.microbatch
    fitting = max(1, MOST_MEMBRANE_BYTES // membranes(config))
    if fitting >= settings.batch_size or settings.rate_target is not None:
        return "off"
    return max(size for size in range(1, fitting + 1) if settings.batch_size % size == 0)


def decided(config: Config) -> Config:
    """The job with every `auto` resolved: surrogate, slope, initial weights, learning rate, schedule, micro-batches."""
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
    """Raises ValueError if a job that is about to start still contains `auto`."""
    if config != decided(config):
        raise ValueError("config contains `auto`, expected the config that csnn_jax.config.decided returns")


def summary(before: Config, after: Config) -> str | None:
    """The flags that `auto` chose, for the log; None if it chose none."""
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
    """Why a job uses micro-batches, for the log; None if it uses none, or if the user set them."""
    if before.train.microbatch != "auto" or after.train.microbatch == "off":
        return None
    whole = membranes(after) * after.train.batch_size
    return f"of {after.train.microbatch} images, because all {after.train.batch_size} would need {whole / 1e9:.1f} GB"
