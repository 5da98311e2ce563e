"""From a trained run to a bundle of files that run elsewhere, proven equal to the trained network."""

import importlib.util
import os

from csnn_jax.errors import UserError
from export import parts

# ONNX Runtime from 1.29 on reports its use to its maker. It asks for this once, when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def require_extras() -> None:
    """Raises UserError, in one line with the remedy, where a package that exports need is not installed."""
    missing = [name for name in parts.packages() if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: not installed, expected `pip install 'csnn-jax[export]'`")


def set_up() -> None:
    """Prepares JAX and torch for a command that makes or verifies a bundle; imports both."""
    import torch

    from csnn_jax.engine import process

    process.set_up("float32")
    torch.set_num_threads(1)  # a step of a few images takes two threads twice the processor time of one
