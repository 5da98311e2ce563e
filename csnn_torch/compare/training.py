"""Same training? Both frameworks train from the same weights on the same batches, side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import mean, stdev

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config, lr_of
from csnn_jax.document.markdown import table
from csnn_jax.runs.layouts import Tensors
from csnn_jax.runs.metrics import Evaluation
from csnn_jax.training.feed import Feed
from csnn_jax.training.trainer import Trainer
from csnn_jax.update import trainer as ours
from csnn_torch import trainer as theirs
from csnn_torch.compare.figure import NAMES
from csnn_torch.compare.results import LAST, TRAINING, Trajectory, distances, groups, of_spiking, short


def summary(results: Sequence[Trajectory]) -> Iterator[str]:
    """A sentence for each training run, or for a group that differs only in the seed."""
    for together in groups(results):
        yield _alone(together) if len(together) == 1 else _by_seed(together)


def _alone(together: Sequence[Trajectory]) -> str:
    (r,) = together
    parted = "no spike differs" if r.parted is None else f"the first spike differs at iteration {r.parted}"
    return (
        f"- Same training, {r.dtype}: over {len(r.differences)} iterations {parted}; losses within "
        f"{max(r.differences[: r.parted] or r.differences):.1e}"
        f"{'' if r.parted is None else ' until then'}."
    )


def _by_seed(together: Sequence[Trajectory]) -> str:
    apart = [r.apart for r in together]
    return (
        f"- Same training, {together[0].dtype}: over {len(together)} seeds of {len(together[0].differences)} "
        f"iterations the mean loss of the last {LAST} differs by {mean(apart):+.3f} +- {stdev(apart):.3f} (csnn_jax's "
        "minus snnTorch's, mean and standard deviation)."
    )


def section(results: Sequence[Trajectory]) -> Iterator[str]:
    """The section: what was compared, a column for each training run or group, and a row for each seed of a group."""
    yield "\n## Same training?\n"
    yield (
        f"Equal initial weights, equal batches. Bound: in float64, losses and parameters within "
        f"{short(TRAINING)}, at a learning rate at which training doesn't amplify rounding. In "
        "float32, gradients round, and eventually a weight of the two is on different steps of its grid, and a spike "
        "differs; from then on they are different training runs, each as good as the other. Before that, the float32 "
        "losses differ because snnTorch adds up one loss per step, and csnn_jax takes the mean of all at once.\n"
    )
    columns = [_column(r) for r, *_ in groups(results)]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    yield table(("", *(_headed(together) for together in groups(results))), rows)
    for together in groups(results):
        if len(together) > 1:
            yield f"\nEvery seed, {together[0].dtype}. Losses are the mean of the last {LAST} iterations.\n"
            yield table(
                ("seed", *NAMES.values(), "difference", "iterations until a spike differs"), map(_seed, together)
            )


def _headed(together: Sequence[Trajectory]) -> str:
    return together[0].dtype + (f", seed {together[0].seed}" if len(together) > 1 else "")


def _seed(r: Trajectory) -> tuple[str, ...]:
    losses = [f"{mean(losses[-LAST:]):.3f}" for losses in r.losses.values()]
    return str(r.seed), *losses, f"{r.apart:+.3f}", "none differs" if r.parted is None else str(r.parted)


def _column(r: Trajectory) -> dict[str, str]:
    largest = f"{max(r.differences):.1e}"
    if r.parted is not None and (before := r.differences[: r.parted]):
        largest = f"{max(before):.1e} before a spike differs, {largest} in all"
    distance = max(r.distance, key=lambda name: r.distance[name])
    densities = ", ".join(f"{100 * d:.1f}" for d in r.densities.values())
    batches = f"{len(r.differences)} on batches of {r.batch_size}, learning rate {r.lr:g}, {r.time_steps} time steps"
    return {
        "csnn_jax's side": r.engine,
        "start": f"{r.start} weights",
        "iterations": batches,
        "last loss, csnn_jax and snnTorch": ", ".join(f"{losses[-1]:.6f}" for losses in r.losses.values()),
        "largest difference of the losses": largest,
        "iterations until a spike differs": "none differs" if r.parted is None else str(r.parted),
        "largest relative difference of a parameter at the end": f"{r.distance[distance]:.1e} ({distance})",
        "densities at the end by layer (%)": densities + ("" if r.counted else " **(not counted)**"),
    }


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
        "csnn_jax": ours.Trainer(config, split, tensors),
        "snntorch": theirs.Trainer(replace(config, train=replace(config.train, engine="auto")), split, tensors),
    }
    losses: dict[str, list[float]] = {name: [] for name in sides}
    parted = None
    feed = Feed(config, split)
    for iteration, index in enumerate(batches(config, len(split.labels), iterations)):
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


def batches(config: Config, images: int, iterations: int) -> list[np.ndarray]:
    """The image indices of every iteration [batch], epoch by epoch, without an epoch's last partial batch."""
    settings = config.train
    found: list[np.ndarray] = []
    while len(found) < iterations:
        epoch = len(found) // (images // settings.batch_size)
        found += list(data.epoch_batches(settings.seed, epoch, images, settings.batch_size))
    return found[:iterations]


def _same_spikes(sides: Sequence[Trainer], batch: data.Split) -> bool:
    one, other = (_evaluated(side, batch) for side in sides)
    return one.densities == other.densities and bool((one.predictions == other.predictions).all())


def _evaluated(side: Trainer, batch: data.Split) -> Evaluation:
    found = side.evaluate(batch, lambda: True)
    assert found is not None
    return found
