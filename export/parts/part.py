"""The interface of a bundle's parts: artifacts that write, check, name, describe and time themselves."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from csnn_jax.config.network import ModelConfig
from csnn_jax.document.blocks import Block, Words
from csnn_jax.runs.layouts import Tensors
from export.bundle import Manifest
from export.network import Bundle
from export.proof import Figures
from export.proof.equality import CheckImages


@dataclass(frozen=True)
class CheckResult:
    """The outcome of checking one file of a bundle.

    Attributes:
        figures: results for the manifest, as JSON values. `accuracy`, a fraction, has a column in the report.
        problems: one line per problem; empty if the file is ok.
    """

    figures: Figures = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


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


class Timing(NamedTuple):
    """How to time a call of a file.

    Attributes:
        call: what one call computes.
        measure: (bundle, input of the first test image, name of the file, seconds) -> its latency, see
            `runners.latency`.
        run_by: (manifest) -> the program that runs it, for the report.
    """

    call: Literal["one step", "whole window"]
    measure: Callable[[Bundle, torch.Tensor, str, float], Figures]
    run_by: Callable[[Manifest], Words]


def _nothing(manifest: Manifest) -> tuple[()]:
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
        same: (file written here, received file) -> where their values differ, one line each, if their bytes do; None:
            the bytes must be equal. It must not run anything from the received bundle.
        reason_against: why this network can't be exported as this part, in one line; None if it can.
        form: name of the format, for a part that some networks don't support, such as "NIR".
        timing: how to time a call of it; None if it isn't a program.
        run_by: the programs that ran its files for the check, by their keys in its figures, each with the figures of a
            `csnn_jax.runs.equality.Comparison` with torch. `export` prints those of the first.
        describe: paragraphs and rows of the report.
    """

    what: Mapping[str, Words]
    write: Callable[[Bundle], None]
    check: Callable[[Bundle, CheckImages], Iterator[CheckResult]]
    same: Callable[[Path, Path], Iterable[str]] | None = None
    reason_against: Callable[[ModelConfig, Tensors], str | None] = lambda config, tensors: None
    form: str = ""
    timing: Timing | None = None
    run_by: Mapping[str, str] = field(default_factory=dict)
    describe: Callable[[Manifest], Iterable[Advice | Usage]] = _nothing
