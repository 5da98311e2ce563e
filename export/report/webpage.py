"""report.html: the contents of report.md as a page with charts; also rendered only from the manifest."""

from importlib.metadata import version

from csnn_jax.document import html
from csnn_jax.report.subject import shown_dataset
from export.bundle import PAGE, Manifest
from export.report import text


def render(manifest: Manifest) -> str:
    """The whole page. It contains no local paths, and doesn't list itself among the files.

    Raises:
        UserError: plotly isn't installed.
    """
    html.require()
    facts = text.merged(manifest)
    dataset = shown_dataset(facts["job"]["dataset"])
    hashes = {name: entry for name, entry in facts["hashes"].items() if name != PAGE}
    shown = facts | {"job": facts["job"] | {"dataset": dataset}, "hashes": hashes}
    return html.render(text.document(shown), maker())


def maker() -> str:
    """The versions that a page's bytes depend on besides the manifest."""
    return f"csnn-jax export {version('csnn-jax')} with plotly {version('plotly')}"


def differs_in_plotly(content: str, manifest: Manifest) -> bool:
    """Whether a page matches what this version makes from a manifest, except for its version of plotly.js."""
    here, there = version("plotly"), manifest["statements"]["made"]["versions"].get("plotly")
    before, _, after = render(manifest).partition(html.library())
    start, end = (text.replace(f"with plotly {here}", f"with plotly {there}") for text in (before, after))
    return there not in (None, here) and content.startswith(start) and content.endswith(end)
