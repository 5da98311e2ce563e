"""The optimizer: torch's, with the formulas of `csnn_jax/training/optimizer.py`."""

from collections.abc import Sequence

import torch
from torch import nn

from csnn_jax.config import TrainConfig

_RATE = 0.0  # torch wants a learning rate; every update brings its own


class Optimizer:
    """Updates parameters by their gradients. Clipping is optax's, the rest torch's own.

    Args:
        config: which optimizer.
        parameters: what to update.
        kernels: those of them that weight decay is for.

    Attributes:
        state: what an update changes beside the parameters, by parameter and name.
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
        """One update by the parameters' gradients, which it may clip in place, at a learning rate."""
        if self._clip_norm is not None:
            clip([p.grad for p in self._parameters if p.grad is not None], self._clip_norm)
        for group in self._torch.param_groups:
            group["lr"] = rate
        self._torch.step()

    @staticmethod
    def _begin(state: dict[str, torch.Tensor], parameter: nn.Parameter, config: TrainConfig) -> None:
        """Makes the state of a parameter, which torch leaves to the first step, so that it can be restored before."""
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
    """Scales gradients in place so that their norm, over all of them, is at most `limit` (`clip_by_global_norm`).

    torch's `clip_grad_norm_` adds 1e-6 to the norm and so does not reach the limit.
    """
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    if norm >= limit:
        for gradient in gradients:
            gradient.div_(norm).mul_(limit)
