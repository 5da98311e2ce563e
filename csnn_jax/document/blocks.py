"""A document as data, which `html`, `markdown` and `terminal` render.

Words are text, never markup: the renderers escape them. In a line, `Code` and `Strong` mark parts of it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

_NUMBER = re.compile(r"[-+\u2212]?\d[\d.,]*(e[-+]?\d+)?( ?(%|[kMG]?B|[mun]?s|[pn]J|steps?))?|-")


@dataclass(frozen=True)
class Code:
    """Code within a line."""

    text: str


@dataclass(frozen=True)
class Strong:
    """Important words within a line."""

    words: "Words"


Words = str | Code | Strong | tuple["Words", ...]


class Paragraph(NamedTuple):
    """A paragraph; a note is highlighted: it says what was left out, and why."""

    words: Words
    note: bool = False


class Items(NamedTuple):
    """A list with bullets."""

    items: tuple[Words, ...]


class Listing(NamedTuple):
    """Lines of code, or a single command.

    Attributes:
        code: the lines.
        label: what it is, for screen readers.
        language: such as "python".
        mark: a name in a comment above it, by which programs find it in Markdown.
    """

    code: str
    label: str
    language: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Shaded:
    """A cell on a colored ground: a CSS color, and how strong it is, 0 to 1."""

    text: str
    share: float
    color: str


Cell = Words | Shaded | int | None


class Table(NamedTuple):
    """A table. The first cell of a row is its heading. Numbers get thousands separators, None is a dash.

    Attributes:
        caption: what it shows; Markdown leaves it out.
        head: names of the columns.
        rows: as many cells each.
        stacks: on a phone, a row's cells follow its heading, with their names.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    stacks: bool = False


class Chart(NamedTuple):
    """A Plotly figure; only pages show it.

    Attributes:
        caption: shown above it.
        description: the kind of chart, for screen readers; its numbers belong in the text or a table.
        traces: Plotly's. A color `var(--name)` comes from the page's style. A legend lists different `legendgroup`s.
        layout: Plotly's.
        height: in CSS pixels; the width fills the available room.
    """

    caption: str
    description: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    height: int = 320


class Picture(NamedTuple):
    """A picture.

    Attributes:
        source: the bytes of a small PNG file, shown with sharp pixels; or the path of a picture, for Markdown.
        alt: what it shows, in words.
        caption: shown below it.
        width: in CSS pixels; it shrinks if there's less room. None: its own.
    """

    source: bytes | str
    alt: str
    caption: Words | None = None
    width: int | None = None


class Scored(NamedTuple):
    """A picture with a score for each class; only pages show it.

    Attributes:
        picture: the picture.
        scores: name, score and CSS color of each class; bars of negative scores point down.
        description: the scores in words.
        caption: shown below both.
    """

    picture: Picture
    scores: Sequence[tuple[str, float, str]]
    description: str
    caption: Words


class Film(NamedTuple):
    """Spikes that play over the window; only pages show it. `data` are described in `csnn_jax.report.film`."""

    label: str
    data: Mapping[str, Any]


class Grid(NamedTuple):
    """Blocks side by side, as many as fit; `kind`: "small" or "tiny" ones."""

    blocks: Sequence["Block"]
    kind: Literal["", "small", "tiny"] = ""


class Folded(NamedTuple):
    """A collapsed part of a page, which only some readers need."""

    summary: str
    blocks: Sequence["Block"]


class Section(NamedTuple):
    """A part with a heading; pages list it in their contents unless it's inside another."""

    title: str
    blocks: Sequence["Block"]


Block = Paragraph | Items | Listing | Table | Chart | Picture | Scored | Film | Grid | Folded | Section


class Document(NamedTuple):
    """A whole document: a title, what it's about, and its sections."""

    title: str
    lead: Sequence[Block]
    sections: Sequence[Section]


def coded(text: str, *codes: str) -> Words:
    """Text in which code replaces each pair of braces."""
    first, *others = text.split("{}")
    pairs = zip(map(Code, codes), others, strict=True)
    return (first, *(words for pair in pairs for words in pair))


def listed(words: Sequence[Words], between: str = ", ") -> Words:
    """Words with text between them."""
    return tuple(part for each in words for part in (between, each))[1:]


def plain(cell: Cell) -> str:
    """The text of words or of a cell, without marks."""
    match cell:
        case None:
            return "-"
        case int():
            return f"{cell:,}"
        case Code() | Shaded():
            return cell.text
        case Strong():
            return plain(cell.words)
        case tuple():
            return "".join(map(plain, cell))
    return cell


def has_numbers(texts: Iterable[str]) -> bool:
    """Whether a column has nothing but numbers, with or without units."""
    return all(map(_NUMBER.fullmatch, texts))
