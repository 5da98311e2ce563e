"""Documents as pages: one self-contained HTML file each, which loads nothing from the network."""

import base64
import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.resources import files
from typing import Any

import numpy as np

from csnn_jax.document import charts
from csnn_jax.document.blocks import (
    Block,
    Cell,
    Chart,
    Code,
    Document,
    Film,
    Folded,
    Grid,
    Items,
    Listing,
    Paragraph,
    Picture,
    Scored,
    Section,
    Shaded,
    Strong,
    Table,
    has_numbers,
    plain,
)
from csnn_jax.errors import UserError

PLOTLY = "plotly.js"
"""Comes from the package `plotly`; all other scripts and styles are next to this module."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"


class Html(str):
    """Text that is HTML already; any other text is escaped."""


def require() -> None:
    """Imports plotly.

    Raises:
        UserError: it's missing; the message names the extra to install.
    """
    try:
        import_module("plotly")
    except ImportError as error:
        raise UserError(f"the report needs plotly ({error}); expected `pip install 'csnn-jax[report]'`") from None


def library() -> str:
    """Plotly's script, which pages with charts include.

    Raises:
        UserError: plotly is missing.
    """
    require()
    return import_module("plotly.offline").get_plotlyjs()


def render(document: Document, made_by: str) -> str:
    """The whole file; `made_by` is the program that makes it, for `is_made_by`.

    Raises:
        UserError: charts need plotly, which is missing.
    """
    named: dict[str, Section] = {}
    for number, section in enumerate(document.sections, 1):
        slug = re.sub("[^a-z0-9]+", "-", section.title.lower()).strip("-")
        named[slug if slug and slug not in named else f"{slug}-{number}".lstrip("-")] = section
    links = [_element("li", _element("a", section.title, href=f"#{name}")) for name, section in named.items()]
    parts = [
        _element("section", _element("h2", section.title, id=name), blocks(section.blocks))
        for name, section in named.items()
    ]
    heading = Html(html.escape(document.title).replace("/", "/<wbr>"))  # a path may break after each slash
    contents = [
        _element("a", "Skip to the content", class_="skip", href="#content"),
        _element("header", _element("h1", heading), blocks(document.lead)),
        _element("nav", _element("ul", *links), aria_label="Contents"),
        _element("main", *parts, id="content", tabindex=-1),
        _element("footer", _element("p", f"Made by {made_by}. This file works offline.")),
    ]
    body = "".join(contents)
    has_charts, has_films = ('class="plot"' in body, 'class="player"' in body)  # text has no quotes
    styles = "\n".join(map(_asset, ["page.css", *["film.css"] * has_films]))
    scripts = [f"<script>\n{_asset(name)}\n</script>" for name in [PLOTLY, "charts.js"] * has_charts]
    scripts += [f'<script type="module">\n{_asset("spikes.js")}\n</script>'] * has_films
    head = [
        '<meta charset="utf-8">',
        _element("meta", name="generator", content=made_by),
        _element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        _element("meta", name="color-scheme", content="light dark"),
        _element("title", document.title),
        f"<style>\n{styles}</style>",
        '<link rel="icon" href="data:,">',
    ]
    lines = ["<!doctype html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", body]
    return "\n".join([*lines, *scripts, "</body>", "</html>"]) + "\n"


def is_made_by(program: str, start: str) -> bool:
    """Whether a file is a page made by a program, judged by its start (the first kilobyte)."""
    return _element("meta", name="generator", content=program) in start


def _asset(name: str) -> str:
    return library() if name == PLOTLY else (files(__package__) / name).read_text(encoding="utf-8")


def blocks(contents: Iterable[Block]) -> Html:
    """Blocks in order, without the page around them."""
    return Html("".join(map(_block, contents)))


def _block(block: Block) -> Html:
    match block:
        case Paragraph():
            return _element("p", _words(block.words), class_="note" if block.note else None)
        case Items():
            return _element("ul", *(_element("li", _words(item)) for item in block.items))
        case Listing():  # lines don't wrap, but a single command does
            lines = _element("pre", _element("code", block.code), class_=None if "\n" in block.code else "breaks")
            return _scrolls(lines, block.label)
        case Table():
            return _table(block)
        case Chart():
            return _chart(block)
        case Picture():
            return _picture(block)
        case Scored():
            caption = _element("figcaption", _words(block.caption))
            return _element("figure", _element("div", _picture(block.picture), _bars(block), class_="pair"), caption)
        case Film():
            inside = (Html(_asset("film.html")), data(block.data))
            return _element("div", *inside, class_="player", role="group", aria_label=block.label, tabindex=0)
        case Grid():
            return _element("div", blocks(block.blocks), class_=f"grid {block.kind}".strip())
        case Folded():
            return _element("details", _element("summary", block.summary), blocks(block.blocks))
        case Section():
            return Html(_element("h3", block.title) + blocks(block.blocks))


def _element(tag: str, *contents: str, **attributes: str | int | None) -> Html:
    """An element with its end tag, except for void elements.

    `class_` is the attribute class, `aria_label` is aria-label; None is omitted.
    """
    pairs = [(name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items() if value is not None]
    start = "".join([f"<{tag}", *(f' {name}="{html.escape(str(value))}"' for name, value in pairs), ">"])
    if tag in ("img", "meta"):
        return Html(start)
    inside = (part if isinstance(part, Html) else html.escape(part) for part in contents)
    return Html("".join([start, *inside, f"</{tag}>"]))


def _words(words: Cell) -> Html:
    match words:
        case Code():
            return _element("code", words.text)
        case Strong():
            return _element("strong", _words(words.words))
        case tuple():
            return Html("".join(map(_words, words)))
        case Shaded():
            style = f"background:color-mix(in srgb, var({words.color}) {100 * words.share:.0f}%, transparent)"
            kind, shade = ("cell", style) if words.share else ("cell none", None)
            return _element("span", words.text, class_=kind, style=shade)
    return Html(html.escape(plain(words)))


def _scrolls(content: Html, label: str) -> Html:
    """Makes content scroll that may be wider than a phone; the keyboard can scroll it, too."""
    return _element("div", content, class_="scroll", role="region", aria_label=label, tabindex=0)


def _table(table: Table) -> Html:
    columns = [*zip(*table.rows, strict=True)] or [()] * len(table.head)
    kinds = [None, *("number" if has_numbers(map(plain, column)) else None for column in columns[1:])]
    names = table.head if table.stacks else [None] * len(table.head)
    head = [_element("th", name, scope="col", class_=kind) for name, kind in zip(table.head, kinds, strict=True)]
    rows = []
    for first, *others in table.rows:
        cells = [
            _element("td", _words(cell), class_=kind, data_name=name)
            for cell, kind, name in zip(others, kinds[1:], names[1:], strict=True)
        ]
        rows.append(_element("tr", _element("th", _words(first), scope="row"), *cells))
    parts = (
        _element("caption", table.caption),
        _element("thead", _element("tr", *head)),
        _element("tbody", *rows),
    )
    return _scrolls(_element("table", *parts, class_="stacks" if table.stacks else None), table.caption)


def _picture(picture: Picture) -> Html:
    assert isinstance(picture.source, bytes)
    source, width = f"data:image/png;base64,{base64.b64encode(picture.source).decode()}", picture.width
    image = _element("img", src=source, alt=picture.alt, width=width, style=f"width:{width}px" if width else None)
    if picture.caption is None:
        return image
    return _element("figure", image, _element("figcaption", _words(picture.caption)), class_="picture")


def _bars(scored: Scored) -> Html:
    """Scores by class as a tiny chart, in which negative ones point down; its description lists the numbers."""
    width, names = 8, [name for name, _, _ in scored.scores]
    values = [value for _, value, _ in scored.scores]
    low, high = min(0, *values), max(0, *values)
    most = (high - low) or 1
    zero, marks = 62 + 60 * low / most, []
    for number, (name, value, color) in enumerate(scored.scores):
        y, height = f"{zero - 60 * max(value, 0) / most:.1f}", f"{1 + 60 * abs(value) / most:.1f}"
        marks.append(
            _element("rect", x=number * width, y=y, width=width - 2, height=height, style=f"fill:var({color})")
        )
        if max(map(len, names)) == 1:
            marks.append(_element("text", name, x=number * width + width // 2 - 1, y=73, text_anchor="middle"))
    whole, style = f"0 0 {width * len(values)} 76", f"max-width:{0.9 * min(10, len(values)):g}rem"
    about = {"role": "img", "aria_label": scored.description, "class_": "bars", "style": style}
    return _element("svg", *marks, viewBox=whole, **about)


def _chart(chart: Chart) -> Html:
    plot = _element("div", class_="plot", role="img", aria_label=chart.description, style=f"height:{chart.height}px")
    spec = data({"data": _escaped(chart.traces), "layout": _escaped(chart.layout)})
    groups: dict[str, Mapping[str, Any]] = {}
    for trace in chart.traces:
        groups.setdefault(trace.get("legendgroup", ""), trace)
    legend = [_element("ul", *map(_entry, groups.values()), class_="legend")] if len(groups) > 1 else []
    return _element("figure", _element("figcaption", chart.caption), *legend, plot, spec, class_="chart")


def _entry(trace: Mapping[str, Any]) -> Html:
    """An entry of a legend: the trace's marker if it's one of `charts.SYMBOLS`, otherwise its line."""
    symbol, color = trace["marker"]["symbol"], trace["marker"]["color"]
    if symbol in charts.SYMBOLS:
        mark = _element("span", class_=f"mark {symbol}", style=f"background:{color}")
    else:
        kind = {"solid": "solid", "dash": "dashed"}.get(trace["line"]["dash"], "dotted")
        mark = _element("span", class_="swatch", style=f"border-top:3px {kind} {color}")
    about = {"type": "button", "aria_pressed": "true", "data_group": trace["legendgroup"]}
    return _element("li", _element("button", mark, trace["name"], **about))


def _escaped(spec: Any) -> Any:
    """Escapes the text in a figure, because Plotly would interpret `<b>` and the like as markup."""
    if isinstance(spec, str):
        return html.escape(spec, quote=False)
    if isinstance(spec, Mapping):
        return {key: _escaped(value) for key, value in spec.items()}
    if isinstance(spec, Sequence):
        return [_escaped(value) for value in spec]
    return spec


def data(value: Any) -> Html:
    """Anything as JSON in the page, for a script; numbers that aren't finite become null."""
    text = json.dumps(_jsonable(value), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    text = re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)
    return Html(f'<script type="application/json">{text}</script>')


def _jsonable(value: Any) -> Any:
    """Converts a value for JSON; floats get five digits, more than a screen can show."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [_jsonable(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value
