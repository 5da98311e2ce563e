"""confusion.png: every count can be read, the small ones too."""

import numpy as np
import pytest
from drawn import check_printable, words
from matplotlib.colors import to_rgb

from csnn_jax.figures import confusion
from csnn_jax.figures.style import COLUMN, INK, PAGE


def matrix(classes: int, right: int = 1000) -> np.ndarray:
    found = np.eye(classes, dtype=int) * right
    found[1, 0], found[0, -1] = 1, 40
    return found


@pytest.mark.parametrize(
    ("classes", "right", "width"),
    [(2, 3, COLUMN), (10, 1135, COLUMN), (10, 123456, PAGE), (20, 999, PAGE), (40, 9, PAGE)],
)
def test_counts_fit_into_their_cells(classes, right, width):
    figure = confusion.draw(matrix(classes, right), 0.5)
    assert figure.get_figwidth() == width
    check_printable(figure)
    assert ({"1", "40", str(right)} <= set(words(figure))) is (classes <= confusion.COUNTED)


def test_a_single_mistake_is_seen_and_text_stands_out_from_every_cell():
    colors = confusion._colors(matrix(10))
    white, one, most = colors[2, 5], colors[1, 0], colors[0, 9]
    assert tuple(white[:3]) == (1, 1, 1) and np.abs(one - white).max() > 0.05 and np.abs(most - white).max() > 0.3
    assert min(contrast(cell[:3], np.array(to_rgb(INK))) for row in colors for cell in row) > 4.5


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG's contrast ratio of two colours."""

    def luminance(color: np.ndarray) -> float:
        linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return light / dark
