"""The contents of a report, in order."""

from collections.abc import Mapping, Sequence

from csnn_jax.document.blocks import Document, Paragraph, Section
from csnn_jax.engine import process
from csnn_jax.report import answers, cost, film, neurons, origin, training
from csnn_jax.report.measure import Measured, measure
from csnn_jax.report.subject import ReportedRun, shown_dataset


def measured(subjects: Sequence[ReportedRun]) -> dict[int, Measured]:
    """Measures the networks that can be run; returns the results by run number."""
    measured = {}
    for subject in subjects:
        if subject.dataset is not None:
            process.set_up(subject.config.train.dtype)
            print(f"{subject.name}: running {len(subject.dataset.test.labels):,} test images", flush=True)
            measured[subject.number] = measure(subject)
    return measured


def document(subjects: Sequence[ReportedRun], measured: Mapping[int, Measured], command: str) -> Document:
    """The whole report.

    Args:
        subjects: the runs.
        measured: their measurements, by number.
        command: the command that made this report.
    """
    pairs = [(run, measured[run.number]) for run in subjects if run.number in measured]
    sections = [training.section(subjects)]
    if pairs:
        sections.append(Section("Accuracy against steps", answers.steps(pairs)))
    for run, measures in pairs:
        sections += _details(run, measures, f" of {run.name}" if len(subjects) > 1 else "")
    sections.append(origin.section(subjects, [measures.engine for _, measures in pairs], command))
    title = f"Report of {subjects[0].name}" if len(subjects) == 1 else f"Report of {len(subjects)} runs"
    return Document(title, [*map(Paragraph, _lead(subjects, measured))], sections)


def _details(subject: ReportedRun, measured: Measured, suffix: str) -> list[Section]:
    """The sections on one run."""
    return [
        Section(f"Answers{suffix}", [*answers.answers(subject, measured)]),
        Section(f"Spikes{suffix}", (Paragraph(film.LEGEND), film.film(subject, measured))),
        Section(f"Neurons{suffix}", [*neurons.neurons(subject, measured)]),
        Section(f"Synaptic operations{suffix}", cost.cost(subject, measured)),
    ]


def _lead(subjects: Sequence[ReportedRun], measured: Mapping[int, Measured]) -> list[str]:
    """The first paragraphs: what the page is about, and what's missing."""
    lines = [_described(run) for run in subjects[:1]] if len(subjects) == 1 else []
    what = "answers, neurons, spikes and operations are missing"
    lines += [f"{run.name}: {what}. {' '.join(run.missing)}" for run in subjects if run.missing]
    others = [run.name for run in subjects if run.number not in measured and not run.missing]
    if others:
        lines.append(
            f"Details are shown for {len(measured)} of {len(subjects)} runs. The others are in the curves and tables "
            f"of all runs; --details {len(subjects)} shows all of them in a larger file."
        )
    return lines


def _described(subject: ReportedRun) -> str:
    config, model = subject.config, subject.config.model
    sizes = ", ".join(f"{node.name.rstrip('0123456789')}{node.channels}" for node in model.graph.weighted)
    number = subject.measured_at
    at = "" if number is None else f" Measurements are for its weights after {number:,} iterations."
    dataset = subject.dataset
    if dataset is not None and dataset.name != config.data.dataset:
        at += f" The test images are from {shown_dataset(dataset.name)}."
    split = subject.run.final_split
    final = f" Its final {split} accuracy is {subject.accuracy:.2%}." if subject.accuracy is not None else ""
    if split != "test":
        at += " The data set has no test images; below, test images are those that --validation held out."
    read = " Its class is read from the output membranes, summed over the window." if subject.sums_membranes else ""
    trained = (
        f"trained for {subject.iterations:,} iterations on {shown_dataset(config.data.dataset)} "
        f"({training.state(subject)})"
    )
    if any("converted_from" in end for end in subject.of_kind("end")):
        trained = "converted from another program's file"
    network = f"A spiking network of {sizes}, with {model.time_steps} time steps per image."
    return f"{network}{read} It was {trained}.{final}{at}"
