"""The plan of a job: the images and the learning rate of each iteration, known before it starts."""

import math
from collections.abc import Iterator

import numpy as np

from csnn_jax.config.job import Config, TrainConfig
from csnn_jax.data.batches import check_batch_size, epoch_batches
from csnn_jax.errors import UserError


def batches(config: TrainConfig, images: int, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Iterates over a job from `start` to its end: (iteration, indices of its training images [batch]).

    Args:
        config: epochs, batch size, seed and maximum iterations.
        images: number of training images.
        start: number of iterations already done.
    """
    per_epoch = images // config.batch_size
    for iteration in range(start, iterations(config, images)):
        epoch, row = divmod(iteration, per_epoch)
        if row == 0 or iteration == start:
            index = epoch_batches(config.seed, epoch, images, config.batch_size)
        yield iteration, index[row]


def iterations(config: TrainConfig, images: int) -> int:
    """The number of iterations of a whole job."""
    whole = config.epochs * (images // config.batch_size)
    return min(whole, config.max_iters or whole)


def choosing(config: TrainConfig, images: int) -> int:
    """The number of iterations that choose the exponents of grids with few bits; later ones keep them."""
    return -(-iterations(config, images) // 10)


def check_sizes(config: Config, train: int, test: int) -> None:
    """Checks that a job has at least a batch, and enough images to evaluate on and iterations to warm up.

    Args:
        config: the job.
        train: number of training images; 0: only for evaluations, which is another error.
        test: number of test images; 0: there are none, which is another error.

    Raises:
        UserError: it hasn't.
    """
    settings = config.train
    if test and settings.eval_images is not None and settings.eval_images > test:
        name = config.data.dataset
        raise UserError(f"--eval-images {settings.eval_images}: expected 1 to {test}, the test images of {name}")
    if train:
        check_batch_size(settings.batch_size, train)
        if settings.warmup > (total := iterations(settings, train)):
            raise UserError(f"--warmup {settings.warmup}: expected at most {total}, the iterations of the job")


def learning_rates(config: TrainConfig, total: int) -> np.ndarray:
    """The learning rate of every iteration, float64 [total].

    With the learning rate lr, a warmup of w iterations and n iterations in total, iteration i (from 0) has

        lr (i + 1) / w                                   for i < w
        lr                                               after it, constant
        lr (1 + cos(pi (i - w) / (n - w))) / 2           after it, cosine (torch's `CosineAnnealingLR`)
    """
    warmup = config.warmup
    rates = np.full(total, config.lr)
    rates[:warmup] *= np.arange(1, warmup + 1)[:total] / max(warmup, 1)  # a run may end within the warm-up
    if config.schedule == "cosine":
        rest = total - warmup
        # libm's cosine, because NumPy's depends on the instruction set.
        rates[warmup:] *= [(1 + math.cos(math.pi * i / rest)) / 2 for i in range(rest)]
    return rates
