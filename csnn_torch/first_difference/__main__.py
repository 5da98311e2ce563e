"""`python -m csnn_torch.first_difference A B`: in which spike do two programs first differ, and why?"""

import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from functools import partial

from csnn_jax.command import run_command
from csnn_jax.flags import Flags, parse
from csnn_jax.options import Rule, option
from csnn_jax.options.kinds import NAME, choice, count, number, text
from csnn_torch import require_torch
from csnn_torch.programs import PROGRAMS

DESCRIPTION = """Runs two networks on the same images and prints the first spike in which they differ, and why.

A and B are each one of these: a run directory; a step.onnx, preferably inside its bundle; FILE.nir, computed by NIR's
definition; or PROGRAM:FILE.nir, a NIR file run in norse, snntorch, sinabs or spikingjelly, which must be installed.
Causes are found by experiment: one side's network is computed with each known difference between programs.
The exit code is 0 if no spike differs, 1 if one does, and 2 if the two can't be compared."""


def _is_used(name: str, flags: "FirstDifferenceFlags") -> bool:
    """Whether a flag for NIR files isn't given, or a side is one."""
    from csnn_torch.foreign import nir_file

    return name not in flags.given or any(map(nir_file.is_nir, (flags.a, flags.b)))


@dataclass(frozen=True)
class FirstDifferenceFlags(Flags):
    # fmt: off
    a: str = option(MISSING, text("a network", metavar="A"), "First network.", positional=True)
    b: str = option(MISSING, text("a network", metavar="B"), "Second network.", positional=True)
    dataset: str | None = option(None, NAME, """
        Data set with the test images for both, named as for csnn_jax.train; default: from the run or bundle, or random
        images if neither side is a run or bundle.""")
    images: int | None = option(None, count(), """
        Number of test images, starting with the first; default: 32, or all if there are fewer.""")
    time_steps: int | None = option(None, count(), """
        Number of time steps; default: from the run or bundle, otherwise 100.""")
    scale: float | None = option(None, number(above=0), """
        A NIR file's network divides pixels by this; default: the scale of the run or bundle on the other side,
        otherwise 256.""")
    written_by: str | None = option(None, choice(PROGRAMS), """
        Program whose rules apply to a FILE.nir without a PROGRAM; default: NIR's definition.""")
    dt: float | None = option(None, number(above=0), """
        Time step of a NIR file's network in seconds; default: 0.001 for Norse, 0.0001 for the others. Sinabs counts in
        steps, and snnTorch's time step is fixed.""")
    # fmt: on

    RULES = tuple(
        Rule(name, "a NIR file on one side", partial(_is_used, name)) for name in ("scale", "written_by", "dt")
    )


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(FirstDifferenceFlags, "csnn-first-difference", DESCRIPTION, arguments)
        require_torch("torch")
        from csnn_torch.first_difference import explain, report
        from csnn_torch.first_difference.images import inputs
        from csnn_torch.first_difference.sides import open_side

        sides = open_side(flags.a, flags.dt, flags.written_by), open_side(flags.b, flags.dt, flags.written_by)
        images = inputs(sides, flags.dataset, flags.images, flags.time_steps, flags.scale)
        for line in report.heading(sides, images):
            print(line, flush=True)
        result = explain.compare(sides, images)
        for line in report.counts(result):
            print(line)
        if result.comparison.first is None:
            print("No spike differs. Membranes are only compared where a side doesn't show its spikes.")
            return 0
        for line in report.differences(result, sides):
            print(line, flush=True)
        print("Looking for causes: running the network once for each", flush=True)
        for line in report.causes(explain.explained(sides, images, result), result.comparison.different, sides):
            print(line)
        return 1

    return run_command(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
