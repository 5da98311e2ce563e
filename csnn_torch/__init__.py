"""The same network in snnTorch: trains it, converts foreign weights, and compares the two frameworks."""

import importlib

from csnn_jax.errors import UserError


def require_torch(*names: str) -> None:
    """Imports torch and snnTorch, or only those of them in `names`.

    Raises:
        UserError: one of them is missing; the message names the extra to install.
    """
    for name in names or ("torch", "snntorch"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(f"csnn_torch needs {name} ({error}); expected `pip install 'csnn-jax[torch]'`") from None
