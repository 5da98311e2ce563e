"""snnTorch: the network and training loop from its sixth tutorial, with the default network's layers.

https://snntorch.readthedocs.io/en/latest/tutorials/tutorial_6.html
"""

import snntorch as snn
import torch
from snntorch import functional, surrogate, utils
from torch import nn

PACKAGES = ("snntorch", "torch", "numpy")
DIFFERS = "nothing"
ADVICE = "none for CPUs; channels last and the first convolution once are this project's"


def build(job):
    """Variant "channels last": this memory layout. "once": runs the image's convolution and pool before the loop."""
    torch.set_num_threads(job.threads)
    layout = torch.channels_last if "channels last" in job.variant else torch.contiguous_format
    spike_grad = surrogate.fast_sigmoid(slope=25)
    beta = 0.5
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.MaxPool2d(2),
        snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.MaxPool2d(2),
        snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 512),
        snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
        nn.Linear(512, 10),
        snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True, output=True),
    )
    layers = [module for module in net if isinstance(module, (nn.Conv2d, nn.Linear))]
    for layer, (weight, bias) in zip(layers, job.layers, strict=True):
        layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    net.to(memory_format=layout)
    optimizer = torch.optim.Adam(net.parameters(), lr=job.learning_rate, betas=(0.9, 0.999))
    loss_fn = functional.ce_rate_loss()
    before, after = (net[:2], net[2:]) if "once" in job.variant else (nn.Identity(), net)

    def forward_pass(data):
        mem_rec = []
        spk_rec = []
        utils.reset(net)
        current = before(data)
        for _ in range(job.time_steps):
            spk_out, mem_out = after(current)
            spk_rec.append(spk_out)
            mem_rec.append(mem_out)
        return torch.stack(spk_rec), torch.stack(mem_rec)

    def data_of(images):
        return (torch.from_numpy(images)[:, None] / 256).clone(memory_format=layout)

    def step(images, labels):
        net.train()
        spk_rec, _ = forward_pass(data_of(images))
        loss_val = loss_fn(spk_rec, torch.from_numpy(labels))
        optimizer.zero_grad()
        loss_val.backward()
        optimizer.step()
        return loss_val.item()

    def infer(images):
        net.eval()
        with torch.no_grad():
            return forward_pass(data_of(images))[0].numpy()

    return step, infer
