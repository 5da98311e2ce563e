"""The questions of the comparison, each answered into a `Comparison` while its results are printed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from csnn_jax import data
from csnn_jax.config import Config, SurrogateName
from csnn_jax.errors import UserError
from csnn_jax.runs import rundir, weights
from csnn_torch.compare import cost, gradients, spikes, training
from csnn_torch.compare.__main__ import CompareFlags
from csnn_torch.compare.cases import briefly_trained, variants
from csnn_torch.compare.comparison import Comparison
from csnn_torch.compare.spikes import Network

ENGINES = ("scan", "event")
NUMBERS = (  # of Plan, each a flag of its own
    *("images", "variant_images", "iterations", "exact_iterations"),
    *("exact_batch", "variant_iterations", "rounds"),
)


@dataclass(frozen=True)
class Plan:
    """How much of everything; see CompareFlags.

    Attributes:
        from_seed: whether the float32 training starts from the seed's weights; else, being too short for a network
            that is silent at first, from the run's.
        surrogates: those whose gradients are compared on the run's network; None: the run's own.
        turns: processes of every side whose cost is measured.
        sides: those sides.
    """

    images: int
    variant_images: int
    gradient_images: int
    iterations: int
    from_seed: bool
    exact_iterations: int
    exact_batch: int
    variant_iterations: int
    rounds: int
    turns: int
    variants: bool
    surrogates: tuple[SurrogateName, ...] | None
    sides: tuple[str, ...]


def plan(flags: CompareFlags) -> Plan:
    """What the flags ask for.

    Raises:
        UserError: a number below 1, which would prove nothing.
    """
    found = Plan(1000, 200, 16, 80, True, 20, 32, 150, 5, 2, True, get_args(SurrogateName), tuple(cost.SIDES))
    if flags.quick:
        found = Plan(20, 20, 4, 3, False, 20, 4, 80, 1, 1, False, None, (*ENGINES, "snntorch"))
    given: dict[str, Any] = {name: value for name in NUMBERS if (value := getattr(flags, name)) is not None}
    for name, value in given.items():
        if value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}: expected a whole number of at least 1")
    return replace(found, **given)


def train_briefly(out: str, iterations: int) -> str:
    """Trains the default network a little; the run directory that it is in, `run` inside `out`."""
    config = Config()
    print(f"Training the default network for {iterations} iterations", flush=True)
    dataset = data.load(config.data.dataset, config.model.input_shape)
    tensors = briefly_trained(config.model, dataset, iterations)
    run = rundir.create(str(Path(out) / "run"), config, overwrite=True)
    weights.save(run.weights, tensors, config.model)
    return str(run.path)


def same_network(found: Comparison, plan: Plan) -> None:
    """Spikes, predictions and gradients of the run's network and its variants."""
    for network, images in _networks(found, plan):
        results = [r for dtype in ("float64", "float32") for r in spikes.decided(network, ENGINES, dtype, images)]
        found.spikes += results
        print("\n".join(f"Spikes: {result}" for result in results), flush=True)
        if not any(result.counted for result in results):
            print(f"{network.name}: not counted, for a layer fires too little or too much", flush=True)
            continue
        small = gradients.steady(network.first(images), plan.gradient_images)
        surrogates = plan.surrogates if network.name == "run" and plan.surrogates else (network.config.surrogate,)
        for gradient in _gradients(small, surrogates):
            found.gradients.append(gradient)
            print(f"Gradients: {gradient}", flush=True)


def _gradients(network: Network, surrogates: Sequence[SurrogateName]) -> Iterator[gradients.Gradients]:
    yield from gradients.compare(network, ENGINES, [name for name in surrogates if name != "sparse_fast_sigmoid"])
    if "sparse_fast_sigmoid" in surrogates:
        # It is 0 below theta + 1, which the output membranes of a trained network reach only where nothing resets them.
        unreset = replace(network.config, reset="none")
        name = network.name if network.config.reset == "none" else f"{network.name}, reset none"
        yield from gradients.compare(replace(network, name=name, config=unreset), ENGINES, ("sparse_fast_sigmoid",))


def _networks(found: Comparison, plan: Plan) -> Iterator[tuple[Network, int]]:
    """The networks on all test images, and how many of these to compare them on."""
    model, name = found.config.model, found.config.data.dataset
    test = data.load(name, model.input_shape).test
    yield Network("run", model, found.tensors, test.images, test.labels), plan.images
    for variant in variants(model) if plan.variants else ():
        images = data.load(name, variant.model.input_shape)
        print(f"Training the variant {variant.name}", flush=True)
        tensors = briefly_trained(variant.model, images, plan.variant_iterations, variant.lr, found.tensors)
        network = Network(variant.name, variant.model, tensors, images.test.images, images.test.labels)
        yield network, min(plan.images, plan.variant_images)


def same_training(found: Comparison, plan: Plan) -> None:
    """Iterations of both, in float32 (see Plan.from_seed) and in float64 from the run's weights, which fire."""
    split = data.load(found.config.data.dataset, found.config.model.input_shape).train
    settings = replace(found.config.train, engine="auto", dtype="float32")
    config = replace(found.config, train=settings)
    start = (None, "the seed's") if plan.from_seed else (found.tensors, "the run's")
    print(result := training.together(config, split, plan.iterations, *start), flush=True)
    found.trajectories.append(result)
    # float64 comes last, for it stays switched on in JAX.
    exact = replace(settings, dtype="float64", batch_size=plan.exact_batch, lr=training.EXACT_LR)
    config = replace(config, train=exact)
    print(result := training.together(config, split, plan.exact_iterations, found.tensors, "the run's"), flush=True)
    found.trajectories.append(result)


def costs(found: Comparison, plan: Plan) -> None:
    """Time and memory of every side."""
    found.costs += cost.measure(found.run, plan.sides, plan.turns, plan.rounds)
    print("\n".join(f"Cost: {result}" for result in found.costs), flush=True)


# Costs come first, for later this process keeps gigabytes of its own.
ANSWERS: dict[str, Callable[[Comparison, Plan], None]] = {
    "cost": costs,
    "network": same_network,
    "training": same_training,
}
