"""confusion.png: every count is readable, even small ones."""

import numpy as np
import pytest
from drawn import check_printable, words

from csnn_jax.figures import confusion
from csnn_jax.figures.style import COLUMN, PAGE


def matrix(classes: int, right: int = 1000) -> np.ndarray:
    counts = np.eye(classes, dtype=int) * right
    counts[1, 0], counts[0, -1] = 1, 40
    return counts


@pytest.mark.parametrize(
    ("classes", "right", "width"),
    [(2, 3, COLUMN), (10, 1135, COLUMN), (10, 123456, PAGE), (20, 999, PAGE), (40, 9, PAGE)],
)
def test_counts_fit_into_their_cells(classes, right, width):
    figure = confusion.draw(matrix(classes, right), 0.5, [*map(str, range(classes))])
    assert figure.get_figwidth() == width
    check_printable(figure)
    assert ({"1", "40", str(right)} <= set(words(figure))) is (classes <= confusion.COUNTED)


def test_classes_have_their_names():
    names = ["cat", "$dog$", "a spider that is very long"]
    figure = confusion.draw(matrix(3), 0.5, names)
    check_printable(figure)
    for name in ("cat", "$dog$", "a spider that i\N{HORIZONTAL ELLIPSIS}"):
        assert words(figure).count(name) == 2


def test_a_single_mistake_is_visible():
    colors = confusion._colors(matrix(10))
    white, one, most = colors[2, 5], colors[1, 0], colors[0, 9]
    assert tuple(white[:3]) == (1, 1, 1) and np.abs(one - white).max() > 0.05 and np.abs(most - white).max() > 0.3
