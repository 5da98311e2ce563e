"""`python -m csnn_torch.compare [RUN]`: is it the same network and training, and what does each framework cost?"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from csnn_jax.command import run_command
from csnn_jax.config import Config, decided
from csnn_jax.errors import UserError
from csnn_jax.figures import Figures
from csnn_jax.files import create_folder
from csnn_jax.flags import Flags, parse
from csnn_jax.options import option
from csnn_jax.options.kinds import NAME, RUN, SWITCH, choice, several, text
from csnn_torch import require_torch
from csnn_torch.compare import results

if TYPE_CHECKING:
    from csnn_torch.compare.questions import Plan

DESCRIPTION = """Compares csnn_jax with snnTorch and writes comparison.json and comparison.md.

If training or cost is compared, also writes a picture, comparison.png.

Same network? Compares membranes and spikes of every layer at every step, predictions and gradients, with equal weights
on real test images.

Same training? Compares iterations that start from equal weights and use equal batches.

What does each cost? Measures wall and CPU seconds of a training iteration and an inference batch, compile time and
peak memory.

The exit code is 1 if a result exceeds its bound; the output names it."""

Question = Literal["network", "training", "cost"]


@dataclass(frozen=True)
class CompareFlags(Flags):
    # fmt: off
    run: str | None = option(None, RUN, """
        Run directory with trained weights; default: train the default network briefly first, in
        OUT/run.""", positional=True)
    out: str = option("comparison", text("a path", metavar="DIR"), "Directory for the results.")
    dataset: str | None = option(None, NAME, """
        Data set to compare on, named as for training, or arrays:FILE.npz for a network that was trained on arrays;
        default: the run's.""")
    overwrite: bool = option(False, SWITCH, "Replace the comparison in --out.")
    quick: bool = option(False, SWITCH, """
        Use few images and iterations, and no variants: about 4 minutes on two CPU cores.""")
    questions: tuple[Question, ...] = option(
        ("network", "training", "cost"), several(choice(Question), least=1), "Questions to answer.")
    figures: Figures = option("png", choice(Figures), "pdf: also write comparison.pdf, for papers.")
    # fmt: on


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(CompareFlags, "csnn-compare", DESCRIPTION, arguments)
        results.check_free(flags.out, flags.overwrite)
        require_torch()
        from csnn_torch.compare.questions import QUICK, Plan

        plan = QUICK if flags.quick else Plan()
        return compare(flags, plan, _shown(flags, sys.argv[1:] if arguments is None else arguments))

    return run_command(command, arguments)


def compare(flags: CompareFlags, plan: "Plan", shown: str) -> int:
    """Answers the questions in order, and writes the files after each.

    Args:
        flags: what to compare, and where the files go.
        plan: the size of the comparison.
        shown: the command, for the report.

    Returns:
        The exit code.
    """
    from csnn_jax.runs import rundir
    from csnn_torch.compare import questions, report

    if flags.dataset is not None and flags.run is None:
        raise UserError(f"--dataset {flags.dataset}: expected RUN with the network to compare on it")
    opened = flags.run and rundir.open_run(flags.run)  # before creating OUT
    if opened:
        opened = (opened[0], _on(opened[1], flags, plan), opened[2])
    create_folder(out := Path(flags.out))
    path = flags.run or questions.train_briefly(flags.out, plan.variant_iterations)
    _, config, tensors = opened or rundir.open_run(path)
    comparison = results.Comparison(path, decided(config), tensors)
    for question, answer in questions.ANSWERS.items():
        if question in flags.questions:
            print(f"Question: {question}", flush=True)
            began = time.perf_counter()
            answer(comparison, plan)
            comparison.origins[question] = results.Origin.of_now(shown, time.perf_counter() - began)
            report.write(comparison, out, flags.figures)
    for check in comparison.broken:
        print(f"Broken: {check}")
    print(f"{len(comparison.checks)} bounds checked, {len(comparison.broken)} broken; see {flags.out}/comparison.md")
    return 1 if comparison.broken else 0


def _on(config: Config, flags: CompareFlags, plan: "Plan") -> Config:
    """The run's job on the data set of `--dataset`; raises UserError if that can't answer the questions."""
    from csnn_jax import data

    config = replace(config, data=replace(config.data, dataset=flags.dataset or config.data.dataset))
    if config.data.dataset == data.ARRAYS or data.takes_as_is(config.data.dataset):
        dataset = data.load_for(config)
        if plan.variants or set(flags.questions) != {"network"}:
            data.require_training(dataset, ", or --questions network --quick")
    return config


def _shown(flags: CompareFlags, arguments: Sequence[str]) -> str:
    """The command for the report, without the paths of this machine."""
    names = {flags.run: "RUN", flags.out: "OUT", flags.dataset: "DATASET"}
    shown = [names.get(argument, argument) for argument in arguments]
    return " ".join(["python -m csnn_torch.compare", *shown])


if __name__ == "__main__":
    sys.exit(main())
