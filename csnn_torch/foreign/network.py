"""A network from another program's file, with its parameters named as in runs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.runs.layouts import Tensors, out_of_range
from csnn_torch.foreign.folding import Weighted


class ForeignNetwork(NamedTuple):
    """The network in a file.

    Attributes:
        config: its stack and neurons.
        tensors: its parameters, named as in `weights.safetensors`.
        notes: changes and assumptions, one line each.
    """

    config: ModelConfig
    tensors: Tensors
    notes: tuple[str, ...]


def weights_of(config: ModelConfig, names: Sequence[str], weighted: Sequence[Weighted], source: str) -> Tensors:
    """The weights and biases of all layers in float32, with zeros for a bias that only other layers have.

    Args:
        config: the stack.
        names: names of the layers in the file, for messages.
        weighted: their weights and biases in float64, in torch's layout.
        source: the file.

    Raises:
        UserError: a value exceeds the range in which sums are exact.
    """
    tensors: Tensors = {}
    for node, own, one in zip(config.graph.weighted, names, weighted, strict=True):
        both = {"weight": one.weight, "bias": np.zeros(node.channels) if one.bias is None else one.bias}
        for name, values in both.items() if config.bias else [("weight", one.weight)]:
            with np.errstate(over="ignore"):
                tensors[f"{node.name}.{name}"] = values.astype(np.float32)
            if reason := out_of_range(config, f"{node.name}.{name}", values):
                raise UserError(f"{source}: {own}.{name} {reason}")
    return tensors
