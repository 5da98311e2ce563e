"""`check_onnx.py`: a check of the ONNX files that doesn't need this package; a copy of `export/receiver.py`."""

from collections.abc import Iterator
from importlib import resources

from csnn_jax.document.blocks import coded
from csnn_jax.files import write_atomic
from export.network import Bundle, Inputs
from export.parts.part import CheckResult, Part
from export.proof.images import CheckImages

NAME = "check_onnx.py"


def write(bundle: Bundle, inputs: Inputs) -> None:
    write_atomic(bundle.folder / NAME, resources.files("export").joinpath("receiver.py").read_bytes())


def check(bundle: Bundle, images: CheckImages) -> Iterator[CheckResult]:
    """Nothing to check: it's this version's script, and isn't run."""
    yield CheckResult()


PART = Part(
    what={NAME: coded("checks the ONNX files with the tensors in {}; needs only NumPy and ONNX Runtime", "golden/")},
    write=write,
    check=check,
)
