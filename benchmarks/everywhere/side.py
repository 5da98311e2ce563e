"""A Python side of everywhere.py: writes hashes of a network's membranes and spikes to a file.

python side.py SIDE RUN BUNDLE images.npy hashes.npy     # or layers.npz for the membranes and spikes themselves
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[2]))  # for a clone that isn't installed
from hashes import of

BATCH = 50
Layers = Iterator[tuple[np.ndarray, np.ndarray]]
"""Membranes and spikes of each layer [time, batch, ...], channels last."""
Side = Callable[[np.ndarray], Layers]
"""Runs a batch of images."""


def torch_eager(run: str, channels_last: bool = False) -> Side:
    import torch

    from csnn_jax.data import as_floats, as_input
    from csnn_jax.runs import rundir
    from csnn_torch import model

    config, tensors = rundir.open_run(run)[1].model, rundir.open_run(run)[2]
    network = model.sequential(config)
    model.load_tensors(network, tensors)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network.to(memory_format=layout)

    def window(images: np.ndarray) -> Layers:
        x = model.channels_first(as_floats(as_input(images, config, (0,)), config), layout)
        return layers(model.trace(network, x, config.time_steps).map(last))

    return window


def torch_compiled(run: str) -> Side:
    import torch

    from csnn_jax.runs import rundir
    from export import reference

    _, job, tensors = rundir.open_run(run)
    step = reference.Step(job.model, tensors)
    compiled = torch.compile(lambda *operands: step(*operands))

    def window(images: np.ndarray) -> Layers:
        x, states, after = reference.inputs(job.model, images), step.initial_states(len(images)), []
        for frame in reference.frames(x, job.model.time_steps):
            _, *states = compiled(frame, *states)
            after.append(states)
        return layers(step.trace(after).map(last))

    return window


def last(values: Any) -> np.ndarray:
    """Moves the channels to the end."""
    return np.moveaxis(np.asarray(values), 2, -1)


def layers(trace: Any) -> Layers:
    """A trace's membranes and spikes."""
    return zip(trace.membranes.values(), trace.spikes.values(), strict=True)


def jax_engine(run: str, engine: str) -> Side:
    import csnn_jax

    network = csnn_jax.load(run, engine=engine)

    def window(images: np.ndarray) -> Layers:
        return layers(network.trace(images))

    return window


def onnx_runtime(run: str, bundle: str) -> Side:
    import onnx

    from csnn_jax.runs import rundir
    from export import reference
    from export.proof import runners

    _, job, tensors = rundir.open_run(run)
    step, runner = reference.Step(job.model, tensors), runners.onnx_runner(onnx.load(f"{bundle}/step.onnx"))

    def window(images: np.ndarray) -> Layers:
        return layers(runners.window(runner, step, reference.inputs(job.model, images)).map(last))

    return window


def made(side: str, run: str, bundle: str) -> Side:
    if side == "torch compiled":
        return torch_compiled(run)
    if side.startswith("torch"):
        return torch_eager(run, channels_last="channels last" in side)
    if side.startswith("ONNX Runtime"):
        return onnx_runtime(run, bundle)
    return jax_engine(run, side.split(",")[0])


def main() -> None:
    side, run, bundle, source, target = sys.argv[1:]
    window, images = made(side, run, bundle), np.load(source)
    if target.endswith(".npz"):
        arrays = {}
        for number, (membranes, spikes) in enumerate(window(images)):
            arrays |= {f"membranes{number}": np.asarray(membranes), f"spikes{number}": np.asarray(spikes)}
        np.savez(target, **arrays)
        return
    parts = []
    for start in range(0, len(images), BATCH):
        hashes = [of(np.asarray(m), np.asarray(s)) for m, s in window(images[start : start + BATCH])]
        parts.append(np.stack(hashes, 1))
    np.save(target, np.concatenate(parts))


if __name__ == "__main__":
    main()
