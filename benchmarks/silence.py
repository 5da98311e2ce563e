"""Measures membranes, spikes and gradients of each layer in the first iteration; prints JSON.

    python benchmarks/silence.py > results/learning/silence.json

Three stacks, torch's and calibrated weights, the default surrogate and atan; 128 training images, 25 steps, seed 0.
Gradients are root mean squares over a kernel.
"""

import json
from dataclasses import asdict, dataclass, replace

import numpy as np

from csnn_jax import data, machine
from csnn_jax.config import Config, ModelConfig, TrainConfig, decided
from csnn_jax.training.feed import Feed
from csnn_jax.update.trainer import Trainer

STACKS = {
    "default": ModelConfig(time_steps=25),
    "16-32-64, hidden 256-128": ModelConfig(conv_channels=(16, 32, 64), hidden=(256, 128), time_steps=25),
    "hidden 512-512-512": ModelConfig(conv_channels=(), hidden=(512, 512, 512), time_steps=25),
}


@dataclass(frozen=True)
class Seen:
    """One network at its first iteration.

    Attributes:
        highest: highest membrane of each layer, in thresholds.
        deviation: standard deviation of each layer's membranes, in thresholds.
        density: fraction of neurons that spike at a step.
        gradient: root mean square of each kernel's gradient.
    """

    network: str
    init: str
    surrogate: str
    highest: list[float]
    deviation: list[float]
    density: list[float]
    gradient: list[float]


def main() -> None:
    images = data.load("mnist", (28, 28, 1)).train
    seen = [
        look(name, model, init, surrogate, images)
        for name, model in STACKS.items()
        for init in ("torch", "calibrated")
        for surrogate in ("fast_sigmoid", "atan")
    ]
    result = {"command": "python benchmarks/silence.py", "commit": machine.commit(), **machine.describe()}
    print(json.dumps(result | {"networks": [asdict(network) for network in seen]}, indent=2))


def look(name: str, model: ModelConfig, init, surrogate, images: data.Split) -> Seen:
    """Runs the first iteration of a job."""
    model = replace(model, surrogate=surrogate, scale=255.0)
    trainer = Trainer(decided(Config(model, train=TrainConfig(init=init))), images)
    batch = data.epoch_batches(0, 0, len(images.labels), 128)[0]
    trace = trainer.trace(images.images[batch[:32]])
    membranes, spikes = trace.membranes.values(), trace.spikes.values()
    step = trainer.step(Feed(trainer.config, images).batch(0, batch), 0.0).fetched()
    sizes = [tensor.size for key, tensor in trainer.tensors().items() if key.endswith(".weight")]
    return Seen(
        name,
        init,
        surrogate,
        highest=[round(float(m.max() / t), 3) for m, t in zip(membranes, model.thresholds, strict=True)],
        deviation=[round(float(m.std() / t), 3) for m, t in zip(membranes, model.thresholds, strict=True)],
        density=[round(float(s.mean()), 5) for s in spikes],
        gradient=[float(f"{n / np.sqrt(size):.2g}") for n, size in zip(step.gradients, sizes, strict=True)],
    )


if __name__ == "__main__":
    main()
