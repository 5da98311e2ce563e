"""Figures as users get them."""

import pytest

from csnn_jax.figures import style


@pytest.fixture(autouse=True)
def constrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text has its own place, as for users."""
    monkeypatch.setattr(style, "LAYOUT", "constrained")
