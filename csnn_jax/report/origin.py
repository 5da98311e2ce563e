"""Where a run comes from: its configuration, the command that repeats it, and the machine that made the report."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from csnn_jax import data, machine
from csnn_jax.config import Config, ModelConfig, decided
from csnn_jax.data import Dataset
from csnn_jax.document.blocks import Block, Code, Folded, Listing, Paragraph, Section, Table
from csnn_jax.flags import values_of
from csnn_jax.options import Described, flag_of, options_of, show, words_of
from csnn_jax.report.subject import ReportedRun, shown_dataset

AUTO = {
    "model": ("num_classes", "time_steps", "scale", "surrogate", "slope"),
    "train": ("init", "lr", "microbatch"),
}
"""What the data set or the stack determines if no flag does, in this order."""


def section(subjects: Sequence[ReportedRun], engines: Sequence[str], command: str) -> Section:
    """The section on all runs; `engines` ran those that were measured, `command` made this report."""
    again = Listing(command, "The command that makes this report")
    place = Section("The machine of this report", (_machine(engines), again))
    return Section("Where it comes from", (*_differences(subjects), *_repeated(subjects), place))


def _differences(subjects: Sequence[ReportedRun]) -> Iterator[Block]:
    """The flags in which the runs differ."""
    if len(subjects) < 2:
        return
    tables = [flags(run.config) for run in subjects]
    names = dict.fromkeys(name for table in tables for name in table)
    columns = {name: [table.get(name, "-") for table in tables] for name in names}
    rows = [(name, *values) for name, values in columns.items() if len({*values}) > 1]
    if rows:
        yield Table("Flags that differ between the runs", ("flag", *(run.name for run in subjects)), rows)
    else:
        yield Paragraph("The runs were trained with the same flags.")


def flags(config: Config) -> dict[str, str]:
    """Every flag of a job with its value, as text."""
    values = values_of(config) | {"dataset": shown_dataset(config.data.dataset)}
    return {flag_of(name): _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    return "none" if value is None or value == () else show(value)


def _repeated(subjects: Sequence[ReportedRun]) -> Iterator[Block]:
    """The commands that repeat the runs, and all their flags."""
    rows = [(run.name, Code(repeating(run.config, run.dataset, run.name)), _minutes(run)) for run in subjects]
    remark = "csnn_torch.train has the same flags. A run doesn't record which framework or machine trained it."
    commands = Table("Commands to train each run again", ("run", "command", "minutes"), rows)
    yield Section("How to repeat the training", (commands, Paragraph(remark)))
    for run in subjects:
        table = Table(f"Configuration of {run.name}", ("flag", "value"), [*flags(run.config).items()])
        yield Folded(f"All flags of {run.name}", (table,))


def _minutes(subject: ReportedRun) -> str:
    """Minutes of training; a dash for a converted run."""
    ends = [end["seconds"] for end in subject.of_kind("end") if "seconds" in end]
    return f"{ends[-1] / 60:.1f}" if ends else "-"


def repeating(config: Config, dataset: Dataset | None, run: str) -> str:
    """The command that trains a job again, with no more flags than it needs.

    Args:
        config: as stored in the run, with everything determined.
        dataset: its images, which determine part of it; None: not available.
        run: the run directory, whose configuration has a network of nodes.
    """
    asked, words = _asked(config, dataset), ["python", "-m", "csnn_jax.train"]
    plain, values = values_of(Config()), values_of(asked)
    if asked.train.init_from is not None:  # the network has other defaults
        plain |= {option.name: None for option in options_of(ModelConfig)}
    for name in (name for name, value in values.items() if value != plain[name]):
        flag, *given = words_of(name, shown_dataset(values[name]) if name == "dataset" else values[name])
        words += [flag, *(f"{run}/{word}" if isinstance(values[name], Described) else word for word in given)]
    return shlex.join(words)


def _asked(config: Config, dataset: Dataset | None) -> Config:
    """The job with defaults for everything that would be determined anyway."""
    asked = _with(config, "data", "classes", None)  # the default num_classes may be fewer
    for part, names in AUTO.items():
        for name in names:
            asked = _with(asked, part, name, getattr(getattr(Config(), part), name))
    for part, names in AUTO.items():
        for name in names:
            value, made = getattr(getattr(config, part), name), _completed(asked, dataset)
            # Naming a surrogate gives it its usual slope.
            otherwise = name == "surrogate" and made.model.slope != config.model.slope
            if getattr(getattr(made, part), name) != value or otherwise:
                asked = _with(asked, part, name, value)
    return asked


def _with(config: Config, part: str, name: str, value: Any) -> Config:
    return replace(config, **{part: replace(getattr(config, part), **{name: value})})


def _completed(config: Config, dataset: Dataset | None) -> Config:
    if dataset:
        config = replace(config, model=data.fit_model(config.model, dataset))
    return decided(config)


def _machine(engines: Sequence[str]) -> Table:
    about = machine.describe()
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    rows: list[tuple[str, str]] = [("processor", about["processor"]), ("CPUs", str(about["cpus"]))]
    rows += [("Python", about["python"]), ("packages", versions), ("commit", machine.commit() or "unknown")]
    rows += [("run by", ", ".join(dict.fromkeys(engines)) or "none"), ("day", date.today().isoformat())]
    return Table("Where the test images were run", ("", "what"), rows)
