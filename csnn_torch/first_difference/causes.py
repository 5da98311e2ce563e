"""Known differences between programs, one entry of `CAUSES` each."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import MEMBRANE, Neuron, Operations, Reset, State, Values
from csnn_jax.options import show
from csnn_jax.runs.layouts import Tensors
from csnn_torch.first_difference.simulation import Network, Step, resetting

Change = Callable[[Network], Network]


class Cause(NamedTuple):
    """A difference between programs.

    Attributes:
        text: what the other program does, in a few words.
        change: returns a network that is computed that way; raises UserError if it can't be.
    """

    text: str
    change: Change


def _steps(wrap: Callable[[Step], Step]) -> Change:
    return lambda network: replace(network, step=wrap(network.step))


def _resets(reset: Reset, now: bool) -> Change:
    return _steps(lambda step: resetting(step, reset, now))


def _driven(by: float) -> Callable[[Step], Step]:
    """A neuron's input is multiplied by a number."""

    def wrap(step: Step) -> Step:
        def changed(
            kind: Neuron, ops: Operations, values: Values, state: State, current: Tensor, reset: Reset
        ) -> State:
            return step(kind, ops, values, state, by * current, reset)

        return changed

    return wrap


def _leak_last(step: Step) -> Step:
    """beta (U + I): the leak applies to the sum."""

    def changed(kind: Neuron, ops: Operations, values: Values, state: State, current: Tensor, reset: Reset) -> State:
        one = {**values, "beta": torch.ones_like(values["beta"])}
        after = step(kind, ops, one, state, current, reset)
        return after | {MEMBRANE: ops.decayed(values["beta"], after[MEMBRANE])}

    return changed


def _weighted_input(step: Step) -> Step:
    """The input is multiplied by 1 - beta, as with r = 1."""

    def changed(kind: Neuron, ops: Operations, values: Values, state: State, current: Tensor, reset: Reset) -> State:
        return step(kind, ops, values, state, (1 - values["beta"]) * current, reset)

    return changed


def _bounded(step: Step) -> Step:
    """A membrane falls no lower than the negative threshold."""

    def changed(kind: Neuron, ops: Operations, values: Values, state: State, current: Tensor, reset: Reset) -> State:
        after = step(kind, ops, values, state, current, reset)
        return after | {MEMBRANE: torch.maximum(after[MEMBRANE], -kind.threshold(values, after))}

    return changed


def _euler(step: Step) -> Step:
    """U + (1 - beta) (I / (1 - beta) - U), each operation rounded; a beta of 1 leaves U + I."""

    def changed(kind: Neuron, ops: Operations, values: Values, state: State, current: Tensor, reset: Reset) -> State:
        if kind.states != (MEMBRANE,):
            raise UserError(f"{kind} neurons have more states than the membrane")
        unleaky, leak = {**values, "beta": torch.ones_like(values["beta"])}, 1 - values["beta"]
        left = step(kind, ops, unleaky, state, torch.zeros_like(current), _but_subtract(reset))[MEMBRANE]
        pulled = torch.where(leak == 0, current, leak * (current / leak - left))
        return _subtracted(kind, ops, values, state, {MEMBRANE: left + pulled}, reset)

    return changed


def _fused(step: Step) -> Step:
    """The product isn't rounded before the input is added; a threshold is subtracted from the rounded sum."""

    def changed(kind: Neuron, ops: Operations, values: Values, state: State, current: Tensor, reset: Reset) -> State:
        wide, before = ({name: x.double() for name, x in group.items()} for group in (values, state))
        after = step(kind, ops, wide, before, current.double(), _but_subtract(reset))
        narrow = {name: x.to(current.dtype) for name, x in after.items()}
        return _subtracted(kind, ops, values, state, narrow, reset)

    return changed


def _but_subtract(reset: Reset) -> Reset:
    """The reset of a step whose threshold is subtracted later, by `_subtracted`."""
    return "none" if reset == "subtract" else reset


def _subtracted(kind: Neuron, ops: Operations, values: Values, before: State, after: State, reset: Reset) -> State:
    """Subtracts the threshold from a state if the previous state fired and the reset subtracts."""
    if reset != "subtract":
        return after
    threshold = kind.threshold(values, before)
    return after | {MEMBRANE: after[MEMBRANE] - ops.masked(ops.fired(before[MEMBRANE], threshold), threshold)}


def _at_least(membrane: Tensor, threshold: Tensor) -> Tensor:
    return (membrane >= threshold).to(membrane.dtype)


def _several(membrane: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(membrane > 0, torch.trunc(membrane / threshold), 0)


def _weights(convert: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]) -> Change:
    """Changes all weights: calls `convert` with each in torch's layout, and with its input's shape in ours."""

    def changed(network: Network) -> Network:
        graph = network.model.graph
        shapes = {f"{node.name}.weight": graph.unflattened(node) for node in graph.weighted}
        made = {name: np.ascontiguousarray(convert(network.tensors[name], shape)) for name, shape in shapes.items()}
        return replace(network, tensors=network.tensors | made)

    return changed


def _flipped(weight: np.ndarray, entering: tuple[int, ...]) -> np.ndarray:
    del entering
    return weight[..., ::-1, ::-1] if weight.ndim == 4 else weight


def _channels_last(weight: np.ndarray, entering: tuple[int, ...]) -> np.ndarray:
    """Reorders a weight for inputs flattened as H, W, C to C, H, W."""
    if weight.ndim == 4 or len(entering) != 3:
        return weight
    return weight.reshape(len(weight), *entering).transpose(0, 3, 1, 2).reshape(len(weight), -1)


def _channels_first(weight: np.ndarray, entering: tuple[int, ...]) -> np.ndarray:
    """Reorders a weight for inputs flattened as C, H, W to H, W, C."""
    if weight.ndim == 4 or len(entering) != 3:
        return weight
    height, width, channels = entering
    return weight.reshape(len(weight), channels, height, width).transpose(0, 2, 3, 1).reshape(len(weight), -1)


def _pooled(kind: Any) -> Change:
    def changed(network: Network) -> Network:
        pools = network.model.pool if isinstance(network.model.pool, tuple) else (network.model.pool,)
        kinds: Any = tuple("none" if pool == "none" else kind for pool in pools)
        return replace(network, model=replace(network.model, pool=kinds if len(kinds) > 1 else kinds[0]))

    return changed


def _decays(function: Callable[[Any], Any]) -> Change:
    return lambda network: replace(network, decays=lambda decay: function(network.decays(decay)))


def _unscaled(network: Network) -> Network:
    return replace(network, gain=network.gain * network.model.entering.scale)


def _gain(factor: float) -> Change:
    return lambda network: replace(network, gain=network.gain * factor)


CAUSES = (
    Cause("spikes at the threshold: >= instead of >", lambda network: replace(network, fires=_at_least)),
    Cause("reset: subtracts the threshold in the step of the spike, before the leak", _resets("subtract", True)),
    Cause("reset: subtracts the threshold one step later, after the input", _resets("subtract", False)),
    Cause("reset: to zero in the step of the spike, before the leak", _resets("zero", True)),
    Cause("reset: to zero one step later, with the input of that step", _resets("zero", False)),
    Cause("reset: none", _resets("none", True)),
    Cause("leak after the input: beta (U + I)", _steps(_leak_last)),
    Cause("input multiplied by 1 - beta (r = 1, or r ignored)", _steps(_weighted_input)),
    Cause("input of neurons not multiplied by a time step of 0.1 ms, as in an IF with r = 1", _steps(_driven(1e4))),
    Cause("one step of delay from each layer to the next", lambda network: replace(network, delays=(0, 1))),
    Cause("one step of delay before each layer", lambda network: replace(network, delays=(1, 1))),
    Cause("kernels flipped, as in a true convolution", _weights(_flipped)),
    Cause("flattened in the order H, W, C instead of C, H, W", _weights(_channels_first)),
    Cause("flattened in the order C, H, W instead of H, W, C", _weights(_channels_last)),
    Cause("pools take the maximum", _pooled("max")),
    Cause("pools take the average", _pooled("avg")),
    Cause("pools take the sum", _pooled("sum")),
    Cause("decay exponential: exp(beta - 1) instead of Euler's beta", _decays(lambda decay: np.exp(decay - 1))),
    Cause(
        "decay by Euler's method: 1 + ln(beta) instead of the exponential beta",
        _decays(lambda decay: 1 + np.log(np.maximum(decay, np.exp(-1)))),
    ),
    Cause("a time step of 1 ms instead of 0.1 ms", _decays(lambda decay: 1 - 10 * (1 - decay))),
    Cause("membrane decays to 0 in each step: tau read as a number of steps", _decays(lambda decay: 0 * decay)),
    Cause("input not divided by its scale", _unscaled),
    Cause("input divided by 255 instead of 256", _gain(256 / 255)),
    Cause("input divided by 256 instead of 255", _gain(255 / 256)),
    Cause("several spikes of a neuron in a step", lambda network: replace(network, fires=_several)),
    Cause("membranes no lower than the negative threshold", _steps(_bounded)),
    Cause("rounding: beta U + I in one fused multiply-add", _steps(_fused)),
    Cause("rounding: Euler's form U + (1 - beta) (I / (1 - beta) - U)", _steps(_euler)),
    Cause("rounding: float64 instead of float32", lambda network: replace(network, dtype=torch.float64)),
)
"""In order of preference if several explain the same."""


def of_other(network: Network, other: Network) -> tuple[Cause, ...]:
    """Causes that copy one thing from the other side's network: a field of its model, its weights, its neurons."""
    causes = []
    for field in fields(network.model):
        own, theirs = (getattr(one.model, field.name) for one in (network, other))
        if own != theirs:
            causes.append(Cause(f"{field.name} {show(theirs)} instead of {show(own)}", _field(field.name, theirs)))
    for what, prefixes in (("weights", ("conv", "fc")), ("values of neurons", ("lif",))):
        pairs = [(name, own, other.tensors.get(name)) for name, own in network.tensors.items()]
        alike = [(name, own, theirs) for name, own, theirs in pairs if theirs is not None and own.shape == theirs.shape]
        differ = [one for one in alike if one[0].startswith(prefixes) and not np.array_equal(one[1], one[2])]
        if differ:
            text = f"other {what}: {', '.join(_far(*one) for one in differ)}"
            causes.append(Cause(text, _tensors({name: theirs for name, _, theirs in differ})))
    return tuple(causes)


def _field(name: str, value: Any) -> Change:
    return lambda network: replace(network, model=replace(network.model, **{name: value}))


def _tensors(tensors: Tensors) -> Change:
    return lambda network: replace(network, tensors=network.tensors | tensors)


def _far(name: str, own: np.ndarray, theirs: np.ndarray) -> str:
    """The difference of two tensors, in words."""
    apart = abs(np.float64(own) - theirs)
    return f"{name} ({np.count_nonzero(apart):,} of {apart.size:,} differ, by up to {apart.max():.3g})"
