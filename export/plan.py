"""The steps that make a bundle: `export` runs them to create one, and `export.verify` to compare one with it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import add
from typing import NamedTuple

from csnn_jax.config import Config
from csnn_jax.config.job import job_to_json
from csnn_jax.data import Split
from csnn_jax.document.numbers import measured
from csnn_jax.files import write_atomic
from csnn_jax.runs import footprint
from csnn_jax.runs.equality import in_words
from csnn_jax.runs.layouts import Tensors, digest
from csnn_jax.trained import Trained
from export import parts
from export.bundle import CONFIG
from export.graphs import few_bits
from export.network import Bundle
from export.parts.part import CheckResult, Part, Timing
from export.proof import Figures
from export.proof.equality import CheckImages
from export.report import tools


class Step(NamedTuple):
    """One step of a plan.

    Attributes:
        task: what it does, for the progress bar.
        run: does it.
        images: approximate number of images that it processes.
    """

    task: str
    run: Callable[[], None]
    images: int = 0


@dataclass(eq=False)
class Plan(ABC):
    """Writes a bundle's files, checks and times each of them, and describes the results.

    Subclasses say what follows: when a bundle is made, a problem ends the plan; when one is verified, its files,
    results and reports are compared.

    Attributes:
        bundle: the bundle to make.
        images: the images and reference results to check the files on.
        test: the whole test set, for the accuracy with the time steps used in training; None: only `images` are used.
        accuracy: the trained network's on `test`, if it's known.
        results: what the checks found, and everything else in the manifest that follows from the other files.
        latency: of one call of every file that runs, by name.
    """

    bundle: Bundle
    images: CheckImages
    test: Split | None
    accuracy: float | None = field(default=None, kw_only=True)
    results: Figures = field(default_factory=dict, init=False)
    latency: Figures = field(default_factory=dict, init=False)

    def execute(self) -> None:
        """Runs all steps in order."""
        work, steps = self.images.work, self.steps()
        work.plan(len(steps))
        for step in steps:
            with work.task(step.task, step.images):
                step.run()

    def steps(self) -> list[Step]:
        """All steps, in order."""
        possible = parts.possible(self.bundle.network.model, self.bundle.network.tensors)
        processed = self.images.count + len(self.images.test.labels)
        checks = [
            Step(f"checking {name}", partial(self._check, part, name, results), processed)
            for part, results in [(part, part.check(self.bundle, self.images)) for part in possible]
            for name in part.what
        ]
        return [
            *self.writing(possible),
            Step("comparing the files", self.written),
            *checks,
            Step("describing the results", self._describe),
            *(Step(f"timing {name}", partial(self._time, name, one)) for name, one in self.timed()),
            Step("the report", self.report),
        ]

    def writing(self, possible: Sequence[Part]) -> list[Step]:
        """The steps that write config.json and these parts."""
        bundle = self.bundle
        config = partial(write_atomic, bundle.folder / CONFIG, job_to_json(bundle.job).encode())
        others = (Step(f"writing {next(iter(part.what))}", partial(part.write, bundle)) for part in possible)
        return [Step(f"writing {CONFIG}", config), *others]

    def check(self, name: str, results: Iterator[CheckResult]) -> CheckResult:
        """Runs the check of a file, the next of those of its part."""
        return next(results)

    def timed(self) -> list[tuple[str, Timing]]:
        """The files to time: first those that take one step per call, then those that take a whole window."""
        possible = parts.possible(self.bundle.network.model, self.bundle.network.tensors)
        timings = [(name, part.timing) for part in possible if part.timing for name in part.what]
        return sorted(timings, key=lambda one: one[1].call == "whole window")

    @abstractmethod
    def written(self) -> None:
        """Called when all files are written."""

    @abstractmethod
    def checked(self, part: Part, name: str, result: CheckResult) -> None:
        """Called after the check of a file."""

    @abstractmethod
    def report(self) -> None:
        """Called when `results` and `latency` are complete; writes or compares the manifest and the reports."""

    def _check(self, part: Part, name: str, results: Iterator[CheckResult]) -> None:
        result = self.check(name, results)
        self.results.setdefault("files", {})[name] = result.figures
        self.checked(part, name, result)

    def _describe(self) -> None:
        network, job = self.bundle.network, self.bundle.job
        model, tensors, files = network.model, network.tensors, self.results["files"]
        trained, test = (network.config, self.images.test) if self.test is None else (job, self.test)
        reasons = {part.form: part.reason_against(model, tensors) for part in parts.every() if part.form}
        batches = ((one.x.numpy(), list(one.trace.spikes.values())) for one in self.images.compared)
        activity = reduce(add, (footprint.Activity.of(model, *batch) for batch in batches))
        self.results |= {
            "sha256_of_tensors": digest(tensors),
            "job": {
                "dataset": job.data.dataset,
                "seed": job.train.seed,
                "dtype": job.train.dtype,
                "time_steps": job.model.time_steps,
                "weight_bits": job.model.weight_bits,
            },
            "accuracy": trained_accuracy(trained, tensors, test) if self.accuracy is None else self.accuracy,
            "accuracy_images": len(self.images.test.labels),
            "semantics": network.semantics,
            **{form.lower(): {"written": reason is None, "reason": reason} for form, reason in reasons.items()},
            "numbers": footprint.numbers(model, tensors, activity),
            "targets": [row._asdict() for row in tools.running(files, few_bits.width(self.bundle.step_graph))],
        }

    def _time(self, name: str, timing: Timing) -> None:
        self.latency[name] = timing.measure(self.bundle, self.images.few(1), name, self.images.extent.seconds)


def summary(part: Part, result: CheckResult, images: int | None) -> str:
    """A check's result in one line, with the accuracy on `images` images; None: too few to state one."""
    if result.problems:
        return "; ".join(result.problems)
    ran = [result.figures[key] for key in part.run_by if key in result.figures]
    line = ["ok", *(in_words(figures, "torch", ("spikes", "membranes")) for figures in ran[:1])]
    if "accuracy" in result.figures and images is not None:
        line.append(f"accuracy {measured(result.figures['accuracy'], images)} on {images:,} images")
    return ", ".join(line)


def trained_accuracy(config: Config, tensors: Tensors, test: Split) -> float:
    """The trained network's accuracy in csnn_jax, on the whole test set and with the time steps used in training."""
    config = replace(config, train=replace(config.train, dtype="float32", engine="auto"))
    return Trained(config, tensors).evaluate(test).accuracy
