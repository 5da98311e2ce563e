"""`python -m csnn_jax.report RUN...`: one HTML file about runs, which needs no installation to read."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path

from csnn_jax import reading
from csnn_jax.command import run_command
from csnn_jax.document import html
from csnn_jax.errors import UserError
from csnn_jax.files import check_folder, write_atomic
from csnn_jax.flags import Flags, checkpoint_option, parse
from csnn_jax.options import option
from csnn_jax.options.kinds import NAME, count, several, text

PROGRAM = "csnn-jax report"

DESCRIPTION = """Writes one HTML file about one or more runs, which opens offline: curves, mistakes, neurons, spikes.

Accuracy, rasters and other results are measured again on the test images. An existing report in --out is replaced."""


@dataclass(frozen=True)
class ReportFlags(Flags):
    # fmt: off
    runs: tuple[str, ...] = option(MISSING, several(text("run directories", metavar="RUN"), least=1), """
        Run directories written by csnn_jax.train or csnn_torch.train.""", positional=True)
    out: str = option("report.html", text("a path", metavar="FILE"), "File to write.")
    checkpoint: str | None = checkpoint_option()
    dataset: str | None = option(None, NAME, """
        Data set with the test images, named as for training, if it has moved; default: the run's.""")
    details: int = option(3, count(0), """
        Number of runs to show in detail, starting with the first; the others only appear in the curves and tables of
        all runs.""")
    # fmt: on


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(ReportFlags, "csnn-report", DESCRIPTION, arguments)
        _check(flags)
        html.require()
        from csnn_jax.report import contents, subject

        subjects = [
            subject.read(name, number, flags.checkpoint, flags.dataset) for number, name in enumerate(flags.runs)
        ]
        for run in subjects:
            if not run.iterations:
                print(f"{run.name}: no iterations are recorded", flush=True)
        measured = contents.measured(subjects[: flags.details])
        page = html.render(contents.document(subjects, measured, _command(flags)), PROGRAM).encode()
        out = Path(flags.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, page)
        print(f"Report: {flags.out} ({len(page) / 1e6:.1f} MB)")
        return 0

    return run_command(command, arguments)


def _check(flags: ReportFlags) -> None:
    """Raises UserError for invalid flags, before the slow part starts."""
    paths = [Path(name).resolve() for name in flags.runs]
    if twice := [name for place, name in enumerate(flags.runs) if paths[place] in paths[:place]]:
        raise UserError(f"RUN {twice[0]}: given twice, expected each run once")
    out = Path(flags.out)
    check_folder(out.parent, out)
    if out.exists() and not (out.is_file() and html.is_made_by(PROGRAM, _start(out))):
        raise UserError(f"--out {out}: already exists and isn't a report, so it isn't replaced; expected another path")


def _start(path: Path) -> str:
    with reading.opened(path, "a report") as file:
        return file.read(1024).decode(errors="replace")


def _command(flags: ReportFlags) -> str:
    """The command of this report."""
    from csnn_jax.report.subject import shown_dataset

    words = ["python", "-m", "csnn_jax.report", *flags.runs, "--out", Path(flags.out).name]
    if flags.checkpoint is not None:
        words += ["--checkpoint", flags.checkpoint]
    if flags.dataset is not None:
        words += ["--dataset", shown_dataset(flags.dataset)]
    if flags.details != ReportFlags.details:
        words += ["--details", str(flags.details)]
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())
