"""Figures as users get them."""

import pytest


@pytest.fixture(autouse=True)
def drawn_as_for_users(constrained: None) -> None:
    """Text has its own place."""
