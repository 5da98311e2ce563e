"""Adds files from outside docs/ to the site, and adjusts links to them.

In the repository, pages link to other files by relative paths. On the site, such a file is a page or a plain file, and
the link is rewritten to match. `--strict` rejects links to files that aren't added. Names of docs/ pages in docstrings
become links, too.
"""

import functools
import os
import posixpath
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from reference import flags

ROOT = Path(__file__).parents[1]
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "docs/tour.ipynb": "tour.md"}
"""Files in the repository that are pages with a different name."""
SCRIPTS = "benchmarks/targets/"
"""A folder of scripts, each of which is a page. Search excludes them because they'd match almost anything."""
SECTIONS = {"2": "2-semantics"}
"""The headings of docs/design.md that docstrings cite by number."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for origin in (origin for origin in PAGES if origin.endswith(".md")):
        files.append(File.generated(config, PAGES[origin], abs_src_path=str(ROOT / origin)))
    for path in (path for path in sorted((ROOT / "results").rglob("*")) if path.is_file()):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for path in sorted((ROOT / SCRIPTS).glob("*.py")):
        hidden = "---\nsearch:\n  exclude: true\n---\n"
        text = f"{hidden}# {path.name}\n\n````python\n{path.read_text()}````\n"
        files.append(File.generated(config, f"{SCRIPTS}{path.name}.md", content=text))
    files.append(File.generated(config, "reference/flags.md", content=flags.render()))
    files.append(File.generated(config, "reference/support.md", content=support()))
    page, figures = tour()
    files.append(File.generated(config, PAGES["docs/tour.ipynb"], content=page))
    for name, figure in figures.items():
        files.append(File.generated(config, name, content=figure))
    return files


@functools.cache
def support() -> str:
    """The support matrix, made in a separate process because it needs JAX with two CPU devices."""
    device = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    own = {"JAX_COMPILATION_CACHE_DIR": "", "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT / "docs")])}
    command = [sys.executable, "-m", "reference.support"]
    return subprocess.run(command, env=os.environ | device | own, stdout=subprocess.PIPE, text=True, check=True).stdout


def tour() -> tuple[str, dict[str, bytes]]:
    """The notebook as Markdown, and its figures by name. It's executed unless CSNN_TOUR=off is set."""
    notebook = nbformat.read(ROOT / "docs/tour.ipynb", as_version=4)
    if os.environ.get("CSNN_TOUR") != "off":
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs = joined(cell.outputs)
    exporter = MarkdownExporter()
    text, made = exporter.from_notebook_node(notebook, {"unique_key": "tour", "output_files_dir": "tour"})
    told = (cell.metadata.alt for cell in notebook.cells if "alt" in cell.metadata)
    return re.sub(r"!\[png\]", lambda _: f"![{next(told)}]", text), made["outputs"]


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """A cell's outputs in order, with consecutive lines of text merged."""
    found: list[nbformat.NotebookNode] = []
    for output in outputs:
        if found and output.get("name", "") == found[-1].get("name") == "stdout":
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    origins = {uri: origin for origin, uri in PAGES.items()}
    uri = page.file.src_uri
    origin = uri if uri.startswith(("results/", SCRIPTS)) else origins.get(uri, f"docs/{uri}")

    def turned(link: re.Match[str]) -> str:
        path, mark, heading = link[1].partition("#")
        if not path or "://" in path:
            return link[0]
        to = place(posixpath.normpath(posixpath.join(posixpath.dirname(origin), path)))
        return f"]({posixpath.relpath(to, posixpath.dirname(uri) or '.')}{mark}{heading})"

    return re.sub(r"\]\(([^)\s]+)\)", turned, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Keeps `--flag` and `t-1` from breaking when commands wrap, and links docstrings to the pages they name."""
    html = re.sub(r'<div class="language-(?:sh|text) highlight">.*?</pre>', _unbroken, html, flags=re.S)
    return _linked(html, page, files) if page.file.src_uri.startswith(("api/", "reference/")) else html


def _unbroken(block: re.Match[str]) -> str:
    """Wraps words with a hyphen in elements, for the style sheet."""

    def marked(text: re.Match[str]) -> str:
        return re.sub(r"\S*-\S+", r'<span class="unbroken">\g<0></span>', text[0])

    return re.sub(r"(?<=>)[^<>]+(?=<)", marked, block[0])


def _linked(html: str, page: Page, files: Files) -> str:
    """Links pages, which docstrings name by their path in the repository; leaves code unchanged."""

    def linked(found: re.Match[str]) -> str:
        to = files.get_file_from_path(found[1])
        heading = f"#{SECTIONS[found[2]]}" if found[2] else ""
        return f'<a href="{to.url_relative_to(page.file)}{heading}">{found[0]}</a>' if to else found[0]

    parts = re.split(r"(<pre.*?</pre>)", html, flags=re.S)
    parts[::2] = [re.sub(r"docs/([\w-]+\.md)(?:, section (\d+))?", linked, part) for part in parts[::2]]
    return "".join(parts)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Labels the search for screen readers, which Material doesn't."""
    search = 'data-md-component="search" role="dialog"'
    return output.replace(search, f'{search} aria-label="Search"')


def place(origin: str) -> str:
    """The path of a repository file in the site's sources."""
    if origin.startswith(SCRIPTS):
        return f"{origin}.md"
    return PAGES.get(origin, origin.removeprefix("docs/"))
