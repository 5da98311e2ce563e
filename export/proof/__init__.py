"""How every file is run, compared with the network in torch, and measured."""

from typing import Any

Figures = dict[str, Any]
"""What was found, ready for JSON."""
