"""Known differences between programs: those in their entries, and others."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, get_args

import numpy as np
import torch

from csnn_jax.config import ModelConfig
from csnn_jax.config.nodes import NodeConfig, Nodes
from csnn_jax.errors import UserError
from csnn_jax.neurons.neuron import MEMBRANE, Reset, State, Values
from csnn_jax.options import show
from csnn_jax.runs.layouts import Tensors
from csnn_torch.first_difference.simulation import Network, is_late
from csnn_torch.programs import PROGRAMS
from csnn_torch.programs.cause import Cause, Moment, Step, Subject, changes, steps


def resetting(reset: Reset, now: bool, step: Step, at: Moment) -> State:
    """A step with another reset.

    Args:
        reset: the new reset.
        now: whether to reset in the step of the spike, so before the next leak; otherwise in the next step, after the
            input was added.
        step: the step to change.
        at: what it starts from.
    """
    threshold = at.kind.threshold(at.values, at.state)
    fired = at.ops.fired(at.state[MEMBRANE], threshold)

    def after(one: State) -> State:
        taken = threshold if reset == "subtract" else one[MEMBRANE]
        return one if reset == "none" else one | {MEMBRANE: one[MEMBRANE] - at.ops.masked(fired, taken)}

    start = at._replace(reset="none")
    return step(start._replace(state=after(at.state))) if now else after(step(start))


def _leak_last(step: Step, at: Moment) -> State:
    after = step(at.without_leak())
    return after | {MEMBRANE: at.ops.decayed(at.values["beta"], after[MEMBRANE])}


def _fused(step: Step, at: Moment) -> State:
    """The product isn't rounded before the input is added; a threshold is subtracted from the rounded sum."""
    values, state = ({name: x.double() for name, x in group.items()} for group in (at.values, at.state))
    after = step(
        at.without_subtraction()._replace(values=values, state=state, currents=tuple(x.double() for x in at.currents))
    )
    return at.subtracted({name: x.to(at.current.dtype) for name, x in after.items()})


def _driven(factor: Callable[[Values], Any], step: Step, at: Moment) -> State:
    return step(at._replace(currents=tuple(factor(at.values) * x for x in at.currents)))


def _at_least(membrane: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    return (membrane >= threshold).to(membrane.dtype)


def _weights(text: str, convert: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]) -> Cause:
    """Changes all weights: calls `convert` with each in torch's layout, and with its input's shape in ours."""

    def changed(network: Network) -> Network:
        graph = network.model.graph
        shapes = {f"{node.name}.weight": graph.unflattened(node) for node in graph.weighted}
        made = {name: np.ascontiguousarray(convert(network.tensors[name], shape)) for name, shape in shapes.items()}
        return replace(network, tensors=network.tensors | made)

    return Cause(text, "weights", changed)


def _reordered(axes: Sequence[int], by: Sequence[int], weight: np.ndarray, entering: tuple[int, ...]) -> np.ndarray:
    """Reorders a linear layer's weights for flattened images, whose `axes` (of H, W, C) become `by` of these."""
    if weight.ndim == 4 or len(entering) != 3:
        return weight
    sizes = [entering[axis] for axis in axes]
    return weight.reshape(len(weight), *sizes).transpose(0, *by).reshape(len(weight), -1)


def _recurrent(network: Network, **changes: Any) -> Network:
    """The network with changes; raises UserError if it has no delays, as recurrent connections have."""
    if not network.model.graph.recurrent:
        raise UserError("has no recurrent or delayed connections")
    return replace(network, **changes)


def _without_recurrence(network: Network) -> Network:
    graph = network.model.graph
    names = [node.name for node in graph.weighted if is_late(graph, node)]
    zeros = {key: 0 * one for key, one in network.tensors.items() if key.rpartition(".")[0] in names}
    return _recurrent(network, tensors=network.tensors | zeros)


def _pooled(kind: Any, model: ModelConfig) -> ModelConfig:
    if model.network:
        nodes = [_with_pool(kind, node) for node in model.network.nodes]
        return replace(model, network=Nodes(tuple(nodes)))
    pools: Any = tuple("none" if pool == "none" else kind for pool in model.each_convolution("pool"))
    return replace(model, pool=pools or model.pool)


def _with_pool(kind: str, node: NodeConfig) -> NodeConfig:
    is_pool = node.operation.endswith("_pool")
    return NodeConfig(node.name, f"{kind}_pool", node.inputs, **dict(node.settings)) if is_pool else node


_RESETS: tuple[tuple[str, Reset, bool], ...] = (
    ("subtracts the threshold in the step of the spike, before the leak", "subtract", True),
    ("subtracts the threshold one step later, after the input", "subtract", False),
    ("to zero in the step of the spike, before the leak", "zero", True),
    ("to zero one step later, with the input of that step", "zero", False),
    ("none", "none", True),
)
_GENERAL = (
    changes("spikes at the threshold: >= instead of >", "threshold", "fires", lambda _: _at_least),
    *(steps(f"reset: {text}", "reset", partial(resetting, reset, now)) for text, reset, now in _RESETS),
    steps("leak after the input: beta (U + I)", "leak", _leak_last),
    steps(
        "input multiplied by 1 - beta (r = 1, or r ignored)",
        "input",
        partial(_driven, lambda values: 1 - values["beta"]),
    ),
    steps(
        "input of neurons not multiplied by a time step of 0.1 ms, as in an IF with r = 1",
        "input",
        partial(_driven, lambda _: 1e4),
    ),
    changes("one step of delay from each layer to the next", "delay", "delays", lambda _: (0, 1, 0)),
    changes("one step of delay before each layer", "delay", "delays", lambda _: (1, 1, 0)),
    Cause(
        "recurrent and delayed connections one step later",
        "delay",
        lambda network: _recurrent(network, delays=(0, 0, 1)),
    ),
    Cause(
        "no bias of recurrent and delayed connections in the first step",
        "delay",
        lambda network: _recurrent(network, late_bias=True),
    ),
    Cause("no recurrent and delayed connections", "weights", _without_recurrence),
    _weights("kernels flipped, as in a true convolution", lambda x, _: x[..., ::-1, ::-1] if x.ndim == 4 else x),
    _weights("flattened in the order H, W, C instead of C, H, W", partial(_reordered, (0, 1, 2), (3, 1, 2))),
    _weights("flattened in the order C, H, W instead of H, W, C", partial(_reordered, (2, 0, 1), (2, 3, 1))),
    changes("pools take the maximum", "pools", "model", partial(_pooled, "max")),
    changes("pools take the average", "pools", "model", partial(_pooled, "avg")),
    changes("pools take the sum", "pools", "model", partial(_pooled, "sum")),
    Cause(
        "input not divided by its scale",
        "scale",
        lambda network: replace(network, gain=network.gain * network.model.entering.scale),
    ),
    changes("input divided by 255 instead of 256", "scale", "gain", lambda gain: gain * (256 / 255)),
    changes("input divided by 256 instead of 255", "scale", "gain", lambda gain: gain * (255 / 256)),
    steps("rounding: beta U + I in one fused multiply-add", "rounding", _fused),
    changes("rounding: float64 instead of float32", "precision", "dtype", lambda _: torch.float64),
)
_OF_PROGRAMS = [cause for program in PROGRAMS.values() for cause in program.causes]
CAUSES = tuple(sorted((*_GENERAL, *_OF_PROGRAMS), key=lambda cause: get_args(Subject).index(cause.subject)))
"""In order of preference if several explain the same."""


def of_other(network: Network, other: Network) -> tuple[Cause, ...]:
    """Causes that copy one thing from the other side's network: a field of its model, its weights, its neurons."""
    causes = []
    for field in fields(network.model):
        mine, value = (getattr(one.model, field.name) for one in (network, other))
        if mine != value:
            text = f"{field.name} {show(value)} instead of {show(mine)}"
            if isinstance(mine, Nodes) and isinstance(value, Nodes):
                text = f"other nodes: {', '.join(node.name for node in value.nodes if node not in mine.nodes)}"
            causes.append(changes(text, "other", "model", partial(replace, **{field.name: value})))
    for what, of_layers in (("weights", True), ("values of neurons", False)):
        pairs = [(name, mine, other.tensors.get(name)) for name, mine in network.tensors.items()]
        alike = [(name, mine, value) for name, mine, value in pairs if value is not None and mine.shape == value.shape]
        some = [one for one in alike if one[0].endswith((".weight", ".bias")) == of_layers]
        differ = [one for one in some if not np.array_equal(one[1], one[2])]
        if differ:
            text = f"other {what}: {', '.join(_far(*one) for one in differ)}"
            new = {name: values for name, _, values in differ}
            causes.append(changes(text, "other", "tensors", partial(_updated, new)))
    return tuple(causes)


def _updated(new: Tensors, tensors: Tensors) -> Tensors:
    return tensors | new


def _far(name: str, values: np.ndarray, other: np.ndarray) -> str:
    """The difference of two tensors, in words."""
    apart = abs(np.float64(values) - other)
    return f"{name} ({np.count_nonzero(apart):,} of {apart.size:,} differ, by up to {apart.max():.3g})"
