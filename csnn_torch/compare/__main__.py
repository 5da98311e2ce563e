"""`python -m csnn_torch.compare`: same network, same training, and what does each framework cost?"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from csnn_jax.flags import Figures, check_seeds, parse, run_command
from csnn_torch import require_torch

if TYPE_CHECKING:
    from csnn_torch.compare.plan import Plan

DESCRIPTION = """Compares csnn_jax with snnTorch and writes comparison.json, comparison.md and comparison.png.

Same network? Spikes of every layer at every step, predictions, gradients, at equal weights on real test images.
Same training? Iterations from equal weights on equal batches.
What does each cost? Seconds of an iteration and of an inference batch, compile time, peak memory.
Exit code 1 if a bound is broken, which is named."""

Question = Literal["network", "training", "cost"]


@dataclass(frozen=True)
class CompareFlags:
    run: str | None = None
    """Run directory with trained weights; None: the default network is trained briefly first, in OUT/run."""
    out: str = "comparison"
    """Directory for the results."""
    overwrite: bool = False
    """Replace the comparison of other weights that --out holds."""
    quick: bool = False
    """Few images and iterations, no variants, no torch.compile: under 3 minutes on two CPU cores."""
    questions: tuple[Question, ...] = ("network", "training", "cost")
    """Which of the questions to answer: network, training, cost. Answers to the others that OUT holds, about the same
    weights, are kept."""
    images: int | None = None
    """Test images whose spikes are compared; None: 1000, quick: 20."""
    variant_images: int | None = None
    """Of them, those that the variants are compared on; None: 200."""
    iterations: int | None = None
    """Training iterations in float32: None: 80 from the seed's weights, quick: 3 from the run's, which fires."""
    seeds: tuple[int, ...] | None = None
    """Seeds that the training in float32 starts from, one after the other; None: the run's alone."""
    time_steps: int | None = None
    """Time steps of the training in float32; None: the run's. Fewer make many seeds affordable."""
    exact_iterations: int | None = None
    """Training iterations in float64, from trained weights; None: 20."""
    exact_batch: int | None = None
    """Their batch size; None: 32, quick: 4."""
    variant_iterations: int | None = None
    """Training iterations of each variant, and of the network itself without --run; None: 150, quick: 80."""
    rounds: int | None = None
    """Timed iterations and batches of each process; None: 5, quick: 1."""
    figures: Figures = "png"
    """pdf: write comparison.pdf too, for papers."""
    redraw: bool = False
    """Compare nothing: draw the pictures of the comparison that --out holds again."""


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(CompareFlags, "csnn-compare", DESCRIPTION, arguments)
        require_torch()
        return _compare(flags, _shown(flags, sys.argv[1:] if arguments is None else arguments))

    return run_command(command, arguments)


def _compare(flags: CompareFlags, shown: str) -> int:
    """Asks the questions in order, and writes the files after each; the exit code."""
    from csnn_jax.config import Config
    from csnn_jax.runs import rundir
    from csnn_torch.compare import comparison, questions, report

    if flags.redraw:
        return _redraw(flags)
    plan = _plan(flags)
    opened = flags.run and rundir.open_run(flags.run)  # before OUT is made
    questions.check(opened[1] if opened else Config(), plan)
    out = comparison.make_folder(flags.out)
    path = flags.run or questions.train_briefly(flags.out, plan.variant_iterations)
    _, config, tensors = opened or rundir.open_run(path)
    found = comparison.Comparison(path, config, tensors)
    comparison.keep_earlier(found, out, flags.questions, flags.overwrite)
    for question, answer in questions.ANSWERS.items():
        if question in flags.questions:
            began = time.perf_counter()
            answer(found, plan)
            found.origins[question] = comparison.Origin.of_now(shown, time.perf_counter() - began)
            report.write(found, out, flags.figures)
    for check in found.broken:
        print(f"Broken: {check}")
    print(f"{len(found.checks)} bounds checked, {len(found.broken)} broken; see {flags.out}/comparison.md")
    return 1 if found.broken else 0


def _redraw(flags: CompareFlags) -> int:
    """Draws the pictures of an earlier comparison; exit code 0."""
    from csnn_jax.figures import style
    from csnn_torch.compare import comparison, figure

    out = Path(flags.out)
    trajectories, costs = comparison.recorded(out)
    style.save(figure.draw(trajectories, costs), out, "comparison", flags.figures)
    return 0


def _plan(flags: CompareFlags) -> "Plan":
    """How much of everything, with what the flags change of it."""
    from csnn_torch.compare.plan import Plan

    if flags.seeds is not None:
        check_seeds(flags.seeds)
    plan = Plan.quick() if flags.quick else Plan.full()
    numbers = {
        "images": flags.images,
        "variant_images": flags.variant_images,
        "iterations": flags.iterations,
        "exact_iterations": flags.exact_iterations,
        "exact_batch": flags.exact_batch,
        "variant_iterations": flags.variant_iterations,
        "rounds": flags.rounds,
        "time_steps": flags.time_steps,
    }
    return replace(plan.changed(**numbers), seeds=flags.seeds)


def _shown(flags: CompareFlags, arguments: Sequence[str]) -> str:
    """The command for the report, without the paths of this machine."""
    shown = [{flags.run: "RUN", flags.out: "OUT"}.get(argument, argument) for argument in arguments]
    return " ".join(["python -m csnn_torch.compare", *shown])


if __name__ == "__main__":
    sys.exit(main())
