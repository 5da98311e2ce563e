"""A network's answers: accuracy by class, confusion matrix, the worst mistakes, and how many steps it needs."""

from collections.abc import Iterator, Sequence

import numpy as np

from csnn_jax.document import charts
from csnn_jax.document.blocks import Block, Cell, Grid, Paragraph, Picture, Scored, Section, Shaded, Strong, Table
from csnn_jax.document.charts import Series
from csnn_jax.report import tiles
from csnn_jax.report.measure import Measured, mistakes
from csnn_jax.report.subject import ReportedRun

WORST = 12
FEW = 20  # up to this many classes, a matrix is a table of numbers


def answers(subject: ReportedRun, measured: Measured) -> Iterator[Section]:
    """Sections on the answers of one run."""
    result = measured.result
    lead = f"{result.accuracy:.2%} of {len(result.labels):,} test images are classified correctly."
    matrix = _heat if len(subject.classes) > FEW else confusion
    yield Section("Confusions between classes", (Paragraph(lead), matrix(result.confusion, subject.classes)))
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
        yield Section("The worst mistakes", (Paragraph(lead), Grid(shown, "tiny")))


def steps(subjects: Sequence[tuple[ReportedRun, Measured]]) -> list[Block]:
    """Accuracy of all measured runs if the window ended earlier."""
    series = [
        Series(subject.name, np.arange(1, len(measured.by_step) + 1), measured.by_step, subject.number, "lines+markers")
        for subject, measured in subjects
    ]
    above = "Accuracy on all test images if the window ended after this many steps. Ties go to the lowest class."
    shown, axis = charts.stretched(series)
    curves = [(subject.name, measured.by_step) for subject, measured in subjects]
    rows: list[list[Cell]] = [[name, *_needed(curve), f"{curve[-1]:.2%}"] for name, curve in curves]
    head = ("run", "steps to within 1%", "to within 0.1%", "accuracy of the whole window")
    return [
        charts.lines(above, shown, "steps", "accuracy (%)", y_axis=axis, x_axis=charts.STEPS),
        Table("Steps needed to get this close to the final accuracy", head, rows),
    ]


def _needed(by_step: np.ndarray) -> list[int]:
    """The steps after which accuracy stays within 1% and 0.1% of the final accuracy."""
    away = np.abs(by_step - by_step[-1])
    return [int(np.flatnonzero(np.append(True, away > bound))[-1]) + 1 for bound in (0.01, 0.001)]


def _heat(matrix: np.ndarray, classes: Sequence[str]) -> Block:
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    caption = "Fraction of each class's images (row) by answer (column)"
    return charts.heat(caption, share, classes, "answer", "true class")


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Table:
    """The number of images by class (row) and answer (column)."""
    most = max(1, int((matrix - np.diag(matrix.diagonal())).max()))
    rows: list[list[Cell]] = []
    for label, counts in enumerate(matrix.tolist()):
        total = sum(counts)
        shares = [(count / most) ** 0.5 for count in counts]
        shares[label] = counts[label] / max(total, 1)
        colors = ["--heat" if answer == label else "--wrong" for answer in range(len(counts))]
        cells = [Shaded(f"{count:,}", *shade) for count, *shade in zip(counts, shares, colors, strict=True)]
        rows.append([classes[label], *cells, total, f"{counts[label] / total:.1%}" if total else None])
    caption = "Test images by true class and answer; stronger colors mean more images"
    return Table(caption, ("true \\ answer", *classes, "images", "right"), rows)


def _mistake(measured: Measured, index: int, subject: ReportedRun) -> Scored:
    label, scores = int(measured.split.labels[index]), measured.scores[index]
    answer = int(scores.argmax())
    mistake = f"{subject.classes[label]} classified as {subject.classes[answer]}"
    pixels = tiles.still(measured.split.images[index])
    picture = Picture(tiles.png(pixels), f"Test image {index}: {mistake}", width=84)
    unit, what = (" spikes", "Output spikes") if not subject.sums_membranes else ("", "Summed membranes")
    numbers = f"{_score(scores[label])} vs. {_score(scores[answer])}{unit}"
    named = [*zip(subject.classes, scores, strict=True)]
    spoken = ", ".join([what, *(f"{name}: {_score(score)}" for name, score in named if score)])
    colors = {answer: "--series-2", label: "--series-1"}
    bars = [(name, float(score), colors.get(number, "--muted")) for number, (name, score) in enumerate(named)]
    return Scored(picture, bars, spoken, (Strong(mistake), f", {numbers} (image {index})"))


def _score(score: np.generic) -> str:
    """A count of spikes, or a sum of membranes."""
    return f"{score:.2f}" if isinstance(score, np.floating) else str(score)
