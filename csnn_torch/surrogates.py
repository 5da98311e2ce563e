"""snnTorch's surrogates for any floating-point type, with fixes for those that fail.

snnTorch 1.0 returns float32 spikes from every surrogate. Here, the same autograd functions return spikes of their
input's type. In float32, nothing changes and the model uses snnTorch's own functions.
"""

from collections.abc import Callable
from typing import Any

import torch
from snntorch import surrogate

from csnn_jax.config import ModelConfig, surrogate_of


def _typed(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """snnTorch's autograd function with spikes of the membrane's type instead of float32."""

    class Typed(function):  # type: ignore[misc, valid-type]
        @staticmethod
        def forward(ctx: Any, input_: torch.Tensor, *sharpness: Any) -> torch.Tensor:
            return function.forward(ctx, input_, *sharpness).to(input_.dtype)

    return Typed


class StableSigmoid(surrogate.Sigmoid):
    """snnTorch's `Sigmoid` at |x|. The derivative is even, and e^(-k x) overflows to NaN below x = -88 / k."""

    @staticmethod
    def forward(ctx: Any, input_: torch.Tensor, slope: float) -> torch.Tensor:
        spikes = surrogate.Sigmoid.forward(ctx, input_, slope)
        ctx.save_for_backward(input_.abs())
        return spikes


def _leaky_spike(slope: float) -> Callable:
    """The gradient of `LSO` (1 where a neuron spikes, else `slope`) for snnTorch's `CustomSurrogate`."""

    def gradient(input_: torch.Tensor, grad_input: torch.Tensor, spikes: torch.Tensor) -> torch.Tensor:
        return torch.where(spikes > 0, grad_input, slope * grad_input)

    return gradient


# The autograd function of each surrogate, and its arguments after the membrane for a sharpness, at snnTorch's defaults.
_FUNCTIONS: dict[str, tuple[type[torch.autograd.Function], Callable[..., tuple]]] = {
    "fast_sigmoid": (surrogate.FastSigmoid, lambda slope=25.0: (slope,)),
    "atan": (surrogate.ATan, lambda slope=2.0: (slope,)),
    "sigmoid": (StableSigmoid, lambda slope=25.0: (slope,)),
    "straight_through": (surrogate.StraightThroughEstimator, lambda: ()),
    "triangular": (surrogate.Triangular, lambda slope=1.0: (slope,)),
    "heaviside": (surrogate.Heaviside, lambda: ()),
    "spike_rate_escape": (surrogate.SpikeRateEscape, lambda slope=25.0: (1.0, slope)),
    "sparse_fast_sigmoid": (surrogate.SparseFastSigmoid, lambda slope=25.0: (slope, 1.0)),
    "leaky_spike": (surrogate.CustomSurrogate, lambda slope=0.1: (_leaky_spike(slope),)),  # LSO itself fails to run
}


def spike_function(config: ModelConfig, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """The spike function of a configuration, from membrane minus threshold to spikes.

    In float32, it's snnTorch's own autograd function except for `sigmoid` (computed at |x|, where it doesn't overflow)
    and `leaky_spike` (`CustomSurrogate` instead of `LSO`, which lacks an argument in 1.0.0).
    """
    function, arguments = _FUNCTIONS[surrogate_of(config)]
    sharpness = arguments() if config.slope is None else arguments(config.slope)
    if dtype != torch.float32:
        function = _typed(function)
    return lambda shifted: function.apply(shifted, *sharpness)
