"""The loss that training minimizes: snnTorch's own if it has one. csnn_jax/update/objective.py has the formulas."""

from collections.abc import Callable

import torch
from snntorch import functional
from torch.nn.functional import cross_entropy, one_hot

from csnn_jax.config import TrainConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(spikes or membranes of the output [time, batch, classes], labels [batch]) -> the loss."""


def make(config: TrainConfig, dtype: torch.dtype) -> Loss:
    """The loss of a job: snnTorch's own class for spikes in float32 without label smoothing."""
    smoothing = config.label_smoothing
    has_class = dtype == torch.float32 and not smoothing
    if config.loss == "mse_count":
        return (
            functional.mse_count_loss() if has_class else lambda spikes, labels: _mse_count(spikes, labels, smoothing)
        )
    if config.loss == "ce_rate" and has_class:
        return functional.ce_rate_loss()
    return lambda output, labels: _cross_entropy(output, labels, smoothing)


def _cross_entropy(output: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """`ce_rate_loss` in the output's type, with label smoothing."""
    return cross_entropy(output.flatten(0, 1), labels.repeat(len(output)), label_smoothing=smoothing)


def _mse_count(spikes: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """`mse_count_loss` in the spikes' type, with label smoothing."""
    steps, _, classes = spikes.shape
    target = steps * ((1 - smoothing) * one_hot(labels, classes).to(spikes.dtype) + smoothing / classes)
    return ((spikes.sum(0) - target) ** 2).mean() / steps
