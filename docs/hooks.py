"""Brings files from outside docs/ into the site, and has links to them lead there.

On a code host the pages link to files of the repository by relative paths. In the site such a file is a page or a file,
and the link is turned accordingly. `--strict` refuses a link to a file that is not brought in.
"""

import os
import posixpath
import re
import tempfile
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "docs/tour.ipynb": "tour.md"}
"""Files of the repository that are pages under another name."""
SCRIPTS = "benchmarks/targets/"
"""A folder of programs, each of which is a page."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for origin in (origin for origin in PAGES if origin.endswith(".md")):
        files.append(File.generated(config, PAGES[origin], abs_src_path=str(ROOT / origin)))
    for path in (path for path in sorted((ROOT / "results").rglob("*")) if path.is_file()):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for path in sorted((ROOT / SCRIPTS).glob("*.py")):
        text = f"# {path.name}\n\n````python\n{path.read_text()}````\n"
        files.append(File.generated(config, f"{SCRIPTS}{path.name}.md", content=text))
    page, figures = tour()
    files.append(File.generated(config, PAGES["docs/tour.ipynb"], content=page))
    for name, figure in figures.items():
        files.append(File.generated(config, name, content=figure))
    return files


def tour() -> tuple[str, dict[str, bytes]]:
    """The notebook as Markdown, and its figures by name. It is run, unless the environment has CSNN_TOUR=off."""
    notebook = nbformat.read(ROOT / "docs/tour.ipynb", as_version=4)
    if os.environ.get("CSNN_TOUR") != "off":
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(
                notebook, timeout=300, coalesce_streams=True, resources={"metadata": {"path": folder}}
            ).execute()
    exporter = MarkdownExporter()
    text, made = exporter.from_notebook_node(notebook, {"unique_key": "tour", "output_files_dir": "tour"})
    return text, made["outputs"]


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


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Names the search for screen readers, which Material leaves to its place."""
    search = 'data-md-component="search" role="dialog"'
    return output.replace(search, f'{search} aria-label="Search"')


def place(origin: str) -> str:
    """Where a file of the repository is in the site's sources."""
    if origin.startswith(SCRIPTS):
        return f"{origin}.md"
    return PAGES.get(origin, origin.removeprefix("docs/"))
