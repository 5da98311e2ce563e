"""The interface of a bundle's parts: artifacts that write, check, name, describe and time themselves."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from csnn_jax.config import ModelConfig
from csnn_jax.document.blocks import Block, Words
from csnn_jax.runs.equality import KINDS, in_words
from csnn_jax.runs.layouts import Tensors
from export.bundle import Manifest
from export.network import Bundle, Inputs
from export.proof import Figures
from export.proof.images import CheckImages

Compare = Callable[[str], Iterable[str]]
"""A function from a file's name to the differences between two bundles in that file."""


@dataclass(frozen=True)
class CheckResult:
    """The outcome of checking one file of a bundle.

    Attributes:
        figures: results for the manifest, as JSON values. `accuracy`, a fraction, has a column in the report.
        problems: one line per problem; empty if the file is ok.
    """

    figures: Figures = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class ComparedRow(NamedTuple):
    """A comparison of a file with the network in torch: a row of the report's table of equality.

    Attributes:
        run_by: the program that ran the file.
        figures: those of a `csnn_jax.runs.equality.Comparison`.
        printed: whether export and verify print its counts.
        against: the reference of the comparison.
    """

    run_by: str
    figures: Figures
    printed: bool = True
    against: str = "torch"

    def counts(self) -> list[str]:
        """How many spikes, membranes and predictions differ, as "0 of 9"; "-" if none were compared."""
        kinds = [(self.figures[f"different_{kind}"], self.figures[kind]) for kind in KINDS]
        return [f"{different:,} of {count:,}" if count else "-" for different, count in kinds]

    def line(self) -> str:
        """Text for the line of a file that is ok."""
        return in_words(self.figures, self.against, ("spikes", "membranes"))


class Advice(NamedTuple):
    """A row of the report's table "Which one to use".

    Attributes:
        place: unique position of the row among all parts' rows, the most useful ones first.
        have: what the reader has.
        take: the file to use for it.
    """

    place: int
    have: str
    take: Words


class Usage(NamedTuple):
    """Blocks of the report's section on how to call the files.

    Attributes:
        place: unique position of the blocks among those of all parts.
        blocks: paragraphs and code.
    """

    place: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Timing:
    """How to time a call of a file.

    Attributes:
        call: what one call computes.
        measure: (bundle, input of the first test image, name of the file, seconds) -> its latency, see `latency.of`.
        run_by: the program that runs it, for the report.
    """

    call: Literal["one step", "whole window"]
    measure: Callable[[Bundle, torch.Tensor, str, float], Figures]
    run_by: Callable[[Manifest], Words]


def _none(manifest: Manifest) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Part:
    """One artifact: a file, a few that belong together, or a folder.

    Attributes:
        what: description of each file, by its name in the bundle; a folder's name ends with a slash. Checks, timings
            and reports use these names.
        write: writes it to the bundle, after the parts that precede it in `PARTS`.
        check: proves that its files equal the trained network, one by one in the order of `what`. If it raises, the
            remaining files aren't proven.
        same: (a bundle written here, the folder of a received one) -> a function that lists, one line each, where the
            values of a received file differ if its bytes do; None: the bytes must be equal. It runs nothing from the
            received bundle.
        reason_against: why this network can't be exported as this part, in one line; None if it can.
        form: name of the format, for a part that some networks don't support, such as "NIR".
        timing: how to time a call of it; None if it isn't a program.
        comparisons: rows of the report's table of equality, from the results of its check.
        advice: rows of the report's table "Which one to use".
        usage: how to call it, for the report.
    """

    what: Mapping[str, Words]
    write: Callable[[Bundle, Inputs], None]
    check: Callable[[Bundle, CheckImages], Iterator[CheckResult]]
    same: Callable[[Bundle, Path], Compare] | None = None
    reason_against: Callable[[ModelConfig, Tensors], str | None] = lambda config, tensors: None
    form: str = ""
    timing: Timing | None = None
    comparisons: Callable[[Figures], Iterable[ComparedRow]] = _none
    advice: Callable[[Manifest], Iterable[Advice]] = _none
    usage: Callable[[Manifest], Iterable[Usage]] = _none
