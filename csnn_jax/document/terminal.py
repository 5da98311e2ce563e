"""Blocks as text for a terminal."""

import textwrap
from collections.abc import Iterable

from csnn_jax.document.blocks import Block, Cell, Paragraph, Table, has_numbers, plain


def render(blocks: Iterable[Block]) -> str:
    """Paragraphs and tables, the blocks that a terminal can show, with empty lines between them."""
    texts = [
        _table(block) if isinstance(block, Table) else _ascii(block.words)
        for block in blocks
        if isinstance(block, Table | Paragraph)
    ]
    return "\n\n".join(texts)


def _table(table: Table) -> str:
    columns = [*zip(table.head, *([*map(_ascii, row)] for row in table.rows), strict=True)]
    sides = [">" if has_numbers(column[1:]) else "<" for column in columns]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([*textwrap.wrap(_ascii(table.caption), 120), *lines])


def _ascii(cell: Cell) -> str:
    return plain(cell).replace("\u00b1", "+-")  # not every terminal can show it
