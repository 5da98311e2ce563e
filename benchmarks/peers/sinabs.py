"""Sinabs: a convolutional network as in its quickstart, with `LIFSqueeze`, trained as in its NMNIST tutorial.

https://sinabs.readthedocs.io/en/latest/getting_started/quickstart.html
https://sinabs.readthedocs.io/en/latest/tutorials/nmnist.html
"""

import math

import sinabs
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneSubtract, SingleExponential, SingleSpike
from torch import nn

PACKAGES = ("sinabs", "torch", "numpy")
DIFFERS = (
    "spikes at the threshold too; leaked reset of twice the threshold with a gradient; exponential surrogate; all "
    "steps of an image before the next image"
)
ADVICE = "EXODUS, which needs CUDA"


def build(job):
    torch.set_num_threads(job.threads)
    batch_size = job.images.shape[1]

    def lif():
        neurons = sl.LIFSqueeze(
            tau_mem=1 / math.log(2),
            batch_size=batch_size,
            spike_fn=SingleSpike,
            reset_fn=MembraneSubtract(subtract_value=2.0),
            surrogate_grad_fn=SingleExponential(),
            norm_input=False,
        )
        neurons.tau_mem.requires_grad_(False)
        return neurons

    model = nn.Sequential(
        sl.FlattenTime(),
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.MaxPool2d(2),
        lif(),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.MaxPool2d(2),
        lif(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 512),
        lif(),
        nn.Linear(512, 10),
        lif(),
        sl.UnflattenTime(batch_size=batch_size),
    )
    layers = [module for module in model if isinstance(module, (nn.Conv2d, nn.Linear))]
    for layer, (weight, bias) in zip(layers, job.layers, strict=True):
        layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=job.learning_rate)

    def forward(images):
        sinabs.reset_states(model)
        x = torch.from_numpy(images)[:, None, None] / 256
        return model(x.expand(-1, job.time_steps, -1, -1, -1))

    def step(images, labels):
        model.train()
        optimizer.zero_grad()
        target = torch.from_numpy(labels).repeat_interleave(job.time_steps)
        loss = nn.functional.cross_entropy(forward(images).flatten(0, 1), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer(images):
        model.eval()
        with torch.no_grad():
            return forward(images).transpose(0, 1).numpy()

    return step, infer
