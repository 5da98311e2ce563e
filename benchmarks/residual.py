"""Times training and inference of residual networks in both engines and in snnTorch; prints JSON.

    python benchmarks/residual.py > results/residual.json

The networks classify MNIST: a convolution, three residual blocks and a linear layer. In the first, every block has a
max-pool, as flags make them by default; in the second, two blocks keep the size, so all of their neurons get
gradients. A block that doubles the channels adds a current through a 1x1 convolution, the others add spikes. These
have 25 time steps, as in the tutorial in which snnTorch introduces training; the third is the first with 100, this
package's default. Batches have 128 images. Networks are trained first, so spikes are as sparse as in use. snnTorch's
side is the loop of its tutorials, in torch's usual layout and with channels last. A training step computes the loss,
all gradients and an update of Adam; sides take turns in one process after a warm-up, and times are medians. All run
the trained weights, which are on grids, so output spikes are compared.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import snntorch as snn
import torch
from flax import nnx
from snntorch import functional
from torch import nn

import csnn_jax
from csnn_jax import ce_rate, data, machine
from csnn_jax.config import Config, ModelConfig, TrainConfig
from csnn_jax.data import Split
from csnn_jax.engine import event, process, scan
from csnn_jax.network.model import CSNN, tensors, with_rounded_weights

BATCH, RATE = 128, 0.002
BLOCKS = ModelConfig(
    conv_channels=(32, 32, 64, 64),
    residual=("conv2", "conv3", "conv4"),
    hidden=(),
    time_steps=25,
    surrogate="atan",
)
NETWORKS = {
    "every block pools": BLOCKS,
    "two blocks keep the size": replace(BLOCKS, pool=("max", "none", "max", "none")),
    "every block pools, 100 steps": replace(BLOCKS, time_steps=100),
}
Side = Callable[[], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=400, help="of training, before anything is measured")
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    process.set_up("float32")
    about = {"command": "python benchmarks/residual.py", "commit": machine.commit(), **machine.describe()}
    about |= {"batch_size": BATCH, "iterations_before": options.iterations}
    networks = {name: measured(config, options.iterations, options.turns) for name, config in NETWORKS.items()}
    print(json.dumps(about | {"networks": networks}, indent=1))


def measured(config: ModelConfig, iterations: int, turns: int) -> dict[str, Any]:
    """The figures of a network."""
    trained, accuracy = train(config, iterations)
    test = data.load("mnist", (28, 28, 1)).test
    images, labels = test.images[:BATCH], test.labels[:BATCH]
    training, inference = dict[str, Side](), dict[str, Side]()
    for name, engine in (("event engine", event), ("scan engine", scan)):
        training[name], inference[name] = jax_sides(engine, trained, images, labels)
    for name, layout in (("snnTorch", torch.contiguous_format), ("snnTorch, channels last", torch.channels_last)):
        training[name], inference[name] = torch_sides(layout, trained, images, labels)
    spikes = {name: side() for name, side in training.items()}
    differ = {name: int((value != spikes["event engine"]).sum()) for name, value in spikes.items()}
    return {
        "time_steps": config.time_steps,
        "accuracy": accuracy,
        "densities": densities(trained, images),
        "output_spikes_that_differ": differ,
        "training": compared(training, turns),
        "inference": compared(inference, turns),
    }


def train(config: ModelConfig, iterations: int) -> tuple[CSNN, float]:
    """The network after some iterations, with rounded weights, and its accuracy on the test set."""
    mnist = data.load("mnist", (28, 28, 1))
    used = min(iterations * BATCH, len(mnist.train.labels))
    settings = TrainConfig(epochs=1, batch_size=BATCH, lr=RATE, engine="event", eval_every=0)
    first = Split(mnist.train.images[:used], mnist.train.labels[:used])
    trained = csnn_jax.fit(Config(config, train=settings), first, mnist.test, log=None)
    return with_rounded_weights(trained.model), round(trained.evaluate(mnist.test).accuracy, 4)


def densities(model: CSNN, images: np.ndarray) -> dict[str, float]:
    """The fraction of each layer's neurons that spike per step."""
    graph, params = nnx.split(model)
    run = jax.jit(lambda params, x: event.forward_with_densities(nnx.merge(graph, params), x)[1])
    shares = run(params, images)
    names = [node.name for node in model.config.graph.neurons]
    return {name: round(float(share), 4) for name, share in zip(names, shares, strict=True)}


def jax_sides(engine: ModuleType, model: CSNN, images: np.ndarray, labels: np.ndarray) -> tuple[Side, Side]:
    """A training step and an inference pass, both of which return the output spikes."""
    graph, params = nnx.split(model)
    adam = optax.adam(RATE)

    def loss(params: Any, x: Any, labels: Any) -> Any:
        spikes, _ = engine.forward_with_densities(nnx.merge(graph, params), x)
        return ce_rate(spikes, labels), spikes

    def step(params: Any, state: Any, x: Any, labels: Any) -> Any:
        gradients, spikes = jax.grad(loss, has_aux=True)(params, x, labels)
        changes, state = adam.update(gradients, state)
        return optax.apply_updates(params, changes), state, spikes

    update, run = scan.jit(step), scan.jit(lambda params, x: engine.forward(nnx.merge(graph, params), x)[1])
    operands = jax.device_put((params, adam.init(params), jnp.asarray(images), jnp.asarray(labels)))
    return (
        lambda: np.asarray(jax.block_until_ready(update(*operands))[2]),
        lambda: np.asarray(run(operands[0], operands[2])),
    )


class Tutorial(nn.Module):
    """The network as a user of snnTorch writes it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pools, channels = [pool == "max" for pool in config.each_convolution("pool")], (1, *config.conv_channels)
        self.steps, self.blocks = config.time_steps, range(1, len(channels))
        for block, (before, after) in enumerate(pairwise(channels), 1):
            self.add_module(f"conv{block}", nn.Conv2d(before, after, 3, padding=1))
            if block > 1 and before != after:
                self.add_module(f"res{block}", nn.Conv2d(before, after, 1))
        self.fc1 = nn.Linear(config.graph.entering(config.graph.weighted[-1])[0], 10)
        for layer in range(1, len(channels) + 1):
            self.add_module(f"lif{layer}", snn.Leaky(beta=0.5, spike_grad=snn.surrogate.atan()))
        self.pool = nn.MaxPool2d(2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        names, output = [f"lif{layer}" for layer in range(1, len(self.pools) + 2)], []
        membranes = {name: self.get_submodule(name).init_leaky() for name in names}
        for _ in range(self.steps):
            x = image
            for block, pools in zip(self.blocks, self.pools, strict=True):
                current = self.get_submodule(f"conv{block}")(x)
                current, shortcut = (self.pool(current), self.pool(x)) if pools else (current, x)
                projected = hasattr(self, f"res{block}")
                if projected:
                    current = current + self.get_submodule(f"res{block}")(shortcut)
                name = f"lif{block}"
                spikes, membranes[name] = self.get_submodule(name)(current, membranes[name])
                x = spikes if projected or block == 1 else spikes + shortcut
            spikes, membranes[names[-1]] = self.get_submodule(names[-1])(self.fc1(x.flatten(1)), membranes[names[-1]])
            output.append(spikes)
        return torch.stack(output)


def torch_sides(layout: Any, model: CSNN, images: np.ndarray, labels: np.ndarray) -> tuple[Side, Side]:
    """The same in snnTorch, with a memory layout."""
    network = Tutorial(model.config)
    names = network.state_dict()
    values = {name: torch.tensor(np.asarray(value)) for name, value in tensors(model).items() if name in names}
    missing, unexpected = network.load_state_dict(values, strict=False)
    assert not unexpected and all("lif" in name for name in missing), missing
    network = network.to(memory_format=layout)
    x = torch.tensor(images.transpose(0, 3, 1, 2) / np.float32(256)).contiguous(memory_format=layout)
    targets, loss_of = torch.tensor(labels.astype(np.int64)), functional.ce_rate_loss()
    initial = {name: value.clone() for name, value in network.state_dict().items()}

    def step() -> np.ndarray:
        network.load_state_dict(initial)  # a step from the trained weights, as on the other sides
        adam = torch.optim.Adam(network.parameters(), lr=RATE)
        spikes = network(x)
        loss_of(spikes, targets).backward()
        adam.step()
        return spikes.detach().numpy()

    def run() -> np.ndarray:
        network.load_state_dict(initial)
        with torch.no_grad():
            return network(x).numpy()

    return step, run


def compared(sides: dict[str, Side], turns: int) -> dict[str, Any]:
    """Median seconds of each side, and how many times as fast as the faster of snnTorch's the engines are."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    fastest = min(value for name, value in medians.items() if name.startswith("snnTorch"))
    return {
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "times_as_fast_as_snntorch": {
            name: round(fastest / value, 2) for name, value in medians.items() if "engine" in name
        },
    }


if __name__ == "__main__":
    main()
