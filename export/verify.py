"""`python -m export.verify BUNDLE`: proves a bundle anew, from the bundle alone."""

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
from export.effort import Effort
from export.work import Work

DESCRIPTION = """Checks that a bundle is whole and that its files compute the trained network.

First the SHA-256 of every file; then all that the manifest claims is worked out anew from weights.safetensors and the
files, and compared, on as many images as the bundle was made with. Prints one line per file: ok, or what differs. Exit
code 0 if all is well, 1 if anything differs or could not be checked, 2 where there is no bundle. --hashes ends after
the first step."""


@dataclass(frozen=True)
class VerifyFlags:
    bundle: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Bundle directory that `python -m export` made."""
    quick: bool = False
    """Compare spikes on 4 test images only, and do not work out figures such as accuracy anew."""
    thorough: bool = False
    """Compare spikes on 1000 test images and measure accuracy on all, however few the bundle was made with."""
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
        with Work("Verifying") as work, Scratch():
            from export import verification

            set_up()
            effort: Effort | None = "quick" if flags.quick else "thorough" if flags.thorough else None
            try:
                return verification.verify(folder, effort, work)
            except UserError as error:  # what can't be verified is not ok
                print(f"error: {error}", file=sys.stderr)
                return 1

    return run_command(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
