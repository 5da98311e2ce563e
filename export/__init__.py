"""Exports a trained run as a bundle of files that run elsewhere, proven equal to the trained network."""

import importlib.util
import os

from csnn_jax.errors import UserError
from export import parts

# Since version 1.29, ONNX Runtime sends usage data to its vendor. It reads this variable once, on import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def require_extras() -> None:
    """Raises a one-line UserError that says what to install if a package that exports need is missing."""
    missing = [name for name in parts.packages() if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: not installed, expected `pip install 'csnn-jax[export]'`")


def set_up() -> None:
    """Imports and configures JAX and torch for a command that makes or verifies a bundle."""
    import torch

    from csnn_jax.engine import process

    process.set_up("float32")
    torch.set_num_threads(1)  # for a step of a few images, two threads use twice the CPU time of one
