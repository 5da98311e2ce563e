"""Documents as Markdown."""

import re
from collections.abc import Iterable, Iterator, Sequence

from csnn_jax.document.blocks import (
    Block,
    Cell,
    Code,
    Document,
    Folded,
    Grid,
    Items,
    Listing,
    Paragraph,
    Picture,
    Section,
    Strong,
    Table,
    plain,
)

_MARKUP = re.compile(r"[\\`]|<(?=[a-zA-Z/!?])|\*(?=\S)|(?<=\S)\*|\](?=[(\[:])")
"""What Markdown would interpret in a line."""


def render(document: Document) -> str:
    """The whole file."""
    parts = [f"# {words(document.title)}", *_blocks(document.lead, 2), *_blocks(document.sections, 2)]
    return "\n\n".join(parts) + "\n"


def words(text: Cell) -> str:
    """Text within a line; what would be markup is escaped."""
    match text:
        case Code() if "`" not in text.text:
            return f"`{text.text}`"
        case Strong():
            return f"**{words(text.words)}**"
        case tuple():
            return "".join(map(words, text))
    return _MARKUP.sub(r"\\\g<0>", plain(text).replace("\n", " "))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells in Markdown; bars inside cells are escaped."""
    first, *others = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (header, *rows))
    return "\n".join((first, "|" + "---|" * len(header), *others))


def _blocks(blocks: Iterable[Block], level: int) -> Iterator[str]:
    """The blocks that Markdown can show."""
    for block in blocks:
        match block:
            case Paragraph():
                yield words(block.words)
            case Items():
                yield "\n".join(f"- {words(item)}" for item in block.items)
            case Listing():
                fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", block.code))])
                mark = block.mark and f"<!-- {block.mark} -->\n"
                yield f"{mark}{fence}{block.language}\n{block.code}\n{fence}"
            case Table():
                yield table(block.head, [[*map(words, row)] for row in block.rows])
            case Picture(source=str() as path):
                yield f"![{words(block.alt)}]({path})"
            case Section():
                yield f"{'#' * level} {words(block.title)}"
                yield from _blocks(block.blocks, level + 1)
            case Grid() | Folded():
                yield from _blocks(block.blocks, level)
