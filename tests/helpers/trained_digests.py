"""Trains a few small jobs and prints digests of their losses and weights after every iteration, as JSON.

python tests/helpers/trained_digests.py [--sums | --record] [JOB ...]

--sums prints the long sums of their compiled updates instead; --record writes `digests.json`.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from long_sums import long_sums

from csnn_jax.devices.flags import JaxFlags
from csnn_jax.flags import parse_train
from csnn_jax.training.feed import Feed
from csnn_jax.training.prepare import prepare
from csnn_jax.training.trainer import Job
from csnn_jax.update.trainer import Trainer

RECORDED = Path(__file__).parents[1] / "digests.json"
ITERATIONS = 4
JOBS = {
    "default": "--time-steps 10 --batch-size 16 --init calibrated --schedule constant",
    "average": "--conv-channels 8 16 --hidden 48 --time-steps 8 --pool avg --reset zero --beta 0.9 --batch-size 160"
    " --clip-norm 0.1 --loss mse_count",
    "events": "--dataset arrays:{frames} --epochs 2 --batch-size 32 --conv-channels 8 12 --hidden 40 --learn-beta"
    " --learn-threshold --loss ce_membrane --readout membrane",
    "dense": "--conv-channels --hidden 300 200 --time-steps 8 --batch-size 200 --weight-bits 3 --dropout 0.2 --ema 0.9"
    " --augment 2 10 0.1 --optimizer adamw --weight-decay 0.01 --label-smoothing 0.1 --schedule cosine --warmup 2",
    "devices": "--conv-channels 8 --hidden 150 --time-steps 6 --batch-size 96 --microbatch 16 --encoding rate"
    " --optimizer sgd --momentum 0.9 --lr 0.05 --schedule constant --devices 2",
    "clipped": "--conv-channels 8 --hidden 20 --time-steps 4 --batch-size 32 --optimizer sgd --momentum 0.9"
    " --weight-decay 0.01 --clip-norm 0.1 --lr 0.05 --schedule constant",
    "rates": "--conv-channels 8 12 --hidden 30 --time-steps 6 --batch-size 48 --rate-target 0.1 --rate-weight 5"
    " --dropout 0.2 --schedule constant",
    "recurrent": "--conv-channels 8 --hidden 60 40 --recurrent fc1 fc2:one --time-steps 8 --batch-size 48 --learn-beta"
    " --learn-threshold --reset subtract zero subtract none --dropout 0.2 --rate-target 0.1",
    "residual": "--conv-channels 8 8 12 --residual conv2 conv3 --pool none none max --hidden 20 --time-steps 6"
    " --batch-size 48 --init torch --learn-beta --learn-threshold --dropout 0.2 --rate-target 0.1",
}
"""They cover all kinds of layers, pooling, resets, losses and input, learned neurons, micro-batches and devices."""


def frames(folder: Path) -> Path:
    """A file with arrays of event counts and their labels."""
    words = np.random.Philox(0).random_raw(64 * 6 * 9 * 11 * 2).reshape(64, 6, 9, 11, 2)
    counts = np.where(words % 11 == 0, words >> np.uint64(60), 0).astype(np.uint8)
    labels = np.arange(64, dtype=np.int64) % 5
    arrays = {"train_images": counts, "train_labels": labels, "images": counts[:9], "labels": labels[:9]}
    np.savez(folder / "frames.npz", **arrays)
    return folder / "frames.npz"


def started(words: str) -> Job:
    """A job with these flags, ready to train on the event engine."""
    words = f"{words} --engine event --max-iters {ITERATIONS}"
    flags = parse_train(JaxFlags, "csnn-train", "", words.split())
    return prepare(flags, partial(Trainer, devices=flags.devices))


def digests(job: Job) -> Iterator[str]:
    """NAME=DIGEST of every parameter at the start, and of every parameter and the metrics after each iteration."""
    yield _of(job.trainer.snapshot())
    for batch in Feed(job.config, job.dataset.train, job.trainer.rows).batches():
        metrics = job.trainer.step(batch, job.rates[batch.iteration])
        measured = {name: np.asarray(getattr(metrics, name)) for name in ("loss", "densities", "gradients")}
        yield _of(measured | job.trainer.snapshot())


def _of(state: dict[str, np.ndarray]) -> str:
    tensors = {name: value for name, value in state.items() if not name.startswith(("last_good", "optimizer"))}
    return " ".join(f"{name.removesuffix('/value')}={_digest(value)}" for name, value in tensors.items())


def _digest(value: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(value)).hexdigest()[:12]


def first_difference(one: dict[str, list[str]], other: dict[str, list[str]]) -> str | None:
    """The first iteration and tensor in which two runs' digests of the same jobs differ, or None."""
    for job, lines in one.items():
        for iteration, pair in enumerate(zip(lines, other[job], strict=True)):
            for mine, theirs in zip(*(line.split() for line in pair), strict=True):
                if mine != theirs:
                    return f"job {job}, iteration {iteration}: {mine}, not {theirs}"
    return None


def sums(job: Job) -> list[str]:
    """The long sums in the job's update, as compiled by XLA."""
    trainer = job.trainer
    assert isinstance(trainer, Trainer)
    batch = next(Feed(job.config, job.dataset.train, trainer.rows).batches())
    return long_sums(trainer._update.lower(*trainer._operands(batch, job.rates[0])).compile().as_text())


def main(words: list[str]) -> None:
    names = [word for word in words if not word.startswith("--")] or list(JOBS)
    make = sums if "--sums" in words else digests
    with tempfile.TemporaryDirectory() as folder:
        path = frames(Path(folder))
        by_job = {name: list(make(started(JOBS[name].format(frames=path)))) for name in names}
    if "--record" in words:
        RECORDED.write_text(json.dumps(by_job, indent=1) + "\n")
    print(json.dumps(by_job))


if __name__ == "__main__":
    main(sys.argv[1:])
