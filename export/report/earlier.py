"""What earlier versions wrote in other words, or did not record, so that their bundles verify."""

from collections.abc import Iterator
from typing import Any

from export.manifest import Manifest
from export.report import text

LATER = ("max_difference_by_layer", "different_spikes_by_layer")
"""Figures of a proof that versions up to 0.3.0 did not record."""

CHANGES: tuple[tuple[tuple[str, str], ...], ...] = (
    (  # 0.2.0 and 0.3.0
        (
            """\
That the files compute what is said here, in a clone of csnn-jax, the Python package that made this bundle:

    pip install -e '.[export]'
""",
            """\
That the files compute what is said here, where csnn-jax, the Python package that made this bundle, is installed:

    pip install 'csnn-jax[export]'
""",
        ),
    ),
    (  # 0.1.0 to 0.2.0
        (
            """\
options = ort.SessionOptions()
options.log_severity_level = 3  # no warning that the input time_steps has a default
session = ort.InferenceSession("sequence.onnx", options)
""",
            """\
session = ort.InferenceSession("sequence.onnx")
""",
        ),
        (
            "in the\nrepository of csnn-jax.",
            "in the\nrepository that this bundle was made with.",
        ),
        (
            """\
That the files compute what is said here, where csnn-jax, the Python package that made this bundle, is installed:

    pip install 'csnn-jax[export]'
""",
            """\
That the files compute what is said here, in a clone of csnn, the repository that this bundle was made with:

    pip install -e '.[export]'
""",
        ),
    ),
)
"""Each change of wording, the latest first: (the words after it, the words before it)."""


def reports(manifest: Manifest) -> Iterator[str]:
    """The report of a bundle as this version writes it, then as each earlier one did, the latest first."""
    report = text.render(manifest)
    yield report
    for change in CHANGES:
        for after, before in change:
            report = report.replace(after, before)
        yield report


def known(found: Any, recorded: Any) -> Any:
    """The figures of a proof without those that `recorded`, of an earlier version, lacks."""
    if not (isinstance(found, dict) and isinstance(recorded, dict)):
        return found
    kept = {name: value for name, value in found.items() if name in recorded or name not in LATER}
    return {name: known(value, recorded.get(name)) for name, value in kept.items()}
