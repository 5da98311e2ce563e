"""Makes runs whose wrong answers are those with small margins, so `csnn_jax.evaluate --unknown` finds one."""

from pathlib import Path

import numpy as np
from bundles import make_run
from idx_files import write_folder

import csnn_jax
from csnn_jax import data
from csnn_jax.config import ModelConfig
from csnn_jax.runs import weights
from csnn_jax.runs.margins import margins

HELD_OUT = 300
SHARE = 0.05


def make_unknown_run(folder: Path, model: ModelConfig) -> Path:
    """A run in `folder` with its own data set of MNIST's images. Labels are the answers, or others if those are close.

    300 of the 400 training images are held out. The first neurons' first channel never spikes.
    """
    height = model.input_shape[0]
    inside = slice((28 - height) // 2, (28 + height) // 2)
    mnist = data.load("mnist", (28, 28, 1))
    (folder / "images").mkdir(parents=True)
    run = make_run(folder / "run", model, f"idx:{folder / 'images'}", validation=HELD_OUT)
    tensors = weights.load(run / "weights.safetensors")[1]
    first = model.graph.weighted[0].name
    tensors[f"{first}.weight"][0], tensors[f"{first}.bias"][0] = 0, 0
    weights.save(run / "weights.safetensors", tensors, model)
    network, parts = csnn_jax.load(run), []
    for images in (mnist.train.images[:400, inside, inside], mnist.test.images[:60, inside, inside]):
        scores = [network.classify(some).scores for some in (images[:-HELD_OUT], images[-HELD_OUT:]) if len(some)]
        classes, ahead = np.concatenate(scores).argmax(1), margins(np.concatenate(scores))
        close = ahead < np.quantile(ahead, 0.7, method="higher")
        parts.append((images[..., 0], np.where(close, (classes + 1) % 10, classes)))
    write_folder(folder / "images", *parts)
    return run
