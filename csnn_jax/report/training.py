"""How training went: accuracy, loss, learning rate and densities over the iterations, with all runs in each chart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import mean, stdev
from typing import Any

import numpy as np

from csnn_jax.config import decided
from csnn_jax.document import charts
from csnn_jax.document.blocks import Block, Chart, Folded, Grid, Paragraph, Section, Table
from csnn_jax.document.charts import Series
from csnn_jax.document.numbers import percent
from csnn_jax.report.subject import ReportedRun
from csnn_jax.training.plan import learning_rates

FEW = 3  # up to this many runs, charts show everything
WIDTH = 25  # iterations in a loss's moving average


def section(subjects: Sequence[ReportedRun]) -> Section:
    """The charts of all runs, their results, and what went wrong."""
    several = len(subjects) > 1
    contents: list[Block] = [_summary(subjects), *_spread(subjects)] if several else []
    contents += [Grid((_accuracy(subjects), _loss(subjects)))]
    densities = [_densities(run) for run in subjects]
    if len(subjects) <= FEW:
        contents += [Grid((_rates(subjects), *densities))]
    else:
        contents += [_rates(subjects), Folded("Densities by layer, run by run", (Grid(densities),))]
    return Section("Training", (*contents, *(part for run in subjects for part in _health(run))))


def _summary(subjects: Sequence[ReportedRun]) -> Table:
    rows = [(run.name, run.iterations, _final(run), state(run)) for run in subjects]
    return Table("The runs", ("run", "iterations", "final test accuracy", "state"), rows)


def _final(subject: ReportedRun) -> str:
    """The final accuracy, with the number of images unless it's all, and their split unless it's the test images."""
    of, split = subject.config.train.eval_images, subject.run.final_split
    which = "" if split == "test" else f" ({split})"
    return percent(subject.accuracy) + ("" if of is None else f" (of {of:,} images)") + which


def _spread(subjects: Sequence[ReportedRun]) -> Iterator[Paragraph]:
    """The mean of runs that differ only in their seed; for others it would be meaningless."""
    known = [run.accuracy for run in subjects if run.accuracy is not None]
    jobs = [replace(run.config, train=replace(run.config.train, seed=0)) for run in subjects]
    if len(known) > 1 and all(job == jobs[0] for job in jobs):
        middle, deviation = mean(known), stdev(known)
        yield Paragraph(
            f"Mean of the {len(known)} final test accuracies: {middle:.2%}, standard deviation {deviation:.2%}."
        )


def state(subject: ReportedRun) -> str:
    """How a run ended, in a word or two."""
    if subject.run.finished:
        return "finished"
    return "interrupted" if subject.of_kind("end") else "not finished"


def _accuracy(subjects: Sequence[ReportedRun]) -> Chart | Paragraph:
    series = [line for subject in subjects for line in _accuracies(subject)]
    caption = (
        "Accuracy on the held-out images if there are any, otherwise on the test images. Stars: the end of training. "
        "The scale is stretched toward 100%."
    )
    shown, axis = charts.stretched(series)
    return _chart("Accuracy: no evaluations", caption, shown, "accuracy (%)", axis)


def _accuracies(subject: ReportedRun) -> Iterator[Series]:
    for kind in ("validation", "test"):
        if points := subject.of_kind(kind):
            x, y = [record["iter"] for record in points], [record["accuracy"] for record in points]
            yield Series(subject.name, x, y, subject.number, "lines+markers")
    if subject.accuracy is not None:
        end = subject.of_kind("end")[-1]["iter"]
        yield Series(subject.name, [end], [subject.accuracy], subject.number, "markers", symbol="star")


def _loss(subjects: Sequence[ReportedRun]) -> Chart | Paragraph:
    series = [line for subject in subjects for line in _losses(subject, len(subjects) <= FEW)]
    caption = f"Training loss, mean of the last {WIDTH} iterations" + (
        "; faint: every iteration." if len(subjects) <= FEW else "."
    )
    return _chart("Loss: no iterations", caption, series, "loss (nats)")


def _losses(subject: ReportedRun, each: bool) -> Iterator[Series]:
    x, y = _curve(subject, "loss")
    if len(x) and (each or len(x) < WIDTH):
        opacity = 0.35 if len(x) >= WIDTH else 1.0  # a short run has no averaged line
        yield Series(subject.name, *charts.thinned(x, y), subject.number, width=1, opacity=opacity)
    if len(x) >= WIDTH:
        smooth = np.convolve(y, np.ones(WIDTH) / WIDTH, "valid")
        yield Series(subject.name, *charts.thinned(x[WIDTH - 1 :], smooth), subject.number)


def _curve(subject: ReportedRun, key: str) -> tuple[np.ndarray, np.ndarray]:
    records = subject.of_kind("train")
    return np.array([record["iter"] for record in records], float), np.array([record[key] for record in records], float)


def _rates(subjects: Sequence[ReportedRun]) -> Chart | Paragraph:
    series = [line for subject in subjects for line in _rate(subject)]
    axis = {"rangemode": "tozero", "exponentformat": "power"}
    caption = "Learning rate set by the job's flags."
    return _chart("Learning rate: no iterations", caption, series, "learning rate", axis)


def _rate(subject: ReportedRun) -> Iterator[Series]:
    """A run's learning rate; not for an unfinished cosine, which depends on the job's length."""
    train = decided(subject.config).train
    if not subject.iterations or (train.schedule == "cosine" and not subject.run.finished):
        return
    rates = learning_rates(train, subject.iterations)
    shown = [0, *(i for i, (a, b) in enumerate(pairwise(rates), 1) if a != b), len(rates) - 1]
    places = np.unique(shown)
    yield Series(subject.name, *charts.thinned(places + 1, rates[places]), subject.number)


def _densities(subject: ReportedRun) -> Chart | Paragraph:
    records = subject.of_kind("train")
    names = list(records[0]["density"]) if records else []
    spiking = names[:-1] if subject.config.model.output == "integrator" else names
    x = [record["iter"] for record in records]
    series = []
    for number, name in enumerate(spiking):
        y = np.array([100 * record["density"][name] for record in records], float)
        series.append(Series(name, *charts.thinned(x, y), number, width=1.5))
    caption = f"Density by layer of {subject.name}: neurons that spike at a step."
    return _chart(f"Densities of {subject.name}: none", caption, series, "density (%)", {"rangemode": "tozero"})


def _health(subject: ReportedRun) -> Iterator[Block]:
    """The health messages that training printed, and how it was cut short."""
    events = [(record["iter"], record["text"]) for record in subject.of_kind("health")]
    if events:
        table = Table("Health", ("iteration", "what"), events)
        yield Folded(f"Health messages of {subject.name}", (table,))
    if not subject.of_kind("end") and subject.of_kind("train"):
        last: dict[str, Any] = subject.of_kind("train")[-1]
        yield Paragraph(
            f"{subject.name} hasn't ended: {last['iter']:,} iterations are recorded, the last with a loss of "
            f"{last['loss']:.4g}. Training was killed, reached a loss or gradient that isn't finite, or is still "
            "running.",
            note=True,
        )


def _chart(
    missing: str, caption: str, series: Sequence[Series], y: str, axis: Mapping[str, Any] | None = None
) -> Chart | Paragraph:
    """Lines over the iterations, or a note on what's missing if there are none."""
    if not series:
        return Paragraph(f"{missing} are recorded.", note=True)
    return charts.lines(caption, series, "iteration", y, y_axis=axis)
