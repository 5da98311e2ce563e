"""Reads Markdown: its fenced blocks with their markers, its sentences, its table cells, its links."""

import re
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (
    *("README.md", "CONTRIBUTING.md"),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
)
"""The documents whose commands are run and whose sentences are counted."""


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
        language: what stands after the fence: sh, python, text.
        marker: the text of the comment on the line above, "" where there is none.
        text: its lines.
        line: number of its first line, from 1.
    """

    language: str
    marker: str
    text: str
    line: int


def read(page: str) -> str:
    """A page's text; `page` is its path in the repository."""
    return (ROOT / page).read_text()


def blocks(text: str) -> list[Block]:
    """The fenced blocks, in order."""
    fenced = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.S | re.M)
    return [
        Block(found[2], found[1] or "", found[3], text.count("\n", 0, found.start(3)) + 1)
        for found in fenced.finditer(text)
    ]


def marked(page: str, *markers: str) -> list[Block]:
    """The blocks of a page that have one of these markers."""
    return [block for block in blocks(read(page)) if block.marker in markers]


def prose(text: str) -> str:
    """The text without blocks, comments, pictures and the addresses of links; inline code stays."""
    for pattern in (r"^```.*?^```$", r"<!--.*?-->", r"!\[[^\]]*\]\([^)]*\)"):
        text = re.sub(pattern, "", text, flags=re.S | re.M)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def words(text: str) -> int:
    """Words: what white space separates and holds a letter or a digit."""
    return sum(any(character.isalnum() for character in word) for word in text.split())


def sentences(text: str) -> list[str]:
    """The sentences of paragraphs and list items; headings and tables have none.

    A sentence ends at a full stop, question mark or exclamation mark before white space, or with its paragraph or list
    item. Names of files and numbers have no white space after their stops. Less than three words are no sentence.
    """
    found: list[str] = []
    paragraph: list[str] = []
    for line in [*prose(text).splitlines(), ""]:
        item = re.match(r"\s*(?:[-*]|\d+\.) ", line)
        if item or not line.strip() or line.startswith(("#", "|")):
            found += re.split(r"(?<=[.!?])[\"*)]*\s+", " ".join(paragraph))
            paragraph = []
        if line.strip() and not line.startswith(("#", "|")):
            paragraph.append(line[item.end() :] if item else line.strip())
    return [sentence for sentence in found if words(sentence) >= 3]


def median_sentence(text: str) -> float:
    """Words of the median sentence."""
    return median(words(sentence) for sentence in sentences(text))


def cells(text: str) -> list[str]:
    """The cells of the tables."""
    rows = [line for line in prose(text).splitlines() if line.startswith("|")]
    return [cell.strip() for row in rows for cell in row.strip("|").split("|")]


def links(text: str) -> list[str]:
    """The addresses of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", text)
