"""`python -m export RUN --out BUNDLE`: exports a trained run to files that run elsewhere, proven equal to it."""

import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, replace
from pathlib import Path

from csnn_jax.command import run_command
from csnn_jax.config import Config
from csnn_jax.config.network import WEIGHT_BITS
from csnn_jax.errors import UserError
from csnn_jax.files import Scratch
from csnn_jax.flags import Flags, checkpoint_option, parse
from csnn_jax.options import Rule, option
from csnn_jax.options.kinds import NAME, RUN, SWITCH, count, text
from csnn_jax.runs import layouts, rundir
from csnn_jax.runs.rundir import RunDir
from export import bundle, require_extras, set_up
from export.c.text import PREFIX, is_prefix
from export.settings import EXTENTS, MOST_STEPS, OPSETS, Effort, Settings
from export.work import Work

DESCRIPTION = """Exports a trained run as a bundle: ONNX graphs, NIR, a C program, golden tensors, a manifest, a report.

Every file is compared with the network in torch before the bundle is created. `python -m export.verify BUNDLE` repeats
the comparison from the bundle alone."""

PREFIXES = text(
    "a C identifier that starts with a letter and has at most 15 characters, ASCII only", is_prefix, metavar="NAME"
)


@dataclass(frozen=True)
class ExportFlags(Flags):
    # fmt: off
    run: str = option(MISSING, RUN, """
        Run directory written by csnn_jax.train or csnn_torch.train; without --checkpoint, the run must be finished.""",
        positional=True)
    out: str = option(MISSING, text("a path", metavar="BUNDLE"), "Bundle directory to create.")
    dataset: str | None = option(None, NAME, """
        Data set with the test images for the comparison, named as for csnn_jax.train; default: the run's.""")
    opset: int | None = option(None, count(OPSETS[0], OPSETS[-1]), """
        ONNX operator set of the graphs, 18 to 21; --weight-bits needs at least 19. Default: 20, or 21 for weights of 2
        to 4 bits, which are int4 there and int8 in earlier operator sets.""")
    images: int | None = option(None, count(), """
        Number of test images on which each file is compared with torch, at every time step; default: 32, or 8 with
        --quick and 1000 with --thorough.""")
    quick: bool = option(False, SWITCH, """
        Compare spikes on 8 test images (or --images) and accuracy on 100, for a quick trial.""")
    thorough: bool = option(False, SWITCH, """
        Measure accuracy on the whole test set instead of 1000 images, and latency for longer.""")
    time_steps: int | None = option(None, count(1, MOST_STEPS), """
        Number of time steps that the bundle runs; default: as in training. `csnn_jax.evaluate --by-steps` reports the
        accuracy of fewer steps.""")
    weight_bits: int | None = option(None, WEIGHT_BITS, """
        Round the weights to this many bits first, 2 to 8 including the sign, and report the effect; default: the
        run's.""")
    drop_silent: bool = option(False, SWITCH, """
        Remove channels and neurons that never spike on the training images, and report the effect.""")
    prefix: str = option(PREFIX, PREFIXES, """
        What the C program's functions, types and, in capitals, macros start with: at most 15 letters, digits and _.
        Networks with different prefixes can be linked into one program.""")
    checkpoint: str | None = checkpoint_option()
    overwrite: bool = option(False, SWITCH, "Replace the bundle in --out.")
    # fmt: on

    RULES = (Rule("quick", "no --thorough", lambda flags: not (flags.quick and flags.thorough)),)


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(ExportFlags, "csnn-export", DESCRIPTION, arguments)
        bundle.check_free(Path(flags.out), flags.overwrite)
        run, config, tensors = open_finished(flags.run, flags.checkpoint)
        require_extras()
        if (flags.time_steps or 0) > (trained := config.model.time_steps):
            print(f"note: --time-steps {flags.time_steps} exceeds the {trained} steps used in training", flush=True)
        with Work("Exporting") as work, Scratch() as scratch:
            from export import make
            from export.graphs import few_bits

            set_up()
            effort: Effort = "quick" if flags.quick else "thorough" if flags.thorough else "usual"
            images, dataset = flags.images or EXTENTS[effort].images, flags.dataset or config.data.dataset
            out, job = Path(flags.out), replace(config, data=replace(config.data, dataset=dataset))
            opset = few_bits.opset(flags.weight_bits or job.model.weight_bits, flags.opset)
            settings = Settings(
                opset, images, effort, flags.time_steps, flags.drop_silent, flags.weight_bits, flags.prefix
            )
            filling = scratch, run, job, tensors, settings, work
            bundle.make(out, lambda folder: make.make(folder, *filling), flags.overwrite)
        print(f"Bundle: {flags.out}")
        return 0

    return run_command(command, arguments)


def open_finished(path: str, checkpoint: str | None = None) -> tuple[RunDir, Config, layouts.Tensors]:
    """`rundir.open_run` for a finished run, or for a checkpoint of any run.

    Raises:
        UserError: there is no run, it's unfinished, the checkpoint doesn't exist, or the files don't match.
    """
    run = RunDir(Path(path))
    if (run.path / bundle.MANIFEST).is_file():
        raise UserError(f"{path}: is a bundle, expected a run directory from csnn_jax.train")
    if checkpoint is None and (run.path / "config.json").is_file() and not run.finished:
        raise UserError(
            f"{path}: is an unfinished run, expected a finished one; continue its training command with "
            f"--resume --out {path}, or export its last weights with --checkpoint last"
        )
    return rundir.open_run(path, checkpoint)


if __name__ == "__main__":
    sys.exit(main())
