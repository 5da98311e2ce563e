"""`check_onnx.py`: a check of the ONNX files that needs nothing of ours. It is `export/receiver.py`."""

from collections.abc import Iterator
from importlib import resources

from csnn_jax.files import write_atomic
from export.network import Bundle, Inputs
from export.parts.part import CheckResult, Part
from export.proof.evidence import Evidence

NAME = "check_onnx.py"


def write(bundle: Bundle, inputs: Inputs) -> None:
    write_atomic(bundle.folder / NAME, resources.files("export").joinpath("receiver.py").read_bytes())


def check(bundle: Bundle, evidence: Evidence) -> Iterator[CheckResult]:
    """Nothing: it is this version's script, and is not run."""
    yield CheckResult()


PART = Part(
    what={NAME: "checks the ONNX files by the tensors of `golden/`, with NumPy and ONNX Runtime alone"},
    write=write,
    check=check,
)
