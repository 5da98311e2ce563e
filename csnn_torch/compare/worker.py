"""One side of the cost question, in its own process: `python -m csnn_torch.compare.worker RUN SIDE`.

Every side starts from the weights of RUN, uses the same images of its data set in the same order, and runs the forward
and backward pass, updates the parameters, and reads the loss back.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np

from csnn_jax import data, machine
from csnn_jax.config import Config, decided, lr_of
from csnn_jax.errors import UserError, naming_flags
from csnn_jax.runs import rundir
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.metrics import Evaluation
from csnn_jax.training.feed import Feed
from csnn_jax.training.trainer import Trainer

WITHOUT_RATES: dict[str, Any] = {"rate_target": None, "rate_weight": None, "batch_norm": False}
"""Settings of the timed job: the event engine and a bare snnTorch loop don't have the gradient of every spike."""


class Side:
    """A framework to be timed in training and inference."""

    def __init__(self, config: Config, dataset: data.Dataset, trainer: Trainer):
        self._trainer, self._test = trainer, dataset.test
        self._feed, self._lr = Feed(config, dataset.train), lr_of(config)

    def describe(self) -> str:
        """Framework, engine, device and threads."""
        return self._trainer.describe()

    def step(self, iteration: int, index: np.ndarray) -> None:
        """One training iteration on the training images `index`."""
        self._trainer.step(self._feed.batch(iteration, index), self._lr).fetched()

    def infer(self, index: np.ndarray) -> np.ndarray:
        """Predicted classes of the test images `index`."""
        return self._evaluate(index).predictions

    def densities(self, index: np.ndarray) -> dict[str, float]:
        """Fraction of the neurons that spike at a step, by layer, on the test images `index`."""
        return self._evaluate(index).densities

    def _evaluate(self, index: np.ndarray) -> Evaluation:
        result = self._trainer.evaluate(data.Split(self._test.images[index], self._test.labels[index]), lambda: True)
        assert result is not None
        return result


class Jax(Side):
    """csnn_jax as `python -m csnn_jax.train --engine ENGINE` runs it."""

    def __init__(self, engine: Literal["scan", "event"], config: Config, dataset: data.Dataset, tensors: Tensors):
        from csnn_jax.update.trainer import Trainer

        config = replace(config, train=replace(config.train, engine=engine, **WITHOUT_RATES))
        super().__init__(config, dataset, Trainer(config, dataset.train, tensors))

    def describe(self) -> str:
        return f"{super().describe()} ({machine.cpus()} threads)"


class SnnTorch(Side):
    """csnn_torch as `python -m csnn_torch.train` runs it, or with optimizations that users could make.

    With `channels_last`, images have that memory format instead of the one that torch's data loaders deliver. With
    `once`, the first convolution and pool are computed before the time loop, because the image is constant.

    Raises:
        UserError: `once` for an input that changes.
    """

    def __init__(
        self,
        config: Config,
        dataset: data.Dataset,
        tensors: Tensors,
        *,
        channels_last: bool = False,
        once: bool = False,
    ):
        import torch

        from csnn_torch.trainer import Trainer

        if once and (dataset.frames or config.model.encoding != "direct"):
            raise UserError("the input changes at every step, so nothing can be computed once")
        config = replace(config, train=replace(config.train, engine="auto", **WITHOUT_RATES))
        trainer = Trainer(config, dataset.train, tensors)
        super().__init__(config, dataset, trainer)
        self._torch, self._run = torch, trainer
        trainer.watching, trainer.once = False, once
        if channels_last:
            trainer.memory_format = torch.channels_last

    def infer(self, index: np.ndarray) -> np.ndarray:
        with self._torch.no_grad():
            output = self._run.run(self._run.input(self._test.images, index, (1, 0)))
            return output.sum(0).argmax(1).cpu().numpy()


SIDES: dict[str, Callable[..., Side]] = {
    "event": partial(Jax, "event"),
    "scan": partial(Jax, "scan"),
    "snntorch": SnnTorch,
    "snntorch channels last": partial(SnnTorch, channels_last=True),
    "snntorch first convolution once": partial(SnnTorch, once=True),
}


def work(run: str, name: str, dataset_name: str | None = None) -> None:
    """Answers `step`, `infer`, `density` and `report`, one line each, until standard input ends."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # data sets report their progress, some only when they're read
        for answer in _answers(run, name, dataset_name):
            print(json.dumps(answer | {"now": time.time()}), file=answers, flush=True)


def _answers(run: str, name: str, dataset_name: str | None) -> Iterator[dict[str, Any]]:
    _, config, tensors = rundir.open_run(run)
    dataset = data.load_for(config, dataset_name)
    side = SIDES[name](decided(config), dataset, tensors)
    batches = data.epoch_batches(config.train.seed, 1, len(dataset.train.labels), config.train.batch_size)
    images = np.arange(min(config.train.batch_size, len(dataset.test.labels)))
    step = 0
    for line in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        answer: dict[str, Any] = {}
        if line == "step\n":
            side.step(step, batches[step % len(batches)])
            step += 1
        elif line == "infer\n":
            answer["predictions"] = side.infer(images).tolist()
        elif line == "density\n":
            answer["densities"] = side.densities(images)
        else:
            answer |= {"description": side.describe(), "peak_memory_mb": machine.peak_memory_mb()}
            answer["whole_process_s"] = sum(os.times()[:4])
        answer["seconds"] = round(time.perf_counter() - began, 6)
        answer["processor_s"] = round(time.process_time() - used, 6)  # of all threads
        yield answer


if __name__ == "__main__":
    with naming_flags():  # part of a command
        work(*sys.argv[1:])
