"""SpikingJelly: the network from its tutorial "Convolutional SNN to Classify FMNIST".

https://spikingjelly.readthedocs.io/zh_CN/latest/tutorials/en/conv_fashion_mnist.html

It says "for faster training speed, we use the multi-step mode", in which a layer computes all time steps before the
next layer starts. Its other advice, the CuPy and Triton backends and mixed precision, is for CUDA.
"""

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

PACKAGES = ("spikingjelly", "torch", "numpy")
DIFFERS = "spikes at the threshold too; leaked reset; surrogate SoftSign, the same shape at 12.5 times the height"
ADVICE = "multi-step mode (measured); CuPy, Triton and mixed precision need CUDA"


def build(job):
    """Variant "m": multi-step mode. "s": step by step."""
    torch.set_num_threads(job.threads)

    def lif():
        return neuron.LIFNode(
            tau=2.0,
            decay_input=False,
            v_threshold=1.0,
            v_reset=None,
            surrogate_function=surrogate.SoftSign(alpha=25.0),
            detach_reset=True,
        )

    net = nn.Sequential(
        layer.Conv2d(1, 32, kernel_size=3, padding=1),
        layer.MaxPool2d(2, 2),
        lif(),
        layer.Conv2d(32, 64, kernel_size=3, padding=1),
        layer.MaxPool2d(2, 2),
        lif(),
        layer.Flatten(),
        layer.Linear(64 * 7 * 7, 512),
        lif(),
        layer.Linear(512, 10),
        lif(),
    )
    functional.set_step_mode(net, step_mode=job.variant)
    weighted = [module for module in net if isinstance(module, (nn.Conv2d, nn.Linear))]
    for module, (weight, bias) in zip(weighted, job.layers, strict=True):
        module.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    optimizer = torch.optim.Adam(net.parameters(), lr=job.learning_rate)

    def forward(images):
        x = torch.from_numpy(images)[:, None] / 256
        if job.variant == "m":
            return net(x.unsqueeze(0).expand(job.time_steps, -1, -1, -1, -1))
        return torch.stack([net(x) for _ in range(job.time_steps)])

    def step(images, labels):
        net.train()
        optimizer.zero_grad()
        target = torch.from_numpy(labels).repeat(job.time_steps)
        loss = nn.functional.cross_entropy(forward(images).flatten(0, 1), target)
        loss.backward()
        optimizer.step()
        functional.reset_net(net)
        return loss.item()

    def infer(images):
        net.eval()
        with torch.no_grad():
            spikes = forward(images).numpy()
        functional.reset_net(net)
        return spikes

    return step, infer
