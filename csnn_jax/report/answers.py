"""A network's answers: accuracy by class, confusion matrix, the worst mistakes, and how many steps it needs."""

from collections.abc import Iterator, Sequence

import numpy as np

from csnn_jax.document import charts
from csnn_jax.document import html as page
from csnn_jax.document.charts import Series
from csnn_jax.document.html import Content, Html, element
from csnn_jax.report import tiles
from csnn_jax.report.measure import Measured, mistakes
from csnn_jax.report.subject import ReportedRun

WORST = 12
FEW = 20  # up to this many classes, a matrix is a table of numbers


def answers(subject: ReportedRun, measured: Measured) -> Iterator[Content]:
    """Sections on the answers of one run."""
    result = measured.result
    yield page.subsection(
        "Confusions between classes",
        page.paragraph(f"{result.accuracy:.2%} of {len(result.labels):,} test images are classified correctly."),
        _confusion(result.confusion, subject.classes),
    )
    worst = mistakes(result.labels, measured.scores)
    if len(worst):
        shown = [_mistake(measured, int(index), subject) for index in worst[:WORST]]
        most, bars = "whose answer beats the true class by the most output spikes", "output spikes"
        if subject.sums_membranes:
            most = "whose answer beats the true class by the largest difference in summed membranes"
            bars = "summed membranes"
        lead = (
            f"{len(worst):,} images are misclassified. These are the {len(shown)} {most}. "
            f"Bars are {bars} by class: blue for the true class, orange for the answer."
        )
        yield page.subsection("The worst mistakes", page.paragraph(lead), page.grid(shown, "tiny"))


def steps(subjects: Sequence[tuple[ReportedRun, Measured]]) -> Html:
    """Accuracy of all measured runs if the window ended earlier."""
    series = [
        Series(one.name, np.arange(1, len(measured.by_step) + 1), measured.by_step, one.number, "lines+markers")
        for one, measured in subjects
    ]
    above = "Accuracy on all test images if the window ended after this many steps. Ties go to the lowest class."
    shown, axis = charts.stretched(series)
    chart = charts.lines(above, shown, "steps", "accuracy (%)", y_axis=axis, x_axis=charts.STEPS)
    curves = [(one.name, measured.by_step) for one, measured in subjects]
    rows = [(name, *map(_shown, _needed(curve)), f"{curve[-1]:.2%}") for name, curve in curves]
    head = ("run", "steps to within 1%", "to within 0.1%", "accuracy of the whole window")
    caption = "Steps needed to get this close to the final accuracy"
    return page.joined((chart, page.table(caption, head, rows)))


def _needed(by_step: np.ndarray) -> list[int]:
    """The steps after which accuracy stays within 1% and 0.1% of the final accuracy."""
    away = np.abs(by_step - by_step[-1])
    return [int(np.flatnonzero(np.append(True, away > bound))[-1]) + 1 for bound in (0.01, 0.001)]


def _shown(number: int) -> str:
    return f"{number:,}"


def _confusion(matrix: np.ndarray, classes: Sequence[str]) -> Html:
    if len(matrix) > FEW:
        share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        caption = "Fraction of each class's images (row) by answer (column)"
        return charts.heat(caption, share, classes, "answer", "true class", height=560)
    most = max(1, int((matrix - np.diag(matrix.diagonal())).max()))
    head = ("true \\ answer", *classes, "images", "right")
    rows = [_row(label, row, classes, most) for label, row in enumerate(matrix)]
    return page.table("Test images by true class and answer; stronger colors mean more images", head, rows)


def _row(label: int, row: np.ndarray, classes: Sequence[str], most: int) -> list[Content | int | None]:
    total = int(row.sum())
    cells: list[Content | int | None] = [classes[label]]
    for answer, count in enumerate(row):
        right = answer == label
        share = count / total if right and total else (count / most) ** 0.5 if count else 0
        cells.append(_shaded(int(count), share, "--heat" if right else "--wrong"))
    return [*cells, total, f"{row[label] / total:.1%}" if total else "no images"]


def _shaded(count: int, share: float, colour: str) -> Html:
    if not count:
        return element("span", "0", class_="cell none")
    style = f"background:color-mix(in srgb, var({colour}) {100 * share:.0f}%, transparent)"
    return element("span", f"{count:,}", class_="cell", style=style)


def _mistake(measured: Measured, index: int, subject: ReportedRun) -> Html:
    label, scores = int(measured.split.labels[index]), measured.scores[index]
    answer = int(scores.argmax())
    name, taken = subject.classes[label], subject.classes[answer]
    said = f"{name} classified as {taken}"
    numbers = f"{_score(scores[label])} vs. {_score(scores[answer])}"
    numbers += "" if subject.sums_membranes else " spikes"
    image = page.picture(tiles.png(tiles.still(measured.split.images[index])), f"Test image {index}: {said}", width=84)
    caption = element("figcaption", element("strong", said), f", {numbers} (image {index})")
    return element("figure", element("div", image, _bars(scores, label, answer, subject), class_="pair"), caption)


def _score(score: np.generic) -> str:
    """A count of spikes, or a sum of membranes."""
    return f"{score:.2f}" if isinstance(score, np.floating) else str(score)


def _bars(scores: np.ndarray, label: int, answer: int, subject: ReportedRun) -> Html:
    """Scores by class as a tiny chart, in which negative ones point down; its description lists the numbers."""
    width, classes = 8, subject.classes
    low, high = scores.min(initial=0), scores.max(initial=0)
    most = (high - low) or 1
    zero = 62 + 60 * low / most
    marks = []
    for number, score in enumerate(scores):
        colour = "--series-1" if number == label else "--series-2" if number == answer else "--muted"
        y, height = f"{zero - 60 * max(score, 0) / most:.1f}", f"{1 + 60 * abs(score) / most:.1f}"
        style = f"fill:var({colour})"
        marks.append(element("rect", x=number * width, y=y, width=width - 2, height=height, style=style))
        if max(map(len, classes)) == 1:
            middle = number * width + width // 2 - 1
            marks.append(element("text", classes[number], x=middle, y=73, text_anchor="middle"))
    spoken = ", ".join(f"{name}: {_score(score)}" for name, score in zip(classes, scores, strict=True) if score)
    what = "Summed membranes" if subject.sums_membranes else "Output spikes"
    whole = f"0 0 {width * len(scores)} 76"
    return element("svg", *marks, viewBox=whole, role="img", aria_label=f"{what}, {spoken}", class_="bars")
