"""confusion.png: which classes are confused with which."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from csnn_jax.figures.style import COLUMN, PAGE, TEXT, new, short, styled

COUNTED = 20
"""Up to this many classes, cells show their counts."""
FEW, LONGEST = 3, 16
"""Characters of a class name that fit below a column; longer names are rotated, and cut at the second number."""
DIGIT = 0.64 * TEXT / 72
"""Width of a digit in inches."""


@styled
def draw(matrix: np.ndarray, accuracy: float, names: Sequence[str], of: str = "test") -> Figure:
    """A confusion matrix [true class, predicted class] with class names: right in blue, wrong in orange.

    `of` names the split.

    Mistakes are few, so they have a separate color scale, the square root of their number.
    """
    classes = len(matrix)
    shown = _shown(names)
    narrow = classes * (DIGIT * len(str(matrix.max())) + 0.02) < COLUMN - 0.4 and classes <= COUNTED
    width = COLUMN if narrow and max(map(len, shown.values())) <= FEW else PAGE
    figure = new(width, width + 0.1)
    axes = figure.subplots()
    edges = {"edgecolors": "white", "linewidth": 0.5} if classes <= COUNTED else {"rasterized": True}
    axes.pcolormesh(_colors(matrix), **edges)
    _name(axes, classes, shown)
    wrong = int(matrix.sum() - np.trace(matrix))
    axes.set_title(f"{matrix.sum():,} {of} images, {wrong:,} wrong, accuracy {accuracy:.2%}")
    if classes <= COUNTED:
        for row, column in np.argwhere(matrix):
            axes.text(column + 0.5, row + 0.5, str(matrix[row, column]), ha="center", va="center")
    return figure


def _colors(matrix: np.ndarray) -> np.ndarray:
    """RGBA of each cell [true, predicted, 4]; light enough for dark text on it."""
    right = np.eye(len(matrix), dtype=bool)
    wrong = np.where(right, 0, matrix)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    strength = np.sqrt(wrong / max(1, wrong.max()))
    colors = matplotlib.colormaps["Oranges"](np.where(wrong > 0, 0.06 + 0.42 * strength, 0.0))
    colors[wrong == 0] = 1.0
    colors[right] = matplotlib.colormaps["Blues"](0.05 + 0.4 * share[right])
    return colors


def _shown(names: Sequence[str]) -> dict[int, str]:
    """Labels of the axes: class names, or some of the class numbers if there are many."""
    classes = len(names)
    if classes <= 30:
        return {number: short(name, LONGEST) for number, name in enumerate(names)}
    return {number: str(number) for number in range(0, classes, 10 if classes <= 300 else 100)}


def _name(axes: Axes, classes: int, shown: Mapping[int, str]) -> None:
    centers = [number + 0.5 for number in shown]
    axes.set_xticks(centers, list(shown.values()), rotation=90 if max(map(len, shown.values())) > FEW else 0)
    axes.set_yticks(centers, list(shown.values()))
    axes.set(xlabel="predicted class", ylabel="true class", aspect="equal", ylim=(classes, 0))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
