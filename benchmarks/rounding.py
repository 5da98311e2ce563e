"""Counts the spikes that `csnn_torch.convert` changes by rounding the weights of three snnTorch networks; prints JSON.

    python benchmarks/rounding.py > results/rounding.json

Each network trains for some iterations on MNIST, with its pixels divided by 255, and is converted like a file.
"""

import argparse
import itertools
import json
from typing import Any

import numpy as np
import snntorch as snn
import torch
from snntorch import surrogate
from snntorch.functional import ce_rate_loss
from torch import Tensor, nn
from torch.nn import functional

from csnn_jax import data, machine
from csnn_jax.config import Config, DataConfig, TrainConfig
from csnn_torch import state_dict
from csnn_torch.foreign import rounding

BATCH, RATE = 128, 1e-3


class Network(nn.Module):
    """Convolutions, each before 2x2 max-pooling, and linear layers, each followed by its neurons."""

    def __init__(self, convs: tuple[int, ...], sizes: tuple[int, ...], steps: int, kind: type, **neuron: Any):
        super().__init__()
        self.steps, self.convs = steps, len(convs)
        layers = [nn.Conv2d(one, other, 5) for one, other in itertools.pairwise((1, *convs))]
        layers += [nn.Linear(one, other) for one, other in itertools.pairwise(sizes)]
        self.layers = nn.ModuleList(layers)
        self.neurons = nn.ModuleList(kind(init_hidden=True, **neuron) for _ in layers)

    def forward(self, x: Tensor) -> Tensor:
        """Output spikes [time, batch, 10] for images [batch, 1, 28, 28]."""
        for neuron in self.neurons:
            neuron.reset_mem()
        out = []
        for _ in range(self.steps):
            spikes = x
            for number, (layer, neuron) in enumerate(zip(self.layers, self.neurons, strict=True)):
                current = layer(spikes if number < self.convs else spikes.flatten(1))
                spikes = neuron(functional.max_pool2d(current, 2) if number < self.convs else current)
            out.append(spikes)
        return torch.stack(out)


def networks() -> dict[str, Network]:
    leaky = dict(beta=0.5, spike_grad=surrogate.fast_sigmoid(slope=25))
    synaptic = dict(alpha=0.8, beta=0.9, spike_grad=surrogate.fast_sigmoid(slope=25))
    deep = dict(beta=0.9, spike_grad=surrogate.atan())
    return {
        "tutorial 6, 12C5-64C5-FC10": Network((12, 64), (1024, 10), 50, snn.Leaky, **leaky),
        "`Synaptic`, 16C5-32C5-FC10": Network((16, 32), (512, 10), 25, snn.Synaptic, **synaptic),
        "dense, four hidden layers of 256": Network((), (784, 256, 256, 256, 256, 10), 25, snn.Leaky, **deep),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=150)
    options = parser.parse_args()
    about = {"command": "python benchmarks/rounding.py", "commit": machine.commit(), **machine.describe()}
    torch.manual_seed(0)
    mnist = data.load("mnist", (28, 28, 1))
    rows = [row(name, network, mnist, options.iterations) for name, network in networks().items()]
    print(json.dumps(about | {"iterations": options.iterations, "rows": rows}, indent=1))


def row(name: str, network: Network, mnist: data.Dataset, iterations: int) -> dict[str, Any]:
    train(network, mnist.train, iterations)
    fields = {"padding": "valid"} if network.convs else {}
    converted = state_dict.convert(network.state_dict(), time_steps=network.steps, **fields)
    config = Config(converted.config, DataConfig(), TrainConfig(init="torch", lr=RATE))
    effect = rounding.effect(config, converted.tensors, mnist.test.images, mnist.test.labels)
    return {"network": name, "steps": network.steps, **effect._asdict()}


def train(network: Network, images: data.Split, iterations: int) -> None:
    optimizer, loss = torch.optim.Adam(network.parameters(), RATE), ce_rate_loss()
    for rows in data.epoch_batches(0, 0, len(images.labels), BATCH)[:iterations]:
        x = torch.tensor(images.images[rows] / np.float32(255)).movedim(-1, 1)
        optimizer.zero_grad()
        loss(network(x), torch.tensor(images.labels[rows], dtype=torch.long)).backward()
        optimizer.step()


if __name__ == "__main__":
    main()
