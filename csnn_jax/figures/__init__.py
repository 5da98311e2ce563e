"""The figures of runs, and the style of all figures of this project."""

from typing import Literal

Figures = Literal["png", "pdf"]
"""What pictures are written as; pdf: as PDF too."""
