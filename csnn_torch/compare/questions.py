"""The questions of the comparison, and their size. Each adds its results to a `Comparison` and prints them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from csnn_jax import data
from csnn_jax.config import Config, SurrogateName, surrogate_of
from csnn_jax.runs import rundir, weights
from csnn_torch.compare import cases, cost, training, worker
from csnn_torch.compare.cases import Case
from csnn_torch.compare.results import EXACT_LR, RUN, Comparison
from csnn_torch.compare.same_network import compare_spikes, of_surrogates

ENGINES = ("scan", "event")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The number of images, iterations, seeds and rounds in a comparison; by default, the one behind our results.

    Attributes:
        images: number of test images for membranes, spikes and predictions.
        gradient_images: number of these images for gradients.
        surrogates: surrogates whose gradients are compared on the run's network; None: only the run's own.
        variants: whether to compare variants of the run's network, too.
        variant_images: number of test images per variant.
        variant_iterations: training iterations of each variant, and of the network itself if there's no run.
        seeds: seeds of the initial weights for training in float32. Empty: one training run from the run's weights,
            because it's too short for a network that's silent at first.
        iterations: training iterations in float32.
        time_steps: limit on their time steps, to make many seeds affordable; None: the run's.
        exact_iterations: training iterations in float64, from the run's weights.
        exact_batch: their batch size.
        sides: sides whose cost is measured.
        turns: processes per side.
        rounds: smallest number of timed iterations and batches per process.
        seconds: shortest total time of each kind of round per process.
    """

    images: int = 1000
    gradient_images: int = 16
    surrogates: tuple[SurrogateName, ...] | None = get_args(SurrogateName)
    variants: bool = True
    variant_images: int = 200
    variant_iterations: int = 150
    seeds: tuple[int, ...] = tuple(range(6))
    iterations: int = 80
    time_steps: int | None = 10
    exact_iterations: int = 20
    exact_batch: int = 32
    sides: tuple[str, ...] = tuple(worker.SIDES)
    turns: int = 3
    rounds: int = 5
    seconds: float = cost.SECONDS


QUICK = Plan(
    images=20,
    gradient_images=4,
    surrogates=None,
    variants=False,
    variant_images=20,
    variant_iterations=80,
    seeds=(),
    iterations=3,
    time_steps=None,
    exact_batch=4,
    sides=(*ENGINES, "snntorch"),
    rounds=1,
    seconds=0.0,
)
"""About 4 minutes on two CPU cores."""


def train_briefly(out: str, iterations: int) -> str:
    """Trains the default network briefly; returns its run directory, `run` inside `out`."""
    config = Config()
    print(f"Training the default network for {iterations} iterations", flush=True)
    dataset = data.load_for(config)
    config = replace(config, model=data.fit_model(config.model, dataset))
    tensors = cases.briefly_trained(config.model, dataset, iterations)
    run = rundir.create(str(Path(out) / RUN), config, overwrite=True)
    weights.save(run.weights, tensors, config.model)
    return str(run.path)


def costs(comparison: Comparison, plan: Plan) -> None:
    """Time and memory of every side."""
    dataset = comparison.config.data.dataset
    size = (plan.sides, plan.turns, plan.rounds)
    comparison.costs += cost.measure(
        comparison.run,
        *size,
        dataset,
        seconds=plan.seconds,
        progress=lambda line: print(f"Measuring {line}", flush=True),
    )
    print("\n".join(f"Cost: {result}" for result in comparison.costs), flush=True)


def same_network(comparison: Comparison, plan: Plan) -> None:
    """Membranes, spikes, predictions and gradients of the run's network and its variants."""
    network = comparison.config, comparison.tensors
    _same_case(comparison, plan, cases.of_run(*network), plan.images)
    if plan.variants:
        for case in cases.of_variants(*network, plan.variant_iterations):
            _same_case(comparison, plan, case, min(plan.images, plan.variant_images))


def _same_case(comparison: Comparison, plan: Plan, case: Case, images: int) -> None:
    """Compares a case's network on some of its images, and its gradients if its layers fire."""
    results = compare_spikes(case.first(images), ENGINES)
    comparison.spikes += results
    print("\n".join(f"Network: {result}" for result in results), flush=True)
    if not any(result.counted for result in results):
        print(f"{case.name}: not counted, because a layer fires too little or too much", flush=True)
        return
    names = plan.surrogates if case.name == "run" and plan.surrogates else (surrogate_of(case.config),)
    for gradient in of_surrogates(case.first(images), ENGINES, names, plan.gradient_images):
        comparison.gradients.append(gradient)
        print(f"Gradients: {gradient}", flush=True)


def same_training(comparison: Comparison, plan: Plan) -> None:
    """Trains both in float32 (see `Plan`), and in float64 from the run's weights, which make neurons fire."""
    model = comparison.config.model
    dataset = data.load_for(comparison.config)
    settings = replace(comparison.config.train, engine="auto", dtype="float32")
    start = (None, "the seed's") if plan.seeds else (comparison.tensors, "the run's")
    if plan.time_steps is not None and not dataset.frames:  # images with a time axis keep theirs
        model = replace(model, time_steps=min(plan.time_steps, model.time_steps))
    for seed in plan.seeds or (settings.seed,):
        config = replace(comparison.config, model=model, train=replace(settings, seed=seed))
        _train(comparison, config, dataset.train, plan.iterations, *start)
    # float64 comes last, because it stays enabled in JAX.
    batch = plan.exact_batch
    size = settings.part
    part: Literal["off"] | int = "off" if size is None else math.gcd(size, batch)
    exact = replace(settings, dtype="float64", batch_size=batch, microbatch=part, lr=EXACT_LR)
    config = replace(comparison.config, train=exact)
    _train(comparison, config, dataset.train, plan.exact_iterations, comparison.tensors, "the run's")


def _train(comparison: Comparison, *task: Any) -> None:
    """Runs `training.together`, and prints and stores the result."""
    print(result := training.together(*task), flush=True)
    comparison.trajectories.append(result)


# Costs come first, because later this process uses gigabytes itself.
ANSWERS: dict[str, Callable[[Comparison, Plan], None]] = {
    "cost": costs,
    "network": same_network,
    "training": same_training,
}
