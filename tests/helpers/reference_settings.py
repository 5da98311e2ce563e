"""A network's configuration as the settings that the reference programs take."""

from dataclasses import fields
from typing import Any

from reference_layers import DEFAULTS

from csnn_jax.config import ModelConfig


def settings_of(config: ModelConfig) -> dict[str, Any]:
    """The flags of a network by name; `auto` must be resolved."""
    values = {one.name: getattr(config, one.name) for one in fields(config)}
    known = {name: value for name, value in values.items() if name in DEFAULTS and value is not None}
    known |= {"no_bias": not config.bias, "output": "integrator" if config.output == "integrator" else "spikes"}
    return known | {"scale": config.pixels.scale, "input_bits": config.pixels.bits}
