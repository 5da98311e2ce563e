"""The companion's training pass with batch normalization; `csnn_jax.engine.normalized` documents it."""

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from csnn_jax.config import Readout
from csnn_jax.config.graph import IMAGE, Edge, Node
from csnn_jax.config.operations import Linear
from csnn_jax.engine.segments import Segment, layers
from csnn_jax.runs import normalization
from csnn_jax.runs.layouts import Tensors
from csnn_torch import model
from csnn_torch.network import Network, exactly


class Norm(nn.Module):
    """The normalization of a convolution's output.

    Args:
        start: what to start from.
        weight: the convolution's, for the type and the device.

    Attributes:
        scale, mean, variance: as in `normalization.Norm`; only the first has a gradient.
        latest: mean and variance of the latest batch.
    """

    def __init__(self, start: normalization.Norm, weight: torch.Tensor):
        super().__init__()
        scale, mean, variance = (torch.tensor(values, dtype=weight.dtype, device=weight.device) for values in start)
        self.scale = nn.Parameter(scale)
        self.mean, self.variance = (nn.Parameter(values, requires_grad=False) for values in (mean, variance))
        self.latest: tuple[torch.Tensor, ...] = ()

    def forward(self, convolution: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        """A convolution's output, normalized before its bias is added."""
        y = nn.functional.conv2d(x, convolution.weight, None, convolution.stride, convolution.padding)
        variance, mean = torch.var_mean(y, (0, 2, 3), correction=0)
        self.latest = mean.detach(), variance.detach()
        factor = self.scale / torch.sqrt(variance + normalization.EPSILON)
        assert convolution.bias is not None
        return (y - _wide(mean)) * _wide(factor) + _wide(convolution.bias)

    def learn(self, share: float) -> None:
        """Moves the running mean and variance towards the latest batch's, which get the weight `share`."""
        with torch.no_grad():
            for running, new in zip((self.mean, self.variance), self.latest, strict=True):
                running.mul_(1 - share).add_(share * new)


def _wide(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, 1, 1)


Norms = dict[str, Norm]
"""The normalization of each convolution of a network, by name."""


def of(network: Network, start: Mapping[str, normalization.Norm]) -> Norms:
    """The normalization of a network that starts from given values, by convolution."""
    return {name: Norm(start[name], module.weight) for name, module, _ in network.weighted if name in start}


def folded(norms: Norms, tensors: Tensors) -> Tensors:
    """The parameters of the same network without normalization, see `normalization.folded`."""
    parts = {name: (norm.scale, norm.mean, norm.variance) for name, norm in norms.items()}
    arrays = {
        name: normalization.Norm(*(value.detach().cpu().numpy() for value in values)) for name, values in parts.items()
    }
    return normalization.folded(tensors, arrays)


def forward_with_densities(
    network: Network,
    norms: Norms,
    x: torch.Tensor,
    time_steps: int,
    reads: Readout,
    masks: Sequence[torch.Tensor] = (),
) -> tuple[torch.Tensor, torch.Tensor]:
    """Runs the window for training, layer by layer, with every convolution's output normalized.

    Args:
        network: as returned by `model.sequential`.
        norms: its normalization, which keeps the batch's statistics.
        x: as in `model.forward`.
        time_steps: likewise.
        reads: which output to return.
        masks: dropout's factors of spikes, see `network.dropping`.

    Returns:
        Output and densities, as from `model.forward_with_densities`.
    """
    model.check_input(network, x, time_steps)
    model.reset(network)
    window = _Window(network, norms, x, time_steps, masks)
    return exactly(network, lambda: window.run(reads))


class _Window:
    """A window in progress: the outputs of nodes at all steps so far, and of those that are the same at every step."""

    def __init__(self, network: Network, norms: Norms, x: torch.Tensor, time_steps: int, masks: Sequence[torch.Tensor]):
        self.graph, self.norms = network.graph, norms
        self.modules: dict[str, Any] = dict(network.named_children())
        self.windows, self.held = ({}, {IMAGE: x}) if x.ndim == 4 else ({IMAGE: x}, {})
        self.x, self.steps = x, time_steps if x.ndim == 4 else len(x)
        by_name = dict(zip((node.name for node in self.graph.feeding(Linear)), masks, strict=True)) if masks else {}
        self.dropped = {pair: by_name[pair[1]] for pair in self.graph.droppable} if masks else {}
        self.output: list[torch.Tensor] = []

    def run(self, reads: Readout) -> tuple[torch.Tensor, torch.Tensor]:
        """The output's spikes or membranes, and the densities."""
        for name in self.graph.constant if self.held else ():
            self.held[name] = self.evaluate(self.graph[name], self.sum(self.graph[name]))
        for part in layers(self.graph):
            for node in part.window:
                if node.name not in self.held:
                    x = self.sum(node)
                    flat = self.evaluate(node, x.flatten(0, 1))
                    self.windows[node.name] = flat.unflatten(0, x.shape[:2])
            self.step_by_step(part, reads)
        shares = [self.windows[node.name].mean() for node in self.graph.neurons]
        return torch.stack(self.output), torch.stack(shares)

    def evaluate(self, node: Node, x: torch.Tensor) -> torch.Tensor:
        """The output of a node without state for x [rows, ...]."""
        module = self.modules[node.name]
        return self.norms[node.name](module, x) if node.name in self.norms else module(x)

    def sum(self, node: Node) -> torch.Tensor:
        """What a node reads at all steps; only once if it's held."""
        return functools.reduce(operator.add, (self.dropout(node, edge, self.read(edge)) for edge in node.inputs))

    def dropout(self, node: Node, edge: Edge, x: torch.Tensor) -> torch.Tensor:
        """An input of a node after dropout."""
        pair = node.name, edge.source
        return x * self.dropped[pair] if pair in self.dropped and not self.graph.is_previous(edge) else x

    def read(self, edge: Edge) -> torch.Tensor:
        """The output of a node for all steps; without a delay, only for one if it's held."""
        whole = self.windows[edge.source] if edge.source in self.windows else self.held[edge.source]
        if not edge.delay:
            return whole
        first, late = self.first(edge), min(edge.delay, self.steps)
        whole = whole.expand(self.steps, *first.shape)
        return torch.cat([first.expand(late, *first.shape), whole[: self.steps - late]])

    def first(self, edge: Edge) -> torch.Tensor:
        """What a delayed input is before the first step."""
        zeros = self.x.new_zeros(self.x.shape[-4], *self.graph[edge.source].channels_first)
        return self.modules[edge.source].fire(zeros) if self.graph.is_previous(edge) else zeros

    def step_by_step(self, part: Segment, reads: Readout) -> None:
        """Runs the neurons of a part, and the nodes in a cycle with them."""
        entering = {name: self.read(edge) for name, edge in part.entering.items()}
        frames: dict[str, list[torch.Tensor]] = {node.name: [] for node in part.steps}

        def seen(edge: Edge, step: int) -> torch.Tensor:
            if edge.source in entering:
                return entering[edge.source] if edge.source in self.held else entering[edge.source][step]
            return self.first(edge) if step < edge.delay else frames[edge.source][step - edge.delay]

        for step in range(self.steps):
            for node in part.steps:
                x = functools.reduce(operator.add, (self.dropout(node, edge, seen(edge, step)) for edge in node.inputs))
                output = self.modules[node.name](x)
                spikes, *others = output if isinstance(output, tuple) else (output,)
                frames[node.name].append(spikes)
                if node.name == self.graph.neurons[-1].name:
                    self.output.append(others[-1] if reads == "membrane" else spikes)
        self.windows |= {node.name: torch.stack(frames[node.name]) for node in part.steps.neurons}
