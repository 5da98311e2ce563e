"""The optimizer: torch's, with the formulas of `csnn_jax/update/optimizer.py`."""

from collections.abc import Sequence

import torch
from torch import nn

from csnn_jax.config import TrainConfig

_RATE = 0.0  # required by torch; every update sets its own


class Optimizer:
    """Updates parameters with their gradients. Clipping is optax's, the rest is torch's own.

    Args:
        config: which optimizer to use.
        parameters: the parameters to update.
        kernels: the parameters with weight decay.

    Attributes:
        state: the optimizer's state, by parameter and name.
    """

    def __init__(self, config: TrainConfig, parameters: Sequence[nn.Parameter], kernels: Sequence[torch.Tensor]):
        self._parameters, self._clip_norm = parameters, config.clip_norm
        others = [parameter for parameter in parameters if all(parameter is not kernel for kernel in kernels)]
        self._torch = _make(config, [{"params": list(kernels), "weight_decay": config.decay}, {"params": others}])
        self.state = self._torch.state
        for parameter in parameters:
            self._begin(self.state[parameter], parameter, config)

    def zero_grad(self) -> None:
        self._torch.zero_grad()

    def update(self, rate: float) -> None:
        """Updates the parameters once, at a learning rate; may clip their gradients in place."""
        if self._clip_norm is not None:
            clip([p.grad for p in self._parameters if p.grad is not None], self._clip_norm)
        for group in self._torch.param_groups:
            group["lr"] = rate
        self._torch.step()

    @staticmethod
    def _begin(state: dict[str, torch.Tensor], parameter: nn.Parameter, config: TrainConfig) -> None:
        """Creates a parameter's state, as torch only does at the first step, so it can be restored before that."""
        if config.optimizer != "sgd":
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        elif config.momentum:
            state["momentum_buffer"] = torch.zeros_like(parameter)


def _make(config: TrainConfig, groups: list[dict]) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, _RATE, config.momentum)
    return (torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW)(groups, _RATE, weight_decay=0.0)


def clip(gradients: Sequence[torch.Tensor], limit: float) -> None:
    """Scales gradients in place to a global norm of at most `limit` (`clip_by_global_norm`).

    torch's `clip_grad_norm_` adds 1e-6 to the norm, so it stays below the limit.
    """
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    if norm >= limit:
        for gradient in gradients:
            gradient.div_(norm).mul_(limit)
