"""`python -I -m export.verify BUNDLE`: checks that a bundle contains exactly what its weights imply."""

import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path

from csnn_jax.command import run_command
from csnn_jax.files import Scratch
from csnn_jax.flags import Flags, parse
from csnn_jax.options import Rule, option
from csnn_jax.options.kinds import NAME, SWITCH, text
from export import bundle, hashes, require_extras, set_up
from export.settings import Effort
from export.work import Work

DESCRIPTION = """Checks that a bundle contains exactly what this version makes from its weights.

First it checks the SHA-256 of every file. Then it makes each file again from weights.safetensors and config.json and
compares it, runs these files on images, and compares the manifest's figures. The bundle is only read: nothing in it is
run, and no path from it is opened. It prints one line per file: ok, or the differences. Facts that only the maker knows
(dates, versions, latencies, the training) are only refused if they're impossible; report.md lists them.

Exit codes: 0: everything is ok, except what --quick or --thorough skips; 1: something differs or couldn't be verified;
2: there is no bundle, or a flag is wrong; 3: nothing differs, but the last line lists what couldn't be checked, such as
the bytes of files that other versions wrote, or the script in report.html."""


@dataclass(frozen=True)
class VerifyFlags(Flags):
    # fmt: off
    bundle: str = option(MISSING, text("a bundle", metavar="BUNDLE"), """
        Bundle directory written by `python -m export`.""", positional=True)
    dataset: str | None = option(None, NAME, """
        Data set for the bundle's figures, named as for csnn_jax.train. Default: MNIST, which ships with the package, if
        the bundle uses it; otherwise the figures aren't checked.""")
    quick: bool = option(False, SWITCH, """
        Run the files on only 4 images, and don't compare the manifest's figures, such as accuracy.""")
    thorough: bool = option(False, SWITCH, """
        Run the files on 1000 test images and measure accuracy on all of them, even if the bundle was made with fewer;
        the manifest's figures for fewer images aren't compared.""")
    hashes: bool = option(False, SWITCH, """
        Only compare the SHA-256 of the files, which needs none of the packages for exports.""")
    # fmt: on

    RULES = (
        Rule("quick", "no --hashes", lambda flags: not (flags.hashes and flags.quick)),
        Rule("thorough", "no --hashes", lambda flags: not (flags.hashes and flags.thorough)),
        Rule("thorough", "no --quick", lambda flags: not (flags.quick and flags.thorough)),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        flags = parse(VerifyFlags, "csnn-verify", DESCRIPTION, arguments)
        folder = Path(flags.bundle)
        bundle.check_is(folder)
        if flags.hashes:
            return hashes.check(folder)
        require_extras()
        with Work("Verifying") as work, Scratch() as scratch:
            from export import verification

            set_up()
            effort: Effort | None = "quick" if flags.quick else "thorough" if flags.thorough else None
            return verification.verify(folder, scratch, flags.dataset, effort, work)

    return run_command(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
