"""The figures of runs, and the style of all the project's figures."""

from typing import Literal

Figures = Literal["png", "pdf"]
"""The format of figures; pdf: PDF in addition to PNG."""
