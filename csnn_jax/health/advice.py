"""Describes a problem with the network in one line, and suggests one thing to try, from a table."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from csnn_jax.config import NEVER, Config
from csnn_jax.config.job import lr_of, usual_lr
from csnn_jax.runs.metrics import LOOKED_AT

STUCK = 0.99
"""A loss is stuck above this fraction of the loss of a network that ignores its images."""

SMALL_BATCH = 8
"""Images; with fewer, updates follow the peculiarities of single images."""

FAR = 10
"""Times the usual learning rate. Above that, lower it first, because Adam's steps are as long as the rate."""

BLOWN = 100
"""Weights have blown up if membranes spread over this many thresholds, or the loss is this many times chance's."""

NAMES = {
    "silent": "silent layers",
    "saturated": "saturated layers",
    "vanishing": "vanishing gradients",
    "exploding": "exploding gradients",
    "stuck": "stuck loss",
    "dead": "mostly dead layers",
}
"""The log's name for each problem."""

GRADIENTS = ("vanishing", "exploding")
"""The problems of weights; the others are of neurons."""

FIRST = ("far rate", "faulty surrogate", "small batch")
"""Possible causes of any problem, checked first."""

CAUSES = {
    "silent": ("high threshold", "late", "torch's weights", "steep surrogate", "sparse start"),
    "saturated": ("low threshold", "no reset", "late", "torch's weights", "dense start"),
    "vanishing": ("another surrogate", "narrow surrogate"),
    "exploding": ("no clipping", "high rate"),
    "stuck": ("late", "torch's weights", "steep surrogate", "high rate"),
    "dead": ("high threshold", "high rate"),
}
"""Other possible causes of each problem, likeliest first; the last one is the default."""

HINTS = {
    "far rate": "a smaller --lr (now {lr:g}, usually {usual:g})",
    "faulty surrogate": "--surrogate atan, because {surrogate} {fault}",
    "small batch": "a larger --batch-size (now {batch_size})",
    "steep surrogate": "--surrogate atan instead of {surrogate}",
    "another surrogate": "--surrogate atan instead of {surrogate}",
    "narrow surrogate": "a smaller --slope",
    "high threshold": "a lower --threshold (now {threshold})",
    "low threshold": "a higher --threshold (now {threshold})",
    "no reset": "--reset subtract",
    "torch's weights": "--init calibrated",
    "sparse start": "a larger --init-density (now {init_density:g})",
    "dense start": "a smaller --init-density (now {init_density:g})",
    "no clipping": "--clip-norm 1",
    "late": "a smaller --lr (now {lr:g})",  # it was healthy with these flags at first
    "high rate": "a smaller --lr (now {lr:g})",
}
"""What to try for each cause."""

OF_NODES = {
    "high threshold": "lower thresholds in --network (now {threshold})",
    "low threshold": "higher thresholds in --network (now {threshold})",
    "no reset": "reset subtract in --network",
}
"""What to try instead if the network's nodes come from a file."""

FAULTS = {
    "sigmoid": "falls off exponentially on both sides of the threshold",
    "heaviside": "passes no gradient below the threshold",
    "sparse_fast_sigmoid": "passes no gradient up to one unit above the threshold",
    "straight_through": "passes all of the gradient everywhere",
    "triangular": "flips the gradient's sign above the threshold",
    "leaky_spike": "passes all of the gradient above the threshold",
}
"""Surrogates with which the default stack doesn't learn (docs/learning.md), and why."""


def line(what: str, layers: Sequence[str], figures: Mapping[str, Any], config: Config, after: str) -> str:
    """Describes a problem (a key of `NAMES`) that began in some layers, with the numbers that show it.

    `figures` has what `health.EVIDENCE` lists, by layer, and the loss. `after` is a text such as "47 of 468".
    """
    if what == "stuck":
        classes, steps = config.model.num_classes, config.model.time_steps
        bound = f"{STUCK:g} ln({classes}) = {STUCK * math.log(classes):.4f}"
        if config.train.loss == "mse_count":
            bound = (
                f"{STUCK:g} * {steps} * {classes - 1} / {classes}^2 = {STUCK * steps * (classes - 1) / classes**2:.4f}"
            )
        return f"{NAMES[what]}: {figures['loss']:.4f} is not below {bound} after {after} iterations"
    if what == "dead":
        channels = {node.name: node.shape[-1] for node in config.model.graph.neurons}
        counts = ", ".join(f"{figures['dead'][name]} of {channels[name]}" for name in layers)
        shown = f"{counts} channels without a spike in {LOOKED_AT} images"
    elif what in GRADIENTS:
        shown = f"norm {_joined(figures['gradient'][name] for name in layers)}"
    else:
        shown = f"density {_joined(100 * figures['density'][name] for name in layers)} %"
        if what == "saturated":
            first = figures["membranes"][layers[0]]  # the first layer floods the ones after it
            mean, deviation, highest, bound = (
                _joined([first[k]]) for k in ("mean", "deviation", "highest", "threshold")
            )
            shown += f"; membranes of {layers[0]} {mean} +- {deviation}, highest {highest}, threshold {bound}"
    return f"{NAMES[what]}: {', '.join(layers)} ({shown})"


def hint(
    what: str, config: Config, layers: Sequence[int], early: bool, figures: Mapping[str, Any] | None = None
) -> str:
    """What to try for a problem in `layers` of a decided job (neurons or weights by number, from 0); `early`: it began
    early in training.

    `figures` is as in `line`.
    """
    model, train = config.model, config.train
    places = () if what in GRADIENTS else layers
    thresholds = [value for value in (model.thresholds[layer] for layer in places) if value < NEVER] or [1.0]
    usual = usual_lr(config)
    holds = {
        "far rate": (train.optimizer != "sgd" and lr_of(config) > FAR * usual) or has_blown_up(figures or {}, config),
        "faulty surrogate": model.surrogate in FAULTS,
        "small batch": train.batch_size < SMALL_BATCH,
        "steep surrogate": model.surrogate == "fast_sigmoid",
        "another surrogate": model.surrogate != "atan",
        "high threshold": max(thresholds) > 1,
        "low threshold": min(thresholds) < 1,
        "no reset": any(node.operation.reset == "none" for node in model.graph.spiking),
        "torch's weights": train.init == "torch",
        "no clipping": train.clip_norm is None,
        "late": not early,
    }
    cause = next(cause for cause in (*FIRST, *CAUSES[what]) if holds.get(cause, True))
    values = model.threshold if isinstance(model.threshold, tuple) else (model.threshold,)
    hints = HINTS if model.network is None else HINTS | OF_NODES
    values = values if model.network is None else tuple(thresholds)
    shown = {"threshold": " ".join(f"{value:g}" for value in values), "usual": usual}
    return hints[cause].format(**vars(train) | vars(model) | shown, fault=FAULTS.get(model.surrogate))


def has_blown_up(figures: Mapping[str, Any], config: Config) -> bool:
    """Whether membranes or the loss are so large that the weights must have blown up."""
    seen = [layer for layer in figures.get("membranes", {}).values() if layer["threshold"]]
    spreads = [math.inf if layer["deviation"] is None else layer["deviation"] / layer["threshold"] for layer in seen]
    chance = math.log(config.model.num_classes)  # the other losses are bounded
    lost = config.train.loss == "ce_membrane" and figures.get("loss", 0) > BLOWN * chance
    return lost or max(spreads, default=0) > BLOWN


def _joined(values: Iterable[float | None]) -> str:
    """Numbers with two digits; None means not finite."""
    return ", ".join("not finite" if value is None else f"{value:.2g}" for value in values)
