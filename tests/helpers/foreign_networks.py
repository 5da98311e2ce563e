"""Networks as users write and train them in snnTorch."""

import snntorch as snn
import torch
from torch import nn

from csnn_torch import model as companion
from csnn_torch.foreign.network import ForeignNetwork
from csnn_torch.network import Network


def foreign() -> nn.Sequential:
    """A narrower default stack, written like snnTorch's tutorials; the neurons differ in every layer."""
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
                module.weight *= 3  # so every layer fires
    return network


class Net(nn.Module):
    """Layers before neurons, like the classes in the tutorials; the arguments choose what it contains."""

    def __init__(self, norm=False, bias=True, shared=False, sizes=(5, 3), turned=False):
        super().__init__()
        torch.manual_seed(3)
        convs = [("conv1", nn.Conv2d(1, 3, sizes[0], bias=bias)), ("conv2", nn.Conv2d(3, 4, sizes[1], bias=bias))]
        for name, conv in reversed(convs) if turned else convs:
            self.add_module(name, conv)
        if norm:
            self.norm1, self.norm2 = nn.BatchNorm2d(3), nn.BatchNorm2d(4)
        self.fc1 = nn.Linear(4 * 25, 10, bias=bias)
        neurons = dict(beta=0.7, threshold=0.4)
        self.lif1 = snn.Leaky(**neurons)
        if not shared:
            self.lif2, self.lif3 = snn.Leaky(**neurons), snn.Leaky(**neurons)
        self.norm = norm
        with torch.no_grad():
            for module in (self.conv1, self.conv2, self.fc1):
                module.weight *= 4

    def forward(self, x, steps):
        lifs = [getattr(self, name, self.lif1) for name in ("lif1", "lif2", "lif3")]
        membranes, outputs = [torch.zeros(1)] * 3, []
        for _ in range(steps):
            spikes = x
            for number, layer in enumerate((self.conv1, self.conv2, self.fc1)):
                current = layer(spikes if number < 2 else spikes.flatten(1))
                if number < 2:
                    if self.norm:
                        current = (self.norm1, self.norm2)[number](current)
                    current = nn.functional.max_pool2d(current, 2)
                spikes, membranes[number] = lifs[number](current, membranes[number])
            outputs.append(spikes)
        return torch.stack(outputs)


class Loop(nn.Module):
    """A convolution and two linear layers with any kind of neurons, whose state the loop keeps; the weights are exact.

    Args:
        neurons: one per layer; the last may be missing.
    """

    def __init__(self, *neurons: snn.SpikingNeuron):
        super().__init__()
        self.conv1, self.fc1, self.fc2 = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(48, 12), nn.Linear(12, 4)
        for number, neuron in enumerate(neurons, 1):
            self.add_module(f"lif{number}", neuron)
        draw = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for module, low in ((self.conv1, -16), (self.fc1, -9), (self.fc2, -7)):
                for parameter in module.parameters():
                    parameter.copy_(torch.randint(low, 17, parameter.shape, generator=draw) / 32)

    @torch.no_grad()
    def forward(self, x, steps):
        """The states of each layer [time, batch, ...]: membranes, or synaptic currents and membranes."""
        lifs = [getattr(self, name, None) for name in ("lif1", "lif2", "lif3")]
        states = [[torch.zeros(1)] * (2 if isinstance(lif, snn.Synaptic) else 1) for lif in lifs]
        seen = [[], [], []]
        for _ in range(steps):
            spikes = x
            for number, (layer, lif) in enumerate(zip((self.conv1, self.fc1, self.fc2), lifs, strict=True)):
                current = layer(spikes if number == 0 else spikes.flatten(1))
                current = nn.functional.max_pool2d(current, 2) if number == 0 else current
                if lif is None:
                    states[number] = [current]
                else:
                    spikes, *states[number] = lif(current, *states[number])
                seen[number].append(states[number])
        return [[torch.stack(one) for one in zip(*layer, strict=True)] for layer in seen]


def as_written(converted: ForeignNetwork) -> Network:
    """A converted network in snnTorch with its weights before rounding."""
    network = companion.sequential(converted.config)
    network.rounds = False
    companion.load_tensors(network, converted.tensors)
    return network


def trained(net: Net) -> Net:
    """Gives its norms running statistics and switches it to evaluation."""
    with torch.no_grad():
        net.train()(torch.rand(32, 1, 28, 28), 2)
    return net.eval()


def built(*modules: tuple[str, nn.Module]) -> dict:
    """The state_dict of a network of these modules."""
    network = nn.Module()
    for name, module in modules:
        network.add_module(name, module)
    return network.state_dict()


LAYERS = (("conv1", nn.Conv2d(1, 3, 3, padding=1)), ("fc1", nn.Linear(3 * 196, 10)))
ONE, TWO = (("lif1", snn.Leaky(beta=0.5)), ("lif2", snn.Leaky(beta=0.7)))
