"""Is recurrence worth it? Compares networks on spoken vowels by nine speakers; prints JSON.

    python benchmarks/japanese_vowels.py --environments DIR > results/japanese_vowels.json

JapaneseVowels comes with aeon, which gets a virtual environment of its own in DIR: 270 training and 370 test
utterances, 7 to 29 frames of 12 coefficients. Each coefficient is scaled to bytes by its range in the training data,
and a frame drives the first layer for one step (`--hold` for more); what follows are spikes. Frames of zeros fill
utterances up to the longest one, after their end.

A recurrent network and a feed-forward one with as many parameters are trained with the same flags and seeds, and the
recurrent one also in a loop over snnTorch's Leaky, from the same weights with the same batches. Accuracy is that after
the last epoch. Seconds are of whole trainings, compilation included; the machine must be otherwise idle.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import snntorch as snn
import torch
from peer_environments import environment
from torch import nn

import csnn_jax
from csnn_jax import Config, ModelConfig, TrainConfig, data, machine
from csnn_jax.config import decided
from csnn_jax.initial.start import start
from csnn_jax.network.model import tensors
from csnn_jax.runs.layouts import parameters

AEON = ("aeon==1.6.0",)
LOAD = """
import sys, numpy as np
from aeon.datasets import load_japanese_vowels
arrays = {}
for split in ("train", "test"):
    series, labels = load_japanese_vowels(split=split)
    arrays[split] = np.full((len(series), 29, 12), np.nan)
    for padded, one in zip(arrays[split], series):
        padded[: one.shape[1]] = one.T
    arrays[split + "_labels"] = np.asarray(labels, int) - 1
np.savez(sys.argv[1], **arrays)
"""
RECURRENT, FEED_FORWARD = 64, 250
"""Hidden neurons of networks with 5,513 and 5,509 parameters."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", required=True, help="folder for aeon's virtual environment, which is kept")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--hold", type=int, default=1, help="steps for each frame")
    options = parser.parse_args()
    train, test = utterances(Path(options.environments), options.hold)
    jobs = {
        "recurrent": job(RECURRENT, ("fc1",), options.epochs),
        "feed-forward": job(FEED_FORWARD, (), options.epochs),
    }
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in (*jobs, "recurrent, snnTorch")}
    sizes = {}
    for seed in range(options.seeds):
        for name, config in jobs.items():
            began = time.perf_counter()
            model = csnn_jax.fit(seeded(config, seed), train, test, classes=9, log=None)
            runs[name].append((model.evaluate(test).accuracy, time.perf_counter() - began))
            sizes[name] = parameters(tensors(model.model))
            if name == "recurrent":
                began = time.perf_counter()
                runs["recurrent, snnTorch"].append(
                    (in_snntorch(model.config, train, test), time.perf_counter() - began)
                )
    result = {
        "command": f"python benchmarks/japanese_vowels.py --epochs {options.epochs} --hold {options.hold}",
        "commit": machine.commit(),
        **machine.describe(),
        "parameters": sizes,
        "networks": {name: figures(values) for name, values in runs.items()},
    }
    print(json.dumps(result, indent=1))


def figures(runs: list[tuple[float, float]]) -> dict[str, Any]:
    accuracies, seconds = zip(*runs, strict=True)
    return {
        "accuracies": [round(one, 4) for one in accuracies],
        "mean_accuracy": round(statistics.mean(accuracies), 4),
        "median_s": round(statistics.median(seconds), 2),
    }


def utterances(folder: Path, hold: int) -> tuple[data.Split, data.Split]:
    """The training and test data as frames of bytes [N, time, 1, 1, 12]."""
    python, file = environment(folder / "aeon", AEON, (3, 11)), folder / "japanese_vowels.npz"
    if not file.exists():
        subprocess.run([python, "-c", LOAD, str(file)], check=True)
    arrays = np.load(file)
    low, high = np.nanmin(arrays["train"], (0, 1)), np.nanmax(arrays["train"], (0, 1))

    def split(name: str) -> data.Split:
        values = np.clip((arrays[name] - low) / (high - low), 0, 1) * 255
        frames = np.nan_to_num(np.round(values)).astype(np.uint8).repeat(hold, 1)
        return data.Split(frames[:, :, None, None, :], arrays[f"{name}_labels"].astype(np.int32))

    return split("train"), split("test")


def job(hidden: int, recurrent: tuple[str, ...], epochs: int) -> Config:
    """A hidden layer of spiking neurons, and an integrator whose membranes are trained with cross-entropy."""
    model = ModelConfig(
        input_shape=(1, 1, 12),
        conv_channels=(),
        hidden=(hidden,),
        recurrent=recurrent,
        beta=0.9,
        output="integrator",
        scale=256.0,
    )
    settings = TrainConfig(epochs=epochs, batch_size=27, lr=2e-3, loss="ce_membrane", eval_every=0)
    return Config(model, train=settings)


def seeded(config: Config, seed: int) -> Config:
    return Config(config.model, config.data, TrainConfig(**{**vars(config.train), "seed": seed}))


def in_snntorch(config: Config, train: data.Split, test: data.Split) -> float:
    """The accuracy of the recurrent network, trained as a user of snnTorch would."""
    config = decided(config)
    weights = {name: torch.tensor(value) for name, value in start(config, train).tensors.items()}
    shapes = {name: weights[f"{name}.weight"].shape[::-1] for name in ("fc1", "rec1", "fc2")}
    network = nn.ModuleDict({name: nn.Linear(*shape, bias=name != "rec1") for name, shape in shapes.items()})
    network.load_state_dict(weights)
    gradient = getattr(snn.surrogate, config.model.surrogate)(*filter(None, [config.model.slope]))
    hidden, last = snn.Leaky(0.9, spike_grad=gradient), snn.Leaky(0.9, reset_mechanism="none")

    def membranes(images: Any) -> torch.Tensor:
        frames = torch.tensor(np.asarray(images).reshape(*images.shape[:2], -1) / np.float32(256)).movedim(1, 0)
        membrane, output, fired = hidden.init_leaky(), last.init_leaky(), torch.zeros(len(images), RECURRENT)
        seen = []
        for frame in frames:
            fired, membrane = hidden(network["fc1"](frame) + network["rec1"](fired), membrane)
            _, output = last(network["fc2"](fired), output)
            seen.append(output)
        return torch.stack(seen)

    optimizer = torch.optim.Adam(network.parameters(), config.train.lr or 0)
    for epoch in range(config.train.epochs):
        for rows in data.epoch_batches(config.train.seed, epoch, len(train.labels), config.train.batch_size):
            labels = torch.tensor(train.labels[rows], dtype=torch.long)
            optimizer.zero_grad()
            steps = [nn.functional.cross_entropy(one, labels) for one in membranes(train.images[rows])]
            torch.stack(steps).mean().backward()
            optimizer.step()
    with torch.no_grad():
        return float((membranes(test.images).sum(0).argmax(1).numpy() == test.labels).mean())


if __name__ == "__main__":
    main()
