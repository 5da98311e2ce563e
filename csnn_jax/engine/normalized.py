"""The scan engine's training pass with batch normalization: each layer goes through the window before the next one.

The mean and variance of a convolution's output are those of the batch, all positions and all steps, so they're known
only when the layers before have gone through the window.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from csnn_jax.config.graph import Node
from csnn_jax.config.network import Readout
from csnn_jax.engine import scan
from csnn_jax.engine.scan import Dropout, by_parts, ready
from csnn_jax.engine.segments import layers
from csnn_jax.network import model as models
from csnn_jax.network.library import Jax
from csnn_jax.network.model import CSNN, Weights
from csnn_jax.network.rounding import rounded
from csnn_jax.neurons.neuron import Values
from csnn_jax.runs import normalization
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.normalization import Statistics

add_up = scan.add_up


class Norm(nnx.Module):
    """`normalization.Norm` in training, with parameters that start from given ones."""

    def __init__(self, start: normalization.Norm):
        self.scale, self.mean, self.variance = (nnx.Param(jnp.asarray(values)) for values in start)


class Normalized(nnx.Module):
    """A network with batch normalization between its convolutions and what reads them.

    Args:
        network: the network. Its biases of convolutions are added after normalization.
        start: the normalization of each convolution to start from, by name.

    Attributes:
        network: as given.
        norms: the normalization of each convolution, by name.
    """

    def __init__(self, network: CSNN, start: Mapping[str, normalization.Norm]):
        self.network = network
        self.norms = nnx.data({name: Norm(norm) for name, norm in start.items()})

    @property
    def weights(self) -> dict[str, Weights]:
        """The convolutions and linear layers by name, in order."""
        return self.network.weights

    def learn(self, statistics: Mapping[str, Statistics], share: float) -> None:
        """Moves the running mean and variance towards a batch's, which get the weight `share`."""
        for name, seen in statistics.items():
            norm = self.norms[name]
            for running, new in ((norm.mean, seen.mean), (norm.variance, seen.variance)):
                running[...] = rounded((1 - share) * running[...]) + rounded(share * new)

    def folded(self) -> Tensors:
        """The network without normalization, see `normalization.folded`."""
        parts = {name: (norm.scale, norm.mean, norm.variance) for name, norm in self.norms.items()}
        arrays = {
            name: normalization.Norm(*(np.asarray(value[...]) for value in values)) for name, values in parts.items()
        }
        return normalization.folded(models.tensors(self.network), arrays)


class Normalizing(Jax):
    """The library of a network with batch normalization, for whole windows.

    Args:
        network: the network, with rounded weights.
        norms: see `Normalized`.

    Attributes:
        statistics: those of the convolutions that have been computed, by name.
    """

    def __init__(self, network: CSNN, norms: Mapping[str, Norm]):
        super().__init__(network.config.graph, network.nodes)
        self._norms, self.statistics = norms, dict[str, Statistics]()

    def evaluate(self, node: Node, parameters: Values, x: Array) -> Array:
        """The output of a node without state, normalized before the bias is added if it's a convolution."""
        if node.name not in self._norms:
            return super().evaluate(node, parameters, x)
        bare = {name: value for name, value in parameters.items() if name != "bias"}
        centered = super().evaluate(node, bare, x)
        mean = _mean(centered)
        centered -= mean
        variance = _mean(centered * centered)
        self.statistics[node.name] = Statistics(*map(lax.stop_gradient, (mean, variance)))
        y = centered * (self._norms[node.name].scale[...] / jnp.sqrt(variance + normalization.EPSILON))
        return y + parameters["bias"] if "bias" in parameters else y


def _mean(x: Array) -> Array:
    """The mean over all axes but the last, in parts, because XLA on the CPU adds up one by one."""
    return x.mean((1, 2)).mean(0)


def forward_with_densities(
    model: Normalized, x: Array, reads: Readout = "spikes", dropout: Dropout | None = None
) -> tuple[Array, Array, dict[str, Statistics]]:
    """Runs the window for training, with every convolution's output normalized.

    Args:
        model: the network.
        x: as in `scan.forward`.
        reads: which output to return: spikes or membranes.
        dropout: neurons to drop; None: none.

    Returns:
        Output and densities as from `scan.forward_with_densities`, and the statistics of each convolution by name.

    Raises:
        ValueError: x has the wrong shape or type, or is empty.
    """
    network, x = ready(model.network, x)
    library = Normalizing(network, model.norms)
    _, output, densities = by_parts(network, x, library, layers(network.config.graph), reads, dropout)
    return output, jnp.stack(densities), library.statistics
