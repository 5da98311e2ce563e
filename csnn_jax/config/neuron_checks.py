"""Checks a configuration's neuron fields, which the neuron models declare."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from csnn_jax.config.checks import check, flag_of, is_number
from csnn_jax.neurons.neuron import NEVER, Neuron

SMALLEST = 2.0**-100
"""Smallest threshold: keeps subnormals, which some programs flush to 0, from affecting spikes."""
THRESHOLDS = "from 2^-100 to below 2^100"
"""The magnitudes that a threshold may have, in words. Only training makes one negative."""


def is_threshold(values: Any) -> np.ndarray:
    """Where numbers have the magnitudes of `THRESHOLDS` in float32."""
    with np.errstate(over="ignore", under="ignore"):
        sizes = abs(np.asarray(values, np.float32))
    return (sizes >= SMALLEST) & (sizes < NEVER)


def check_neurons(config: Any, kind: Neuron, parameters: Iterable[str]) -> None:
    """Raises UserError for fields that the neurons don't have, fills in defaults, and collapses equal resets.

    Args:
        config: the `ModelConfig`.
        kind: its neuron model.
        parameters: the parameters of all neuron models.
    """
    for name in parameters:
        if name in kind.parameters:
            _check_parameter(config, kind, name)
            continue
        for field, none in ((name, None), (f"learn_{name}", False)):
            value = getattr(config, field)
            check(flag_of(field), value, f"no value; --neuron {kind} has no {name}", value is none)
    wide = config.per_channel
    for name in wide if isinstance(wide, tuple) else (wide,):
        has = f"any of {', '.join(kind.parameters)} with --neuron {kind}"
        check("--per-channel", name, has, name in [*kind.parameters])
    object.__setattr__(config, "per_channel", tuple(name for name in kind.parameters if name in wide))
    for reset in _each(config, "reset"):
        check("--reset", reset, f"one of {', '.join(kind.resets)} with --neuron {kind}", reset in kind.resets)
    if len(set(config.each("reset"))) == 1:
        object.__setattr__(config, "reset", config.each("reset")[0])


def _check_parameter(config: Any, kind: Neuron, name: str) -> None:
    parameter, learned = kind.parameters[name], getattr(config, f"learn_{name}")
    check(flag_of(f"learn_{name}"), learned, "true or false", isinstance(learned, bool))
    if getattr(config, name) is None:
        object.__setattr__(config, name, parameter.default)
    values = _each(config, name)
    if parameter.decays:
        ok, expected = all(is_number(one) and 0 <= one <= 1 for one in values), "a number from 0 to 1"
    else:
        ok, expected = all(is_number(one, 0.0) and is_threshold(one) for one in values), f"a number {THRESHOLDS}"
    check(flag_of(name), getattr(config, name), expected, ok)


def _each(config: Any, name: str) -> tuple:
    """A field's value for each layer; the field holds one value for all or one per layer."""
    values, depth = config.each(name), len(config.conv_channels) + len(config.hidden) + 1
    check(flag_of(name), getattr(config, name), f"one value, or {depth} (one per layer)", len(values) == depth)
    return values
