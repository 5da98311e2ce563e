"""`python -m csnn_torch.compare`: same network, same training, and what does each framework cost?"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from csnn_jax.flags import parse, run_command
from csnn_torch import require_torch

DESCRIPTION = """Compares csnn_jax with snnTorch and writes comparison.json, comparison.md and comparison.png.

Same network? Spikes of every layer at every step, predictions, gradients, at equal weights on real test images.
Same training? Iterations from equal weights on equal batches.
What does each cost? Seconds of an iteration and of an inference batch, compile time, peak memory.
Exit code 1 if a bound is broken, which is named."""

ENGINES = ("scan", "event")
Question = Literal["network", "training", "cost"]


@dataclass(frozen=True)
class CompareFlags:
    run: str | None = None
    """Run directory with trained weights; None: the default network is trained briefly first, in OUT/run."""
    out: str = "comparison"
    """Directory for the results."""
    quick: bool = False
    """Few images and iterations, no variants, no torch.compile: under 3 minutes on two CPU cores."""
    questions: tuple[Question, ...] = get_args(Question)
    """Which of the questions to answer: network, training, cost."""
    images: int | None = None
    """Test images whose spikes are compared; None: 1000, quick: 40."""
    iterations: int | None = None
    """Training iterations in float32, from the seed's weights; None: 80, quick: 6."""
    exact_iterations: int = 20
    """Training iterations in float64, from trained weights."""
    exact_batch: int | None = None
    """Their batch size; None: 32, quick: 4."""
    variant_iterations: int = 150
    """Training iterations of each variant (and of the network itself, without --run)."""
    rounds: int | None = None
    """Timed iterations and batches of each process; None: 5, quick: 2."""


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    images: int
    iterations: int
    exact_batch: int
    rounds: int
    turns: int
    gradient_images: int
    variants: bool
    surrogates: tuple[str, ...] | None
    sides: tuple[str, ...]

    @staticmethod
    def of(flags: CompareFlags) -> "Plan":
        from csnn_jax.config import SurrogateName
        from csnn_torch.cost import SIDES

        plan = Plan(1000, 80, 32, 5, 2, 16, True, get_args(SurrogateName), tuple(SIDES))
        if flags.quick:
            plan = Plan(40, 6, 4, 2, 1, 4, False, None, (*ENGINES, "snntorch"))
        names = ("images", "iterations", "exact_batch", "rounds")
        return replace(plan, **{name: value for name in names if (value := getattr(flags, name)) is not None})


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(CompareFlags, "csnn-compare", DESCRIPTION, arguments)
        require_torch()
        from csnn_jax import data, rundir
        from csnn_torch import comparison_report
        from csnn_torch.comparison import Comparison

        path = flags.run or _train(flags)
        _, config, tensors = rundir.open_run(path)
        dataset = data.load(config.data.dataset, config.model.input_shape)
        found = Comparison(path, config, " ".join(arguments or sys.argv[1:]))
        if "network" in flags.questions:
            _same_network(found, flags, dataset, tensors)
        if "training" in flags.questions:
            _same_training(found, flags, dataset, tensors)
        if "cost" in flags.questions:
            _cost(found, flags)
        comparison_report.write(found, Path(flags.out))
        for check in found.broken:
            print(f"Broken: {check}", flush=True)
        print(f"{len(found.checks)} bounds checked, {len(found.broken)} broken; see {flags.out}/comparison.md")
        return 1 if found.broken else 0

    return run_command(command)


def _train(flags: CompareFlags) -> str:
    """A briefly trained default network in a run directory of its own."""
    from csnn_jax import data, rundir, weights
    from csnn_jax.config import Config
    from csnn_torch.variants import briefly_trained

    config = Config()
    print(f"Training the default network for {flags.variant_iterations} iterations ...", flush=True)
    dataset = data.load(config.data.dataset, config.model.input_shape)
    tensors = briefly_trained(config.model, dataset, flags.variant_iterations)
    run = rundir.create(str(Path(flags.out) / "run"), config, overwrite=True)
    weights.save(run.weights, tensors, config.model)
    return str(run.path)


def _same_network(found, flags: CompareFlags, dataset, tensors) -> None:
    from csnn_torch import gradients, parity

    plan = Plan.of(flags)
    for network in _networks(found.config, flags, dataset, tensors):
        for dtype in ("float64", "float32"):
            for spikes in parity.spikes(network, ENGINES, dtype):
                found.spikes.append(spikes)
                print(f"Spikes: {spikes}", flush=True)
        if not found.spikes[-1].counted and not any(s.counted for s in found.spikes if s.network == network.name):
            continue
        few = replace(
            network, images=network.images[: plan.gradient_images], labels=network.labels[: plan.gradient_images]
        )
        own = (network.config.surrogate,)
        for gradient in gradients.compare(few, ENGINES, (plan.surrogates or own) if network.name == "run" else own):
            found.gradients.append(gradient)
            print(f"Gradients: {gradient}", flush=True)


def _networks(config, flags: CompareFlags, dataset, tensors) -> Iterator:
    """The run's network, then its variants."""
    from csnn_jax import data
    from csnn_torch.parity import Network
    from csnn_torch.variants import briefly_trained, variants

    plan = Plan.of(flags)
    test = dataset.test
    yield Network("run", config.model, tensors, test.images[: plan.images], test.labels[: plan.images])
    for variant in variants(config.model) if plan.variants else ():
        images = data.load(config.data.dataset, variant.model.input_shape)
        learnt = briefly_trained(variant.model, images, flags.variant_iterations, variant.lr, tensors)
        test = images.test
        yield Network(variant.name, variant.model, learnt, test.images[: plan.images], test.labels[: plan.images])


def _same_training(found, flags: CompareFlags, dataset, tensors) -> None:
    from csnn_torch import trajectory

    plan = Plan.of(flags)
    settings = replace(found.config.train, engine="auto", dtype="float32")
    # float64 last: it stays switched on in JAX.
    for dtype, iterations, batch, start, weights in (
        ("float32", plan.iterations, settings.batch_size, "the seed's", None),
        ("float64", flags.exact_iterations, plan.exact_batch, "the run's", tensors),
    ):
        config = replace(found.config, train=replace(settings, dtype=dtype, batch_size=batch))
        result = trajectory.together(config, dataset.train, iterations, weights, start)
        found.trajectories.append(result)
        print(f"Training: {result}", flush=True)


def _cost(found, flags: CompareFlags) -> None:
    from csnn_torch import cost

    plan = Plan.of(flags)
    for result in cost.measure(found.run, plan.sides, plan.turns, plan.rounds):
        found.costs.append(result)
        print(f"Cost: {result}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
