"""A network that somebody wrote and trained in snnTorch."""

import snntorch as snn
import torch
from torch import nn


def foreign() -> nn.Sequential:
    """The default stack, narrower, as snnTorch's tutorials write it; other neurons in every layer."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same"),
        nn.MaxPool2d(2),
        snn.Leaky(beta=0.9, init_hidden=True, reset_mechanism="zero"),
        nn.Conv2d(4, 6, 3, padding="same"),
        nn.MaxPool2d(2),
        snn.Leaky(beta=torch.tensor([1.5]), threshold=0.7, init_hidden=True, reset_mechanism="zero"),
        nn.Flatten(),
        nn.Linear(6 * 7 * 7, 20),
        snn.Leaky(beta=0.3, init_hidden=True, learn_beta=True, reset_mechanism="zero"),
        nn.Linear(20, 10),
        snn.Leaky(beta=0.8, threshold=0.5, init_hidden=True, output=True, reset_mechanism="zero"),
    )
    with torch.no_grad():
        for module in network:
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight *= 3  # so that every layer fires
    return network
