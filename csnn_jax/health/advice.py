"""A trouble of the network in one line, and what to try: flags that suit the case and are not in use yet."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from csnn_jax.config import Config, decided
from csnn_jax.runs.metrics import LOOKED_AT

VANISHING = 1e-8
"""Norm of a gradient. Adam divides by the gradient's size plus 1e-8: below it, the steps themselves become small."""
NARROWED = ("fast_sigmoid", "atan", "sigmoid", "sparse_fast_sigmoid")
"""Surrogates that a larger --slope makes narrower."""


def line(what: str, layers: Sequence[str], figures: Mapping[str, Any], config: Config, after: str, early: bool) -> str:
    """A trouble that began, in plain words.

    Args:
        what: the trouble, one of `health.EVIDENCE`.
        layers: names of the layers in trouble.
        figures: by layer: `density`, `gradient`, `membranes`, `dead`, as far as the trouble is about them; `loss`.
        config: the job.
        after: such as "47 of 468", of iterations.
        early: whether training has just begun.
    """
    if what in ("silent", "saturated"):
        vanished = [name for name, norm in figures["gradient"].items() if norm < VANISHING]
        return _densities(what, layers, figures) + (f", {_gradients('vanish', vanished, figures)}" if vanished else "")
    if what in ("vanishing", "exploding"):
        return _gradients({"vanishing": "vanish", "exploding": "explode"}[what], layers, figures)
    if what == "stuck":
        chance = f"ln({config.model.num_classes}) = {math.log(config.model.num_classes):.3f}"
        where = "has not fallen below" if early else "is back at"
        return f"the loss, {figures['loss']:.3f}, {where} {chance} after {after} iterations"
    channels = {f"lif{i}": layer.out_shape[-1] for i, layer in enumerate(config.model.layers, 1)}
    counts = [f"{figures['dead'][name]} of {channels[name]} channels of {name}" for name in layers]
    return f"{_listed(counts)} are dead (no spike in {LOOKED_AT} images)"


def passed(what: str, config: Config, since: int) -> str:
    """That a trouble has passed, in plain words."""
    words = {
        "silent": "all layers spike",
        "saturated": "no layer is saturated",
        "vanishing": "no gradient vanishes",
        "exploding": "no gradient explodes",
        "stuck": f"the loss is below ln({config.model.num_classes})",
        "dead": "most channels of every layer are not dead",
    }
    return f"{words[what]} since iteration {since}"


def _listed(names: Sequence[str], everything: Sequence[str] = ()) -> str:
    """Such as "lif2", "lif2 and lif4", "lif2 to lif4" where these follow each other in `everything`."""
    if len(names) > 2 and " ".join(names) in " ".join(everything):
        return f"{names[0]} to {names[-1]}"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _span(values: Sequence[float], style: str) -> str:
    ends = [format(value, style) for value in (min(values), max(values))]
    return " to ".join(dict.fromkeys(ends))


def _densities(what: str, layers: Sequence[str], figures: Mapping[str, Any]) -> str:
    density = figures["density"]
    percent = _span([100 * density[name] for name in layers], ".3f" if what == "silent" else ".1f")
    are, whose = ("is", "its membranes") if len(layers) == 1 else ("are", f"the membranes of {layers[0]}")
    text = f"{_listed(layers, list(density))} {are} {what} (density {percent} %), {whose} "
    # The first of the layers starves or floods those behind it.
    return text + _membranes(figures["membranes"][layers[0]])


def _gradients(verb: str, layers: Sequence[str], figures: Mapping[str, Any]) -> str:
    norms = _span([figures["gradient"][name] for name in layers], ".2g")
    return f"gradients {verb} at {_listed(layers, list(figures['gradient']))} (norm {norms})"


def _membranes(seen: Mapping[str, float | None]) -> str:
    mean, deviation, highest, threshold = (seen[key] for key in ("mean", "deviation", "highest", "threshold"))
    if mean is None or deviation is None or highest is None:
        return "are not finite"
    return f"are {mean:.2g} +- {deviation:.2g} and reach {highest:.2g} of a threshold of {threshold:g}"


def tries(what: str, config: Config, layers: Sequence[int], early: bool) -> str:
    """Two things to try, the likelier one first, such as "--surrogate atan or a higher --beta (now 0.5)".

    Args:
        what: the trouble, one of `health.EVIDENCE`.
        config: the job.
        layers: numbers of the layers in trouble, from 0.
        early: whether training has just begun, so that the initial weights may be at fault.
    """
    found = list(dict.fromkeys(_CASES[what](_Flags(config, layers, early))))
    return " or ".join(found[:2])


class _Flags:
    """The flags as they are, with what `auto` stands for, and what may be said of them."""

    def __init__(self, config: Config, layers: Sequence[int], early: bool):
        parts = vars(decided(config)).values()
        self.values: dict[str, Any] = {name: value for part in parts for name, value in vars(part).items()}
        self.thresholds = [config.model.thresholds[layer] for layer in layers]
        self.betas = [config.model.betas[layer] for layer in layers]
        self.hidden = min(layers) < len(config.model.layers) - 1
        self.early = early

    def change(self, adjective: str, name: str) -> str:
        """Such as "a lower --threshold (now 1)"."""
        now = self.values[name]
        shown = " ".join(f"{value:g}" for value in (now if isinstance(now, tuple) else (now,)) if value is not None)
        known = f" (now {shown})" if shown else ""
        article = "an" if adjective[0] in "aeiou" else "a"
        return f"{article} {adjective} --{name.replace('_', '-')}{known}"

    def unused(self, name: str, value: float) -> Iterator[str]:
        if self.values[name] is None:
            yield f"--{name.replace('_', '-')} {value:g}"

    def start(self, adjective: str) -> Iterator[str]:
        """Other initial weights, where it is they that are at fault."""
        if self.early and self.values["init"] == "torch":
            yield "--init calibrated"
        elif self.early:
            yield self.change(adjective, "init_density")

    def wider(self) -> Iterator[str]:
        """A surrogate that lets gradient reach neurons far from their threshold."""
        if self.values["surrogate"] not in ("atan", "straight_through"):
            yield "--surrogate atan"
        elif self.values["surrogate"] in NARROWED:
            yield self.change("smaller", "slope")

    def slower(self) -> str:
        return self.change("smaller", "lr")


def _silent(flags: _Flags) -> Iterator[str]:
    if max(flags.thresholds) > 1:
        yield flags.change("lower", "threshold")
    if not flags.early:  # it spiked with these flags, and training took it away
        yield flags.slower()
    yield from flags.start("larger")
    yield from flags.wider()
    yield flags.change("lower", "threshold")
    if min(flags.betas) < 0.9:
        yield flags.change("higher", "beta")
    yield flags.slower()


def _saturated(flags: _Flags) -> Iterator[str]:
    if min(flags.thresholds) < 1:
        yield flags.change("higher", "threshold")
    if flags.values["reset"] == "none":
        yield "--reset subtract"
    yield from flags.start("smaller")
    if flags.hidden and flags.values["engine"] != "event":  # the event engine knows no target
        yield from flags.unused("rate_target", 0.1)
    if not flags.early:  # it was not, with these flags, until training made it so
        yield flags.slower()
    if max(flags.betas) > 0:
        yield flags.change("lower", "beta")
    yield flags.change("higher", "threshold")
    yield flags.slower()


def _vanishing(flags: _Flags) -> Iterator[str]:
    yield from flags.start("larger")
    yield from flags.wider()
    if min(flags.thresholds) < 1:  # membranes of a usual size are then far from it
        yield flags.change("higher", "threshold")
    if flags.values["surrogate"] in NARROWED:
        yield flags.change("smaller", "slope")
    yield flags.slower()
    yield flags.change("larger", "batch_size")


def _exploding(flags: _Flags) -> Iterator[str]:
    if flags.values["surrogate"] not in NARROWED:
        yield "--surrogate atan"
    yield from flags.unused("clip_norm", 1)
    yield flags.slower()
    if flags.values["surrogate"] in NARROWED:
        yield flags.change("larger", "slope")


def _stuck(flags: _Flags) -> Iterator[str]:
    yield from flags.start("larger")
    yield from flags.wider()
    yield flags.slower()
    yield flags.change("larger", "batch_size")


_CASES = {
    "silent": _silent,
    "saturated": _saturated,
    "vanishing": _vanishing,
    "exploding": _exploding,
    "stuck": _stuck,
    "dead": _silent,
}
