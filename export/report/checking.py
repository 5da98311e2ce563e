"""The end of a bundle's report: how to check it, and what only its maker can know."""

from export.bundle import CONFIG, WEIGHTS, Manifest
from export.hashes import SUMS
from export.report.cells import plain


def how(manifest: Manifest) -> str:
    """How to check a bundle, in Markdown."""
    return f"""\
## Verify it

Run this outside this folder, because Python may import from its working directory (`-I` prevents that). You need a
clone of csnn-jax, the Python package that made this bundle, with its export extra (`pip install -e '.[export]'`), a C
compiler and make:

    python -I -m export.verify BUNDLE

It makes every file again from `{WEIGHTS}` and `{CONFIG}`, compares it with the one in this folder, runs it, and rejects
additional files. Use `--dataset` for test images other than MNIST's, which ship with csnn-jax. These commands check
less, and don't detect a change if the list of hashes was changed as well:

- `sha256sum -c {SUMS}`, or `python -I -m export.verify BUNDLE --hashes`: the files match the list.
- `python -I BUNDLE/check_onnx.py`: the ONNX files compute the values in `golden/` on your machine; needs only NumPy and
  ONNX Runtime.
- `make check`, as above: the C program prints the same on your machine as on the maker's."""


def stated(manifest: Manifest) -> str:
    """What only the maker of a bundle can know, in Markdown."""
    made, training = manifest["made"], manifest["training"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    cpu = plain(made["cpu"] or "an unknown processor")
    seconds = "" if training["seconds"] is None else f" in {training['seconds']:,.0f} seconds"
    return f"""\
## What only its maker knows

Nothing in this folder proves these statements: that it was made {made["utc"]} on {cpu} ({plain(made["system"])},
{made["cores"]} cores) with Python {made["python"]}, {versions}; the latencies above; that the data set was
{plain(manifest["data"]["dataset"])}; and how the network was trained: {CONFIG}, and {training["iterations"]:,}
iterations{seconds}.{_missing(manifest)}"""


def _missing(manifest: Manifest) -> str:
    """Statements that can't be checked because the trained network isn't in the bundle."""
    lines = []
    if "rounded" in manifest:
        lines.append("its accuracy before rounding")
    if "dropped" in manifest:
        answers = manifest["dropped"]["other_answers"]
        lines.append(f"what `--drop-silent` removed, the {answers:,} answers it changed, and the trained accuracy")
    return f" The same is true of {'; and '.join(lines)}: the trained network isn't in this folder." if lines else ""
