"""Norse: the convolutional classifier from its README, with the time loop of its MNIST task.

https://github.com/norse/norse#23-example-spiking-convolutional-classifier
https://github.com/norse/norse/blob/main/norse/task/mnist.py
https://github.com/open-neuromorphic/open-neuromorphic.github.io/pull/169: its author's benchmark, with torch.compile

Its `LIFBoxCell` is the neuron without a synaptic current: v += dt / tau (x - v). With dt / tau = 1/2 and doubled
weights, that's v / 2 + x.
"""

import torch
from norse.torch import LIFBoxCell, LIFBoxParameters, SequentialState
from norse.torch.functional.reset import reset_subtract
from torch import nn

PACKAGES = ("norse", "torch", "numpy")
DIFFERS = (
    "v += (x - v) / 2 with doubled weights; leaked reset with a gradient; surrogate 1 / (1 + |x|)^2 with a fixed slope"
)
ADVICE = "torch.compile, as in its author's benchmark (measured)"


def build(job):
    """Variant "compiled": compiles a step of the network. "eager": doesn't."""
    torch.set_num_threads(job.threads)
    p = LIFBoxParameters(tau_mem_inv=torch.tensor(500.0), reset_method=reset_subtract)  # 1 / 2 ms, in steps of 1 ms
    model = SequentialState(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.MaxPool2d(2),
        LIFBoxCell(p),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.MaxPool2d(2),
        LIFBoxCell(p),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 512),
        LIFBoxCell(p),
        nn.Linear(512, 10),
        LIFBoxCell(p),
    )
    layers = [module for module in model if isinstance(module, (nn.Conv2d, nn.Linear))]
    for layer, (weight, bias) in zip(layers, job.layers, strict=True):
        layer.load_state_dict({"weight": 2 * torch.tensor(weight), "bias": 2 * torch.tensor(bias)})
    one_step = torch.compile(model) if job.variant == "compiled" else model
    optimizer = torch.optim.Adam(model.parameters(), lr=job.learning_rate)

    def forward(images):
        x = torch.from_numpy(images)[:, None] / 256
        state, spikes = None, []
        for _ in range(job.time_steps):
            z, state = (model if state is None else one_step)(x, state)  # compiled code can't create the first state
            spikes.append(z)
        return torch.stack(spikes)

    def step(images, labels):
        model.train()
        optimizer.zero_grad()
        spikes = forward(images)
        target = torch.from_numpy(labels).repeat(job.time_steps)
        loss = nn.functional.cross_entropy(spikes.flatten(0, 1), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer(images):
        model.eval()
        with torch.no_grad():
            return forward(images).numpy()

    return step, infer
