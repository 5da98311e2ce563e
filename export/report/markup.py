"""Converts the Markdown of report.md to pieces of a page. It supports what that report uses; the rest becomes text."""

import re
from collections.abc import Iterator

from csnn_jax.report import page
from csnn_jax.report.page import Content, Html

_BLOCK = re.compile(r"(?:<!-- \w+ -->\n)?```\w*\n(?P<code>.*?)\n```|(?P<rest>\S.*?|    .*?)(?=\n\n|\n*\Z)", re.DOTALL)
_INLINE = re.compile(r"((?<!\\)`[^`]+`|(?<!\\)\*\*.+?\*\*)")

_PHONE = 60  # characters in a table row that fit on a phone, some of them wrapped to a second line


def pieces(markdown: str, caption: str) -> Iterator[Html]:
    """Paragraphs, lists, tables and programs, in order.

    Args:
        markdown: Markdown without headings.
        caption: caption of tables, and name of programs for screen readers.
    """
    for found in _BLOCK.finditer(markdown):
        text = found["rest"]
        if text is None:
            yield page.listing(found["code"], caption)
        elif text.startswith("    "):
            yield page.listing(re.sub("^    ", "", text, flags=re.MULTILINE), caption)
        elif text.startswith("| "):
            yield _table(text, caption)
        elif text.startswith("- "):
            yield page.element("ul", *(page.element("li", inline(line)) for line in text[2:].split("\n- ")))
        else:
            yield page.paragraph(inline(text))


def inline(text: str) -> Html:
    """Text with code and bold words."""
    return page.joined(_word(word) for word in _INLINE.split(text.replace("\n", " ")) if word)


def unescaped(text: str) -> str:
    """The inverse of `cells.plain`."""
    return re.sub(r"\\([\\`*\[\]<>|])", r"\1", text)


def _word(word: str) -> Content:
    if not _INLINE.fullmatch(word):
        return unescaped(word)
    if word.startswith("`"):
        return page.code(word[1:-1])
    return page.element("strong", inline(word[2:-2]))


def _table(text: str, caption: str) -> Html:
    head, _, *rows = (_cells(line) for line in text.split("\n"))
    wide = len(head) > 2 and sum(max(map(len, column)) for column in zip(head, *rows, strict=True)) > _PHONE
    return page.table(caption, head, [[_cell(cell) for cell in row] for row in rows], stacks=wide)


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _cell(cell: str) -> Content:
    return inline(cell) if _INLINE.search(cell) else unescaped(cell)
