"""`python -m export RUN --out BUNDLE`: a trained run as files that run elsewhere, proven equal to it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from csnn_jax.config import Config
from csnn_jax.config.network import check_bits
from csnn_jax.errors import UserError
from csnn_jax.files import Scratch
from csnn_jax.flags import parse, run_command
from csnn_jax.runs import layouts, rundir
from csnn_jax.runs.rundir import RunDir
from export import bundle, require_extras, set_up
from export.settings import EXTENTS, Effort, Settings
from export.work import Work

DESCRIPTION = """Turns a trained run into a bundle: ONNX graphs, NIR, a C program, golden tensors, a manifest, a report.

Every file is compared with the network in torch before the bundle appears; `python -m export.verify BUNDLE` does the
same again from the bundle alone."""

OPSETS = range(18, 22)
MOST_STEPS = 10_000
"""Of a window; more fill the memory of most machines with the states that are compared."""


@dataclass(frozen=True)
class ExportFlags:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run directory that csnn_jax.train or csnn_torch.train made; without --checkpoint the run must be finished."""
    out: Annotated[str, tyro.conf.arg(metavar="BUNDLE")]
    """Bundle directory to make."""
    dataset: str | None = None
    """Data set whose test images the files are compared on, as `csnn_jax.train --dataset` takes it; None: the run's."""
    opset: int | None = None
    """ONNX operator set of the graphs, 18 to 21; None: 20, or 21 for weights of 2 to 4 bits, which are int4 there and
    int8 before. --weight-bits needs 19 or more."""
    images: int | None = None
    """Test images on which each file is compared with torch, at every time step; None: 32, quick 8, thorough 1000."""
    quick: bool = False
    """Spikes on 8 test images and accuracy on 100, unless --images says more: for trying things out."""
    thorough: bool = False
    """Accuracy on the whole test set, not on 1000 images of it, and longer measurements of the latency."""
    time_steps: int | None = None
    """Steps of the window that the bundle runs; None: those of the training. `csnn_jax.evaluate --by-steps` tells what
    fewer are worth."""
    weight_bits: int | None = None
    """Round the weights to so many bits first, 2 to 8 with the sign, and tell what that changes; None: the run's."""
    drop_silent: bool = False
    """Leave out the channels and neurons that no training image made fire; tells what that changes."""
    checkpoint: str | None = None
    """Use the weights of this checkpoint: best (on the images that --validation held out), last, or the iterations
    done; None: those of the run."""
    overwrite: bool = False
    """Replace the bundle that --out holds."""


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(ExportFlags, "csnn-export", DESCRIPTION, arguments)
        _check(flags)
        bundle.check_free(Path(flags.out), flags.overwrite)
        run, config, tensors = open_finished(flags.run, flags.checkpoint)
        require_extras()
        if (flags.time_steps or 0) > (trained := config.model.time_steps):
            print(f"note: --time-steps {flags.time_steps} is more than the {trained} of the training", flush=True)
        with Work("Exporting") as work, Scratch() as scratch:
            from export import make
            from export.graphs import few_bits

            set_up()
            effort: Effort = "quick" if flags.quick else "thorough" if flags.thorough else "usual"
            images = flags.images or EXTENTS[effort].images
            out, job = Path(flags.out), _with_dataset(config, flags.dataset)
            opset = few_bits.opset(flags.weight_bits or job.model.weight_bits, flags.opset)
            settings = Settings(opset, images, effort, flags.time_steps, flags.drop_silent, flags.weight_bits)

            def fill(folder: Path) -> None:
                make.make(folder, scratch, run, job, tensors, settings, work)

            bundle.make(out, fill, flags.overwrite)
        print(f"Bundle: {flags.out}")
        return 0

    return run_command(command, arguments)


def open_finished(path: str, checkpoint: str | None = None) -> tuple[RunDir, Config, layouts.Tensors]:
    """`rundir.open_run` for a run that was trained to its end, or any run's checkpoint.

    Raises:
        UserError: no run there, an unfinished one, no such checkpoint, or files that do not fit together.
    """
    run = RunDir(Path(path))
    if (run.path / bundle.MANIFEST).is_file():
        raise UserError(f"{path}: is a bundle, expected a run directory that csnn_jax.train made")
    if checkpoint is None and (run.path / "config.json").is_file() and not run.finished:
        raise UserError(
            f"{path}: is an unfinished run, expected a finished one; go on with it by its training command with "
            f"--resume --out {path}, or export its last weights by --checkpoint last"
        )
    return rundir.open_run(path, checkpoint)


def _with_dataset(config: Config, dataset: str | None) -> Config:
    """The job with the data set that a flag names."""
    return config if dataset is None else replace(config, data=replace(config.data, dataset=dataset))


def _check(flags: ExportFlags) -> None:
    if flags.opset is not None and flags.opset not in OPSETS:
        raise UserError(f"--opset {flags.opset}: expected {OPSETS[0]} to {OPSETS[-1]}")
    if flags.images is not None and flags.images < 1:
        raise UserError(f"--images {flags.images}: expected a whole number of at least 1")
    if flags.quick and flags.thorough:
        raise UserError("--quick: expected without --thorough")
    check_bits(flags.weight_bits)
    if flags.time_steps is not None and not 1 <= flags.time_steps <= MOST_STEPS:
        raise UserError(f"--time-steps {flags.time_steps}: expected a whole number from 1 to {MOST_STEPS:,}")


if __name__ == "__main__":
    sys.exit(main())
