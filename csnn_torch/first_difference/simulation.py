"""Simulates the network in torch, one step at a time, with every known difference between programs as an option.

With the defaults of `Network`, results are bit-identical to those in docs/design.md, section 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from csnn_jax.config import Layer, ModelConfig
from csnn_jax.config.network import NEVER
from csnn_jax.neurons.neuron import MEMBRANE, Neuron, Operations, Reset, State, Values
from csnn_jax.runs.layouts import Tensors, bias_of
from csnn_torch.blocks import before_neurons
from csnn_torch.first_difference.recording import Recording, stacked

Fires = Callable[[Tensor, Tensor], Tensor]
"""(membranes, threshold) -> the spikes of a step."""
Step = Callable[[Neuron, Operations, Values, State, Tensor, Reset], State]
"""A step of neurons: (kind, operations, parameters, state, current, reset) -> the state after it."""


def above(membrane: Tensor, threshold: Tensor) -> Tensor:
    """1 for membranes above the threshold, else 0."""
    return (membrane > threshold).to(membrane.dtype)


def own_step(kind: Neuron, ops: Operations, values: Values, state: State, current: Tensor, reset: Reset) -> State:
    """The neurons' own step."""
    return kind.step(ops, values, state, current, reset)


@dataclass(frozen=True, eq=False)
class Network:
    """A network, and how it's computed.

    Attributes:
        model: the stack.
        tensors: its parameters in torch's layouts, not necessarily on their grids.
        fires: decides when a neuron spikes.
        step: the step of all neurons.
        decays: converts beta, alpha etc. to the values it runs with.
        gain: factor of the input.
        delays: delay of the input in steps, for the first layer and for the later ones.
        dtype: dtype of everything.
    """

    model: ModelConfig
    tensors: Tensors
    fires: Fires = above
    step: Step = own_step
    decays: Callable[[Any], Any] = lambda decay: decay
    gain: float = 1.0
    delays: tuple[int, int] = (0, 0)
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True, eq=False)
class TorchOperations:
    """Torch's operations for a neuron's step, see `csnn_jax.neurons.neuron`; spikes are numbers."""

    fires: Fires

    def fired(self, membrane: Tensor, threshold: Tensor) -> Tensor:
        """The spikes of a membrane."""
        return self.fires(membrane, threshold)

    def masked(self, fired: Tensor, x: Tensor) -> Tensor:
        """x if a neuron fired, else 0."""
        return fired * x

    def decayed(self, factor: Tensor, x: Tensor) -> Tensor:
        """The product."""
        return factor * x


class _Block:
    """A layer with its state, which turns a step's input into spikes."""

    def __init__(self, network: Network, layer: Layer, number: int):
        self._network, self._neurons, kind = network, layer.neurons, layer.neurons.kind
        self.spikes_at_all = layer.neurons["threshold"] != NEVER
        modules = before_neurons(layer, number, bias=True)
        self._current = nn.Sequential(*modules.values()).to(network.dtype).requires_grad_(False)
        weighted: Any = modules[layer.name]
        weighted.weight.copy_(torch.tensor(network.tensors[f"{layer.name}.weight"], dtype=network.dtype))
        weighted.bias.copy_(torch.tensor(bias_of(layer, network.tensors), dtype=network.dtype))
        ones = (1,) * (len(layer.out_shape) - 1)
        self._values: dict[str, Tensor] = {}
        for name, value in layer.neurons.values(network.tensors).items():
            used = network.decays(value) if kind.parameters[name].decays else value
            typed = torch.tensor(used, dtype=torch.float32).to(network.dtype)
            self._values[name] = typed.reshape(-1, *ones) if typed.ndim else typed
        self._ops = TorchOperations(network.fires)
        self._shape = (layer.out_shape[-1], *layer.out_shape[:-1])
        self._kind: Neuron = kind
        self.state: State = {}
        self._last: tuple[Tensor, Tensor] | None = None

    def start(self, batch: int) -> None:
        """Sets the state before the first step."""
        self.state = {name: torch.zeros(batch, *self._shape, dtype=self._network.dtype) for name in self._kind.states}

    def __call__(self, x: Tensor) -> Tensor:
        if self._last is None or not torch.equal(self._last[0], x):  # a constant image is convolved only once
            self._last = x, self._current(x)
        current, reset = self._last[1], self._neurons.reset
        found = self._network.step(self._kind, self._ops, self._values, self.state, current, reset)
        self.state = {name: value.to(self._network.dtype) for name, value in found.items()}
        return self._network.fires(self.state[MEMBRANE], self._kind.threshold(self._values, self.state))


@torch.no_grad()
def simulate(network: Network, x: Tensor) -> Recording:
    """Runs a window; an integrator has no spikes and never resets.

    Args:
        network: the network, and how it's computed.
        x: inputs [time, batch, C, H, W].
    """
    blocks = [_Block(network, layer, number) for number, layer in enumerate(network.model.layers, 1)]
    lines = [_Line(network.delays[min(number, 1)]) for number in range(len(blocks))]
    for block in blocks:
        block.start(x.shape[1])
    spikes: list[list[Tensor | None]] = []
    membranes: list[list[Tensor]] = []
    for frame in x.to(network.dtype) * network.gain:
        found: list[Tensor | None] = []
        for block, line in zip(blocks, lines, strict=True):
            frame = block(line(frame))
            found.append(frame if block.spikes_at_all else None)
        spikes.append(found)
        membranes.append([block.state[MEMBRANE] for block in blocks])
    return Recording(stacked(spikes), stacked(membranes))


class _Line:
    """A delay line: returns the input from some steps before, and zeros at first."""

    def __init__(self, delay: int):
        self._delay, self._held = delay, list[Tensor]()

    def __call__(self, x: Tensor) -> Tensor:
        self._held.append(x)
        return self._held.pop(0) if len(self._held) > self._delay else torch.zeros_like(x)


def resetting(step: Step, reset: Reset, now: bool) -> Step:
    """A step with another reset.

    Args:
        step: the step to change.
        reset: the new reset.
        now: whether to reset in the step of the spike, so before the next leak; otherwise in the next step, after the
            input was added.
    """

    def changed(kind: Neuron, ops: Operations, values: Values, state: State, current: Tensor, _: Reset) -> State:
        threshold = kind.threshold(values, state)
        fired = ops.fired(state[MEMBRANE], threshold)

        def after(one: State) -> State:
            taken = threshold if reset == "subtract" else one[MEMBRANE]
            return one if reset == "none" else one | {MEMBRANE: one[MEMBRANE] - ops.masked(fired, taken)}

        if now:
            return step(kind, ops, values, after(state), current, "none")
        return after(step(kind, ops, values, state, current, "none"))

    return changed
