"""The network as a snnTorch user writes it: `nn.Sequential` of convolutions, pools, linear layers, `snn.Leaky`."""

import math
from collections.abc import Callable

import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import nn

from csnn_jax.config import ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.weights import Tensors

# How snnTorch calls each surrogate's sharpness.
_SLOPE_NAMES = {
    "fast_sigmoid": "slope",
    "atan": "alpha",
    "sigmoid": "slope",
    "triangular": "threshold",
    "spike_rate_escape": "slope",
    "SFS": "slope",
}
_NAMES = {
    "straight_through": "straight_through_estimator",
    "sparse_fast_sigmoid": "SFS",
}


def surrogate_of(config: ModelConfig) -> Callable:
    """The snnTorch surrogate that a configuration names.

    Raises:
        UserError: leaky_spike, for snnTorch's `LSO` fails to run.
    """
    if config.surrogate == "leaky_spike":
        raise UserError("--surrogate leaky_spike: snnTorch's LSO fails to run, expected another surrogate")
    if config.surrogate == "heaviside":
        return surrogate.Heaviside.apply  # an autograd function, where the others are made by one
    name = _NAMES.get(config.surrogate, config.surrogate)
    sharpness = {} if config.slope is None else {_SLOPE_NAMES[name]: config.slope}
    return getattr(surrogate, name)(**sharpness)


def sequential(config: ModelConfig) -> nn.Sequential:
    """The network in the form of snnTorch's tutorials: state hidden in the layers, output (spikes, membrane).

    Its input is one step's image [batch, channels, height, width]; `snntorch.utils.reset` clears the state.
    """
    modules: list[nn.Module] = []
    for number, layer in enumerate(config.layers):
        if layer.kind == "conv":
            modules.append(nn.Conv2d(layer.in_shape[-1], layer.out_shape[-1], config.kernel_size, padding="same"))
            modules.append(nn.MaxPool2d(2) if config.pool == "max" else nn.AvgPool2d(2))
        else:
            if len(layer.in_shape) == 3:
                modules.append(nn.Flatten())
            modules.append(nn.Linear(math.prod(layer.in_shape), layer.out_shape[0]))
        modules.append(
            snn.Leaky(
                beta=config.betas[number],
                threshold=config.thresholds[number],
                spike_grad=surrogate_of(config),
                learn_beta=config.learn_beta,
                learn_threshold=config.learn_threshold,
                reset_mechanism=config.reset,
                init_hidden=True,
                output=number == len(config.layers) - 1,
            )
        )
    return nn.Sequential(*modules)


def load_tensors(network: nn.Sequential, tensors: Tensors) -> None:
    """Sets the parameters of a `sequential` network from the tensors of a `weights.safetensors`."""
    weighted = [m for m in network if isinstance(m, (nn.Conv2d, nn.Linear))]
    names = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
    neurons = [m for m in network if isinstance(m, snn.Leaky)]
    with torch.no_grad():
        for module, name in zip(weighted, names, strict=True):
            module.weight.copy_(torch.tensor(tensors[f"{name}.weight"]))
            assert module.bias is not None
            module.bias.copy_(torch.tensor(tensors[f"{name}.bias"]))
        for number, neuron in enumerate(neurons, 1):
            for parameter in ("beta", "threshold"):
                if f"lif{number}.{parameter}" in tensors:
                    getattr(neuron, parameter).copy_(torch.tensor(tensors[f"lif{number}.{parameter}"]))


def run(network: nn.Sequential, image: torch.Tensor, time_steps: int) -> torch.Tensor:
    """The tutorials' forward pass: presents `image` [batch, C, H, W] at every step.

    Returns:
        Output spikes [time, batch, classes].
    """
    utils.reset(network)
    return torch.stack([network(image)[0] for _ in range(time_steps)])
