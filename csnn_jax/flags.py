"""The flags of the training command lines (one set for csnn_jax and csnn_torch) and how commands end."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import tyro

from csnn_jax.config import Config
from csnn_jax.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class TrainFlags:
    """What to train, and where the run goes."""

    config: Config = field(default_factory=Config)
    out: str | None = None
    """Run directory to make; None: runs/<date-time>."""
    overwrite: bool = False
    """Replace the run that --out holds."""
    resume: bool = False
    """Go on with the interrupted run that --out holds (the other flags must be those it was started with)."""
    show: bool = False
    """Open a window with the accuracy plot at the end."""


def parse(kind: type[T], program: str, description: str, arguments: Sequence[str] | None) -> T:
    """Reads the command line into a dataclass: one flat flag per field, exit code 2 on a flag it rejects."""
    options = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    return tyro.cli(kind, prog=program, description=description, args=arguments, config=options)


def run_command(command: Callable[[], int]) -> int:
    """Runs a command: a user's mistake is one line on stderr and exit code 2, Ctrl-C is exit code 130.

    Exit code 141, as a shell shows of other programs, where nobody reads its output to the end (`| head`).
    """
    try:
        code = command()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still flushes at its end
        return 141
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
