"""`python -I -m export.verify BUNDLE`: whether a bundle holds what follows from its weights, and nothing else."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from csnn_jax.errors import UserError
from csnn_jax.files import Scratch
from csnn_jax.flags import parse, run_command
from export import bundle, hashes, require_extras, set_up
from export.settings import Effort
from export.work import Work

DESCRIPTION = """Checks that a bundle holds what this version makes of its weights, and nothing else.

First the SHA-256 of every file. Then each file is made once more, from weights.safetensors and config.json, and
compared; the files made here are run on images, and the manifest's figures compared. The bundle is only read: nothing
in it is run, and no path that it names is opened. Prints one line per file: ok, or what differs. What only the maker
can know (dates, versions, latencies, the training) is not checked; report.md says what that is.

Exit code 0: all is well; 1: something differs or could not be verified; 2: there is no bundle; 3: nothing differs, but
the last line says what could not be checked."""


@dataclass(frozen=True)
class VerifyFlags:
    bundle: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Bundle directory that `python -m export` made."""
    dataset: str | None = None
    """The data set of the bundle's figures, as `csnn_jax.train --dataset` takes it; None: MNIST where the bundle says
    so, which ships with the package. For any other bundle its figures can't be checked without."""
    quick: bool = False
    """Run the files on 4 images only, and do not compare the manifest's figures, such as accuracy."""
    thorough: bool = False
    """Run the files on 1000 test images and measure accuracy on all, however few the bundle was made with; the
    manifest's figures, which are of fewer, are not compared."""
    hashes: bool = False
    """Compare the SHA-256 of the files alone, which takes none of the packages that exports need."""


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(VerifyFlags, "csnn-verify", DESCRIPTION, arguments)
        folder = Path(flags.bundle)
        wanted = [name for name in ("hashes", "quick", "thorough") if getattr(flags, name)]
        if len(wanted) > 1:
            raise UserError(f"--{wanted[1]}: expected without --{wanted[0]}")
        bundle.check_is(folder)
        if flags.hashes:
            return hashes.check(folder)
        require_extras()
        with Work("Verifying") as work, Scratch() as scratch:
            from export import verification

            set_up()
            effort: Effort | None = "quick" if flags.quick else "thorough" if flags.thorough else None
            try:
                return verification.verify(folder, scratch, flags.dataset, effort, work)
            except UserError as error:  # what can't be verified is not ok
                print(f"error: {error}", file=sys.stderr)
                return 1

    return run_command(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
