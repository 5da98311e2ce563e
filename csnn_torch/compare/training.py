"""Same training? Both frameworks train from the same weights on the same batches, side by side."""

from collections.abc import Sequence
from dataclasses import replace

from csnn_jax import data
from csnn_jax.config import Config, lr_of
from csnn_jax.data.batches import check_batch_size
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.metrics import Evaluation
from csnn_jax.training import plan
from csnn_jax.training.feed import Feed
from csnn_jax.training.trainer import Trainer
from csnn_jax.update import trainer as jax_trainer
from csnn_torch import trainer as torch_trainer
from csnn_torch.compare.results import Trajectory, distances, of_spiking


def together(config: Config, split: data.Split, iterations: int, tensors: Tensors | None, start: str) -> Trajectory:
    """Trains both sides.

    Args:
        config: the job: model, which must fit the images, batch size, learning rate, dtype, seed.
        split: the training images.
        iterations: number of iterations.
        tensors: the weights to start from; None: the seed's.
        start: what they are, in words.
    """
    sides: dict[str, Trainer] = {
        "csnn_jax": jax_trainer.Trainer(config, split, tensors),
        "snntorch": torch_trainer.Trainer(replace(config, train=replace(config.train, engine="auto")), split, tensors),
    }
    losses: dict[str, list[float]] = {name: [] for name in sides}
    parted = None
    feed = Feed(config, split)
    check_batch_size(config.train.batch_size, len(split.labels))
    job = replace(config.train, epochs=iterations, max_iters=iterations)
    for iteration, index in plan.batches(job, len(split.labels)):
        batch = data.Split(feed.images(iteration, index), split.labels[index])
        if parted is None and not _same_spikes(list(sides.values()), batch):
            parted = iteration
        for name, side in sides.items():
            losses[name].append(side.step(feed.batch(iteration, index), lr_of(config)).fetched().loss)
    each = [node.operation for node in config.model.graph.neurons]
    fixed = {f"{one.name}.{name}" for one in each for name in one.stored if name not in one.learned}
    moved = {name: tensor for name, tensor in sides["snntorch"].masters().items() if name not in fixed}
    return Trajectory(
        start=start,
        dtype=config.train.dtype,
        engine=sides["csnn_jax"].describe(),
        batch_size=config.train.batch_size,
        lr=lr_of(config),
        losses=losses,
        distance=distances(sides["csnn_jax"].masters(), moved),
        parted=parted,
        densities=of_spiking(config.model, [*_evaluated(sides["csnn_jax"], batch).densities.values()]),
        seed=config.train.seed,
        time_steps=config.model.time_steps,
    )


def _same_spikes(sides: Sequence[Trainer], batch: data.Split) -> bool:
    a, b = (_evaluated(side, batch) for side in sides)
    return a.densities == b.densities and bool((a.predictions == b.predictions).all())


def _evaluated(side: Trainer, batch: data.Split) -> Evaluation:
    evaluation = side.evaluate(batch, lambda: True)
    assert evaluation is not None
    return evaluation
