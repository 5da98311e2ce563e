"""Data for testing importers: a small convolutional network from each program, with its input and all of its spikes.

Each `write_<program>.py FOLDER` builds the network in its program, writes `NAME.nir` with the program's own exporter,
and saves `NAME.npz`: `x` [images, channels, height, width], shown at every step, and `spikes1`, `spikes2`, ... [time,
images, ...] of every layer of neurons; the last one is the output.

Weights and images are multiples of 2**-10 and 2**-8, so no sum depends on its order.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

TIME_STEPS, IMAGES, CLASSES = 20, 4, 10
SHAPES = ((8, 16, 16), (16, 8, 8), (CLASSES,))
"""Shapes of the layers of neurons, without batch."""


def images() -> torch.Tensor:
    """Images [4, 1, 16, 16] with a soft blob and some noise each, pixels from 0 to 255/256."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    center = generator.uniform(4, 12, (IMAGES, 2, 1, 1))
    blob = np.exp(-((y - center[:, 0]) ** 2 + (x - center[:, 1]) ** 2) / 40)
    pixels = np.clip(blob * 220 + generator.integers(0, 32, blob.shape), 0, 255).astype(np.uint8)
    return torch.from_numpy(pixels[:, None] / np.float32(256))


def stack(neurons: Callable[[tuple[int, ...]], nn.Module], pool: Callable[[], nn.Module], scales: Iterable[float], **k):
    """Modules in order: convolution, neurons, pool, convolution, neurons, pool, flatten, linear, neurons.

    Args:
        neurons: makes a layer of neurons of a shape.
        pool: makes a 2x2 pool.
        scales: standard deviation of each layer's weights.
        k: keywords of the convolutions beyond kernel_size=3, such as `bias`.
    """
    first, second, last = SHAPES
    k = {"padding": 1} | k
    modules = [nn.Conv2d(1, 8, 3, **k), neurons(first), pool(), nn.Conv2d(8, 16, 3, **k), neurons(second), pool()]
    modules += [nn.Flatten(), nn.Linear(16 * 4 * 4, CLASSES), neurons(last)]
    draw([modules[0], modules[3], modules[7]], scales)
    return modules


def draw(layers: Iterable[nn.Module], scales: Iterable[float]) -> None:
    """Draws weights and biases with a fixed seed, and rounds them to multiples of 2**-10 below 1."""
    generator = np.random.default_rng(1)
    for layer, scale in zip(layers, scales, strict=True):
        for name, values in layer.named_parameters():
            drawn = generator.normal(scale / 8 if name == "weight" else 0, scale, values.shape)
            rounded = np.clip(np.round(drawn * (1 if name == "weight" else 0.1) * 1024), -1023, 1023) / 1024
            values.data = torch.from_numpy(rounded.astype(np.float32))


@torch.no_grad()
def run(
    network: Callable[[torch.Tensor], object], neurons: Iterable[nn.Module], x: torch.Tensor
) -> dict[str, np.ndarray]:
    """Shows the images at every step and collects the spikes of every layer of neurons.

    Args:
        network: runs one step and keeps its state.
        neurons: its layers of neurons, which return spikes or a tuple that starts with them.
        x: [images, ...].

    Returns:
        `x`, and `spikes1`, `spikes2`, ... float32 [time, images, ...].
    """
    collected: list[list[np.ndarray]] = []
    hooks = []
    for layer in neurons:
        spikes: list[np.ndarray] = []
        collected.append(spikes)

        def keep(_, __, out, spikes=spikes):
            spikes.append((out[0] if isinstance(out, tuple) else out).numpy().copy())

        hooks.append(layer.register_forward_hook(keep))
    for _ in range(TIME_STEPS):
        network(x)
    for hook in hooks:
        hook.remove()
    return {"x": x.numpy(), **{f"spikes{n}": np.stack(spikes) for n, spikes in enumerate(collected, 1)}}


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Saves the results of a run, and prints how much each layer spiked."""
    np.savez_compressed(path, **arrays)
    layers = [spikes for key, spikes in arrays.items() if key != "x"]
    rates = ", ".join(f"{(spikes > 0).mean():.1%}" for spikes in layers)
    most = max(spikes.max() for spikes in layers)
    print(f"{path.stem}: spikes {rates}, at most {most:g} per neuron and step", file=sys.stderr)


def folder() -> Path:
    """The folder from the command line."""
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: {Path(sys.argv[0]).name} FOLDER")
    path = Path(sys.argv[1])
    path.mkdir(parents=True, exist_ok=True)
    return path
