"""The interface of a bundle's parts: artifacts that write, check, name, describe and time themselves."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors
from export.bundle import Manifest
from export.network import Bundle, Inputs
from export.proof import Figures
from export.proof.equality import KINDS
from export.proof.evidence import Evidence

Compare = Callable[[str], Iterable[str]]
"""From the name of a file to where two bundles differ in it."""


@dataclass(frozen=True)
class CheckResult:
    """The outcome of checking one file of a bundle.

    Attributes:
        proof: figures, for the manifest; JSON values. `accuracy`, a share, has a column in the report.
        problems: what is wrong, one line each; none: the file is ok.
        graph: of an ONNX file, what it holds, see `onnx_facts.describe`.
    """

    proof: Figures = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    graph: Figures | None = None


class ComparedRow(NamedTuple):
    """A file compared with the network in torch: a row of the report's table of equality.

    Attributes:
        run_by: what ran the file.
        figures: those of an `equality.Comparison`.
        printed: whether export and verify print its counts.
        against: what it was compared with.
    """

    run_by: str
    figures: Figures
    printed: bool = True
    against: str = "torch"

    def counts(self) -> list[str]:
        """How many spikes, membranes and predictions differ, as "0 of 9"; "-" where none were compared."""
        kinds = [(self.figures[f"different_{kind}"], self.figures[kind]) for kind in KINDS]
        return [f"{different:,} of {count:,}" if count else "-" for different, count in kinds]

    def line(self) -> str:
        """For the one line of a file that is ok."""
        found = dict(zip(KINDS, self.counts(), strict=True))
        told = [f"{found[kind]} {kind}" for kind in ("spikes", "membranes") if found[kind] != "-"]
        return f"{' and '.join(told)} differ from those of {self.against}"


class Advice(NamedTuple):
    """A row of the report's table "which one to take".

    Attributes:
        place: of the row among all parts' rows, which begin with what most readers want; no two share one.
        have: what a reader has.
        take: the file that suits it.
    """

    place: int
    have: str
    take: str


class Usage(NamedTuple):
    """Paragraphs of the report's section on how the files are called.

    Attributes:
        place: of the paragraphs among those of all parts; no two share one.
        text: Markdown.
    """

    place: int
    text: str


@dataclass(frozen=True)
class Timing:
    """How a call of a file is timed.

    Attributes:
        call: what a call is.
        measure: (bundle, input of the first test image, name of the file, seconds) to its latency, see `latency.of`.
        run_by: what runs it, for the report.
    """

    call: Literal["one step", "whole window"]
    measure: Callable[[Bundle, torch.Tensor, str, float], Figures]
    run_by: Callable[[Manifest], str]

    @property
    def whole_window(self) -> bool:
        """Whether one call is enough for an image."""
        return self.call == "whole window"


def _none(manifest: Manifest) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Part:
    """One artifact: a file, a few that belong together, or a folder.

    Attributes:
        what: what every file is, by its name in the bundle; a folder's name ends with a slash. These are the names
            under which it is checked, timed and reported.
        write: writes it into the bundle. The parts before it in `PARTS` are there already.
        check: proves its files equal to the trained network, one after another in the order of `what`. May raise: then
            the rest is not proven.
        same: (a bundle written here, the folder of a received one) to a function that says where the values of the
            received file so named differ, one line each, when its bytes do; None: they must be equal. It runs nothing
            of what was received.
        reason_against: why this network can't have it, in one line; None where it can.
        form: the format's name, for a part that some networks can't have: "NIR".
        timing: how a call of it is timed; None: it is no program.
        copied: it is the run's own file, from which all others are made.
        comparisons: rows of the report's table of equality, from the figures that its check recorded.
        advice: rows of the report's table "which one to take".
        usage: how it is called, for the report.
        accuracy_note: a sentence on its accuracy, for the report.
        memory_note: a paragraph on the memory that it takes, for the report.
    """

    what: Mapping[str, str]
    write: Callable[[Bundle, Inputs], None]
    check: Callable[[Bundle, Evidence], Iterator[CheckResult]]
    same: Callable[[Bundle, Path], Compare] | None = None
    reason_against: Callable[[ModelConfig, Tensors], str | None] = lambda config, tensors: None
    form: str = ""
    timing: Timing | None = None
    copied: bool = False
    comparisons: Callable[[Figures], Iterable[ComparedRow]] = _none
    advice: Callable[[Manifest], Iterable[Advice]] = _none
    usage: Callable[[Manifest], Iterable[Usage]] = _none
    accuracy_note: Callable[[Manifest], str] | None = None
    memory_note: Callable[[Manifest], str] | None = None
