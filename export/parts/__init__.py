"""The artifacts of a bundle, one module each.

One more is a new module here, with its `PART` at the end, and a line in `PARTS`. `part.py` is their interface, and
`nir_reader.py` that of files for readers of NIR.
"""

import functools
import importlib
from typing import TYPE_CHECKING

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors

if TYPE_CHECKING:
    from export.parts.part import Part

_ONNX = ("onnx", "onnxscript", "onnxruntime")

PARTS: dict[str, tuple[str, ...]] = {
    "weights": (),
    "step": _ONNX,
    "sequence": _ONNX,
    "nir": ("nir",),
    "nir_norse": ("nir",),
    "nir_sinabs": ("nir",),
    "nir_spikingjelly": ("nir",),
    "c_program": (),
    "golden": ("onnx",),
    "golden_c": ("onnx",),
    "check_onnx": (),
}
"""Every module, in the order in which they are made and checked, with the packages that it needs beside torch and
snnTorch. They are listed here because a module can't be imported where one of its packages is missing."""


def packages() -> list[str]:
    """Every package that exports need beyond those of csnn_jax, once."""
    return list(dict.fromkeys(["torch", "snntorch", *(name for needed in PARTS.values() for name in needed)]))


@functools.cache
def every() -> "tuple[Part, ...]":
    """All parts, in order."""
    return tuple(importlib.import_module(f"{__name__}.{module}").PART for module in PARTS)


def refused(config: ModelConfig, tensors: Tensors) -> dict[str, str]:
    """Why this network can't have some formats, by format; a reason that several have stands at the first one."""
    reasons = {part.reason_against(config, tensors): part.form for part in reversed(every()) if part.form}
    return {form: reason for reason, form in reversed(reasons.items()) if reason}


def possible(config: ModelConfig, tensors: Tensors) -> "list[Part]":
    """The parts that this network can have, in order."""
    return [part for part in every() if part.reason_against(config, tensors) is None]
