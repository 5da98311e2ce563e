"""The artifacts of a bundle, one module each.

To add one, write a module here that ends with its `PART`, or a tuple of them, and add a line to `PARTS`. `part.py` has
the interface.
"""

import functools
import importlib
from typing import TYPE_CHECKING

from csnn_jax.config.network import ModelConfig
from csnn_jax.runs.layouts import Tensors

if TYPE_CHECKING:
    from export.parts.part import Part

_ONNX = ("onnx", "onnxruntime")

PARTS: dict[str, tuple[str, ...]] = {
    "weights": (),
    "step": _ONNX,
    "sequence": _ONNX,
    "nir": ("nir",),
    "c_program": (),
    "golden": ("onnx",),
}
"""Every module, in the order of making and checking, with the packages that it needs besides torch and snnTorch. The
packages are listed here because a module can't be imported if one of its packages is missing."""


def packages() -> list[str]:
    """The packages that exports need in addition to those of csnn_jax, without duplicates."""
    return list(dict.fromkeys(["torch", "snntorch", *(name for needed in PARTS.values() for name in needed)]))


@functools.cache
def every() -> "tuple[Part, ...]":
    """All parts, in order."""
    parts = (importlib.import_module(f"{__name__}.{module}").PART for module in PARTS)
    return tuple(one for part in parts for one in (part if isinstance(part, tuple) else (part,)))


def refused(config: ModelConfig, tensors: Tensors) -> dict[str, str]:
    """Why this network can't be exported in some formats, by format; a shared reason is given for the first one."""
    reasons = {part.reason_against(config, tensors): part.form for part in reversed(every()) if part.form}
    return {form: reason for reason, form in reversed(reasons.items()) if reason}


def possible(config: ModelConfig, tensors: Tensors) -> "list[Part]":
    """The parts that this network supports, in order."""
    return [part for part in every() if part.reason_against(config, tensors) is None]
