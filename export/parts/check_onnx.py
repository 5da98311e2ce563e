"""`check_onnx.py`: a check of the ONNX files that needs nothing of ours. It is `export/receiver.py`."""

from importlib import resources

from csnn_jax.files import write_atomic
from export.parts.part import Found, Part
from export.subject import ExportInputs, Subject

NAME = "check_onnx.py"


def write(source: ExportInputs) -> None:
    write_atomic(source.subject.folder / NAME, _script())


def check(subject: Subject, name: str) -> Found:
    """Nothing: it is this version's script, and is not run."""
    return Found()


def _script() -> bytes:
    return resources.files("export").joinpath("receiver.py").read_bytes()


PART = Part(
    what={NAME: "checks the ONNX files by the tensors of `golden/`, with NumPy and ONNX Runtime alone"},
    write=write,
    check=check,
)
