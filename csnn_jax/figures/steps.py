"""steps.png: accuracy by number of steps used."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from csnn_jax.figures.style import BLUE, COLUMN, new, powers, styled


@styled
def draw(accuracies: Sequence[float], of: str = "test") -> Figure:
    """The accuracy if the window ended after each step, on a logarithmic axis.

    `of` names the split.
    """
    figure = new(COLUMN, 2.2)
    axes = figure.subplots()
    steps = range(1, len(accuracies) + 1)
    axes.plot(steps, [100 * accuracy for accuracy in accuracies], color=BLUE, marker="o" if len(steps) <= 30 else "")
    axes.set(xscale="log", xlabel="steps used", ylabel=f"{of} accuracy (%)")
    powers(axes, "x")
    return figure
