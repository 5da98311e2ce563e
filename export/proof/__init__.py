"""Runs every file, compares it with the network in torch, and measures it."""

from typing import Any

Figures = dict[str, Any]
"""Results, ready for JSON."""
