"""What a figure shows and whether it can be printed, according to the figure's own objects."""

import itertools

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from csnn_jax.figures.style import COLUMN, PAGE, TEXT


def texts(figure: Figure) -> list[Text]:
    """All visible texts, at their final positions."""
    figure.draw_without_rendering()
    axes = figure.findobj(Axes, include_self=False)
    unseen = {label for one in axes for axis in (one.xaxis, one.yaxis) for label in _beyond(axis)}
    visible = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in visible if text not in unseen]


def words(figure: Figure) -> list[str]:
    """The strings of all visible texts."""
    return [text.get_text() for text in texts(figure)]


def _beyond(axis: Axis) -> set[Text]:
    """Tick labels outside the limits, which aren't drawn."""
    within = axis._update_ticks()
    every = [*axis.majorTicks, *axis.minorTicks]
    return {label for tick in every if tick not in within for label in (tick.label1, tick.label2)}


def check_printable(figure: Figure) -> None:
    """Checks that it's one or two columns wide, and that texts have 8 points or more, are inside and don't overlap."""
    assert figure.get_figwidth() in (COLUMN, PAGE)
    visible = texts(figure)
    assert [text.get_text() for text in visible if text.get_fontsize() < TEXT] == []
    boxes = [(text.get_text(), text.get_window_extent()) for text in visible]
    (left, bottom), (right, top) = figure.bbox.min - 1, figure.bbox.max + 1
    outside = [text for text, box in boxes if box.x0 < left or box.y0 < bottom or box.x1 > right or box.y1 > top]
    pairs = itertools.combinations(boxes, 2)
    over = [(one, other) for (one, a), (other, b) in pairs if a.padded(-1).overlaps(b.padded(-1))]
    assert (outside, over) == ([], [])
