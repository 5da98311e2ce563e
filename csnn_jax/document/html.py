"""A page as one self-contained HTML file: text, tables, pictures, charts. It loads nothing from the network.

Anything but `Html` is text and is escaped. Each piece of HTML lists the scripts and styles it needs; `document`
includes each of them once. This module doesn't depend on runs or bundles.
"""

import base64
import html
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from typing import Any

import numpy as np

from csnn_jax.errors import UserError

PLOTLY = "plotly.js"
"""Comes from the package `plotly`; all other scripts and styles are next to this module."""

_STYLE = "page.css"  # of every page
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"
_NUMBER = re.compile(r"[-+\u2212]?\d[\d.,]*(e[-+]?\d+)?( ?(%|[kMG]?B|[mun]?s|[pn]J|steps?))?|-")


@dataclass(frozen=True)
class Html:
    """Text that is HTML already.

    Attributes:
        text: the HTML.
        needs: names of the scripts and styles it requires.
    """

    text: str
    needs: tuple[str, ...] = ()


Content = Html | str


@dataclass(frozen=True)
class Section:
    """A part of a page with its own heading, listed in the contents.

    Attributes:
        title: the heading.
        contents: the pieces below it.
    """

    title: str
    contents: tuple[Content, ...]


def require() -> None:
    """Imports plotly.

    Raises:
        UserError: it's missing; the message names the extra to install.
    """
    try:
        import_module("plotly")
    except ImportError as error:
        raise UserError(f"the report needs plotly ({error}); expected `pip install 'csnn-jax[report]'`") from None


def joined(contents: Iterable[Content]) -> Html:
    """Concatenates pieces."""
    parts = [part if isinstance(part, Html) else Html(html.escape(part)) for part in contents]
    needs = dict.fromkeys(name for part in parts for name in part.needs)
    return Html("".join(part.text for part in parts), tuple(needs))


def element(tag: str, *contents: Content, needs: Sequence[str] = (), **attributes: str | int | bool | None) -> Html:
    """An element with its end tag, except for void elements (img, input, meta).

    Args:
        tag: its name.
        contents: the pieces inside it.
        needs: scripts and styles that it requires itself.
        attributes: `class_` is class, `aria_label` is aria-label. None and False: omitted; True: without a value.
    """
    inside = joined(contents)
    given = "".join(_attribute(*one) for one in attributes.items() if one[1] is not None and one[1] is not False)
    end = "" if tag in ("img", "input", "meta") else f"{inside.text}</{tag}>"
    return Html(f"<{tag}{given}>{end}", tuple(dict.fromkeys((*inside.needs, *needs))))


def _attribute(name: str, value: str | int | bool | None) -> str:
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def paragraph(*contents: Content) -> Html:
    """A paragraph."""
    return element("p", *contents)


def breakable(text: str) -> Html:
    """Text with a path, in which lines may break after each slash."""
    return Html(html.escape(text).replace("/", "/<wbr>"))


def note(*contents: Content) -> Html:
    """A highlighted paragraph: what was left out, and why."""
    return element("p", *contents, class_="note")


def code(text: str) -> Html:
    """Code within a line."""
    return element("code", text)


def listing(text: str, label: str) -> Html:
    """Lines of code, which don't wrap, or a single command, which does; `label` is for screen readers."""
    kind = None if "\n" in text else "breaks"
    return _scrolls(element("pre", element("code", text), class_=kind), label)


def subsection(title: str, *contents: Content) -> Html:
    """A part of a section."""
    return joined((element("h3", title), *contents))


def folded(summary: str, *contents: Content) -> Html:
    """A collapsed part of the page, which only some readers need."""
    return element("details", element("summary", summary), *contents)


def grid(pieces: Iterable[Content], kind: str = "") -> Html:
    """Pieces side by side, as many as fit; `kind`: "small" or "tiny" ones."""
    return element("div", *pieces, class_=f"grid {kind}".strip())


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[Content | int | None]], *, stacks: bool = False
) -> Html:
    """A table. The first cell of a row is its heading. Numbers are right-aligned, with thousands separators.

    None is a dash. If there's no room for a table that `stacks`, the cells follow their row's heading, with names.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    kinds = [None, *(_kind(row[column] for row in cells) for column in range(1, len(head)))]
    top = [element("th", name, scope="col", class_=kind) for name, kind in zip(head, kinds, strict=True)]
    names = head if stacks else [None] * len(head)
    body = [element("tr", *_row(row, kinds, names)) for row in cells]
    parts = (element("caption", caption), element("thead", element("tr", *top)), element("tbody", *body))
    return _scrolls(element("table", *parts, class_="stacks" if stacks else None), caption)


def _scrolls(content: Html, label: str) -> Html:
    """Makes content scroll that may be wider than a phone; the keyboard can scroll it, too."""
    return element("div", content, class_="scroll", role="region", aria_label=label, tabindex=0)


def _row(cells: Sequence[Content], kinds: Sequence[str | None], names: Sequence[str | None]) -> list[Html]:
    columns = zip(cells[1:], kinds[1:], names[1:], strict=True)
    rest = [element("td", cell, class_=kind, data_name=name) for cell, kind, name in columns]
    return [element("th", cells[0], scope="row"), *rest]


def _kind(column: Iterable[Content]) -> str | None:
    """Returns "number" if a column only has numbers, regardless of their markup."""
    texts = [re.sub("<[^>]*>", "", cell.text) if isinstance(cell, Html) else cell for cell in column]
    return "number" if all(map(_NUMBER.fullmatch, texts)) else None


def _cell(value: Content | int | None) -> Content:
    if value is None:
        return "-"
    return value if isinstance(value, (Html, str)) else f"{value:,}"


def picture(png: bytes, alt: str, caption: Content | None = None, width: int | None = None) -> Html:
    """A small PNG picture, shown with sharp pixels.

    Args:
        png: the file's bytes.
        alt: what it shows, in words.
        caption: shown below it.
        width: in CSS pixels; it shrinks if there's less room. None: its own.
    """
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    image = element("img", src=source, alt=alt, width=width, style=f"width:{width}px" if width else None)
    if caption is None:
        return image
    return element("figure", image, element("figcaption", caption), class_="picture")


def data(value: Any) -> Html:
    """Anything as JSON in the page, for a script; numbers that aren't finite become null."""
    text = json.dumps(_plain(value), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    text = re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)
    return Html(f'<script type="application/json">{text}</script>')


def _plain(value: Any) -> Any:
    """Converts a value for JSON; floats get five digits, more than a screen can show."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def document(title: str, lead: Sequence[Content], sections: Sequence[Section], made_by: str) -> str:
    """The whole file.

    Args:
        title: title of the page.
        lead: paragraphs below the title: what the page is about.
        sections: in order.
        made_by: the program that makes it, for `is_made_by`.

    Raises:
        UserError: charts need plotly, which is missing.
    """
    names = _names(sections)
    links = [element("li", element("a", one.title, href=f"#{name}")) for name, one in names.items()]
    parts = [element("section", _heading(one, name), *one.contents) for name, one in names.items()]
    body = [
        element("a", "Skip to the content", class_="skip", href="#content"),
        element("header", element("h1", breakable(title)), *(paragraph(line) for line in lead)),
        element("nav", element("ul", *links), aria_label="Contents"),
        element("main", *parts, id="content", tabindex=-1),
        element("footer", paragraph(f"Made by {made_by}. This file works offline.")),
    ]
    return _file(title, joined(body), made_by)


def is_made_by(program: str, start: str) -> bool:
    """Whether a file is a page made by a program, judged by its start (the first kilobyte)."""
    return element("meta", name="generator", content=program).text in start


def _names(sections: Sequence[Section]) -> dict[str, Section]:
    """The sections by a unique name for their address."""
    named: dict[str, Section] = {}
    for number, section in enumerate(sections, 1):
        slug = re.sub("[^a-z0-9]+", "-", section.title.lower()).strip("-")
        named[slug if slug and slug not in named else f"{slug}-{number}".lstrip("-")] = section
    return named


def _heading(section: Section, name: str) -> Html:
    return element("h2", section.title, id=name)


def _file(title: str, body: Html, made_by: str) -> str:
    needs = dict.fromkeys((_STYLE, *body.needs))
    styles = "\n".join(_asset(name) for name in needs if name.endswith(".css"))
    scripts = [f"<script>\n{_asset(name)}\n</script>" for name in needs if name.endswith(".js")]
    head = [
        Html('<meta charset="utf-8">'),
        element("meta", name="generator", content=made_by),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        Html(f"<style>\n{styles}</style>"),
        Html('<link rel="icon" href="data:,">'),
    ]
    lines = ["<!doctype html>", '<html lang="en">', "<head>", *(one.text for one in head), "</head>", "<body>"]
    return "\n".join([*lines, body.text, *scripts, "</body>", "</html>"]) + "\n"


def library() -> str:
    """Plotly's script, which pages with charts include.

    Raises:
        UserError: plotly is missing.
    """
    require()
    return import_module("plotly.offline").get_plotlyjs()


def _asset(name: str) -> str:
    if name == PLOTLY:
        return library()
    return (files(__package__) / name).read_text(encoding="utf-8")
