"""report.html: report.md as a page with charts; also rendered only from the manifest."""

import re
from collections.abc import Callable, Iterator
from importlib.metadata import version

from csnn_jax.document import charts
from csnn_jax.document import html as page
from csnn_jax.document.html import Content, Html, Section
from csnn_jax.report.subject import shown_dataset
from export.bundle import PAGE, REPORT, Manifest
from export.report import text

_FLAGS = re.compile(r"(?<![`\w-])--[a-z][a-z-]* [\w.]+( --[a-z][a-z-]* [\w.]+)*")
_BLOCK = re.compile(r"(?:<!-- \w+ -->\n)?```\w*\n(?P<code>.*?)\n```|(?P<rest>\S.*?|    .*?)(?=\n\n|\n*\Z)", re.DOTALL)
_INLINE = re.compile(r"((?<!\\)`[^`]+`|(?<!\\)\*\*.+?\*\*)")

_PHONE = 60  # characters in a table row that fit on a phone, some of them wrapped to a second line


def render(manifest: Manifest) -> str:
    """The whole page. It contains no local paths, and doesn't list itself among the files.

    Raises:
        UserError: plotly isn't installed.
    """
    page.require()
    facts = text.merged(manifest)
    dataset = shown_dataset(facts["job"]["dataset"])
    hashes = {name: entry for name, entry in facts["hashes"].items() if name != PAGE}
    shown = facts | {"job": facts["job"] | {"dataset": dataset}, "hashes": hashes}
    top, *rest = ((name, section(shown)) for name, section in text.SECTIONS.items())
    title, *lead = top[1].removeprefix("# ").split("\n\n")
    marked = [inline(_FLAGS.sub(r"`\g<0>`", one)) for one in lead]
    return page.document(unescaped(title), marked, [_section(shown, *one) for one in rest], maker())


def maker() -> str:
    """The versions that a page's bytes depend on besides the manifest."""
    return f"csnn-jax export {version('csnn-jax')} with plotly {version('plotly')}"


def differs_in_plotly(content: str, manifest: Manifest) -> bool:
    """Whether a page matches what this version makes from a manifest, except for its version of plotly.js."""
    here, there = version("plotly"), manifest["statements"]["made"]["versions"].get("plotly")
    before, _, after = render(manifest).partition(page.library())
    start, end = (text.replace(f"with plotly {here}", f"with plotly {there}") for text in (before, after))
    return there not in (None, here) and content.startswith(start) and content.endswith(end)


def _section(manifest: Manifest, name: str, markdown: str) -> Section:
    heading, _, body = markdown.removeprefix("## ").partition("\n\n")
    drawn = _CHARTS[name](manifest) if name in _CHARTS else ()
    return Section(heading, (*pieces(body, _CAPTIONS.get(name, heading)), *drawn))


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


def _sizes(manifest: Manifest) -> Iterator[Html]:
    sizes = {}
    for name in ("weights.safetensors", *manifest["latency"]):
        memory = manifest["files"].get(name, {}).get("memory")
        sizes[name] = (memory["constant_bytes"] if memory else manifest["hashes"][name]["bytes"]) / 1e6
    caption = (
        "Sizes of the weights and of each file that runs. For the C program, it's the size of its constants in flash; "
        "its source code is larger."
    )
    yield charts.bars(caption, list(sizes), list(sizes.values()), ("file", "size (MB)"))


def _latencies(manifest: Manifest) -> Iterator[Html]:
    found = text.milliseconds_an_image(manifest)
    yield charts.bars("Time per image.", list(found), list(found.values()), ("file", "ms per image"))


def _work(manifest: Manifest) -> Iterator[Html]:
    layers, steps = manifest["numbers"]["layers"], manifest["numbers"]["time_steps"]
    names = [one["name"] for one in layers]
    held = manifest["semantics"]["input"]["layout"] == "N, C, H, W"  # one image, shown at every step
    times = [1 if held else steps, *[steps] * (len(layers) - 1)]
    groups = {
        "computed densely": [one["dense_macs_per_step"] * count for one, count in zip(layers, times, strict=True)],
        "with spikes": [one["synaptic_operations_first_layer_once"] for one in layers],
    }
    once = f" Both count {names[0]} once, because its input is the same image at every step." if held else ""
    caption = f"Operations per image, by layer, on a logarithmic scale; the table above has the numbers.{once}"
    yield charts.dots(caption, names, groups, "operations", y_axis=charts.LOG | {"tickformat": "~s"})
    densities = [100 * one["density"] for one in layers]
    yield charts.bars("Spike density by layer.", names, densities, ("neurons after", "density (%)"), number=2)


_CAPTIONS = {
    "which": "Files by what you have",
    "files": f"Every file in this folder except {PAGE} and {REPORT}, which have the same contents",
    "call": "How to call it",
    "network": "The network's layers and equations",
    "proof": "Each file against the trained network",
    "latency": "Latency of a call",
    "numbers": "What each layer needs",
    "tools": "Tools and chips",
    "verify": "How to check it",
}
"""Captions of the tables, by section."""

_CHARTS: dict[str, Callable[[Manifest], Iterator[Html]]] = {
    "files": _sizes,
    "latency": _latencies,
    "numbers": _work,
}
"""Charts below sections, by section."""
