"""Reads Markdown: fenced blocks with their markers, prose, links."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (
    *("README.md", "CONTRIBUTING.md"),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
)
"""The documents whose commands are run."""


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
        language: the word after the fence: sh, python, text.
        marker: the text of the comment on the line above, or "".
        text: its lines.
        line: number of its first line, counting from 1.
    """

    language: str
    marker: str
    text: str
    line: int


def read(page: str) -> str:
    """Reads a page; `page` is its path in the repository."""
    return (ROOT / page).read_text()


def blocks(text: str) -> list[Block]:
    """The fenced blocks, in order."""
    fenced = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.S | re.M)
    return [
        Block(match[2], match[1] or "", match[3], text.count("\n", 0, match.start(3)) + 1)
        for match in fenced.finditer(text)
    ]


def marked(page: str, *markers: str) -> list[Block]:
    """The blocks of a page that have one of these markers."""
    return [block for block in blocks(read(page)) if block.marker in markers]


def prose(text: str) -> str:
    """The text without blocks, comments, pictures and link addresses; inline code stays."""
    for pattern in (r"^```.*?^```$", r"<!--.*?-->", r"!\[[^\]]*\]\([^)]*\)"):
        text = re.sub(pattern, "", text, flags=re.S | re.M)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def links(text: str) -> list[str]:
    """The addresses of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", text)
