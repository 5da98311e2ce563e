"""The end of a bundle's report: how to check it, and what nobody but its maker can say."""

from export.bundle import CONFIG, WEIGHTS, Manifest
from export.hashes import SUMS
from export.report.cells import plain


def how(manifest: Manifest) -> str:
    """How to check a bundle, in Markdown."""
    return f"""\
## Check it again

Run this outside of this folder, because Python may import from its working directory (`-I` prevents that). You need a
clone of csnn-jax, the Python package that made this bundle, with its export extra (`pip install -e '.[export]'`), a C
compiler and make:

    python -I -m export.verify BUNDLE

It makes every file again from `{WEIGHTS}` and `{CONFIG}`, compares it with the one in this folder, runs it, and accepts
nothing else. Use `--dataset` for test images other than MNIST's, which ship with csnn-jax. These commands check less,
and don't detect a change if the list of hashes was changed as well:

- `sha256sum -c {SUMS}`, or `python -I -m export.verify BUNDLE --hashes`: the files match the list.
- `python -I BUNDLE/check_onnx.py`: the ONNX files compute the values in `golden/` here, with only ONNX Runtime.
- `make check`, as above: the C program prints the same here as where the bundle was made."""


def stated(manifest: Manifest) -> str:
    """What nobody but the maker of a bundle can say, in Markdown."""
    made, training = manifest["made"], manifest["training"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    cpu = plain(made["cpu"] or "an unknown processor")
    seconds = "" if training["seconds"] is None else f" in {training['seconds']:,.0f} seconds"
    return f"""\
## What only its maker knows

Nothing in this folder shows whether these are true: that it was made {made["utc"]} on {cpu} ({plain(made["system"])},
{made["cores"]} cores) with Python {made["python"]}, {versions}; the latencies above; that the data set was
{plain(manifest["data"]["dataset"])}; and how the network was trained: {CONFIG}, and {training["iterations"]:,}
iterations{seconds}.{_missing(manifest)}"""


def _missing(manifest: Manifest) -> str:
    """What follows from the trained network not being there."""
    lines = []
    if "rounded" in manifest:
        lines.append("how accurate it was before it was rounded")
    if "dropped" in manifest:
        answers = manifest["dropped"]["other_answers"]
        lines.append(f"what `--drop-silent` removed and changed, {answers:,} answers (and the accuracy after training)")
    return f" The same is true of {'; and '.join(lines)}: the trained network isn't in this folder." if lines else ""
