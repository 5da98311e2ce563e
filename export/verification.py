"""Verifies a bundle: makes its files again from the weights, and compares everything in the bundle.

A received bundle is only read. Files that are run on images are made here and compared with the bundle's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from csnn_jax import reading
from csnn_jax.document import html
from csnn_jax.errors import UserError, first_line, printable
from export import hashes, manifest
from export.bundle import MANIFEST, PAGE, REPORT, Manifest
from export.parts.part import CheckResult, Part, Timing
from export.plan import Plan, summary
from export.proof import received, statements
from export.report import text
from export.settings import Effort
from export.work import Work

DIFFERENT, INCOMPLETE = 1, 3
"""Exit codes: something differs or couldn't be verified; nothing differs, but not everything could be checked."""


@dataclass
class Lines:
    """Prints a line per file, counts those that differ, and records what couldn't be checked or was skipped."""

    different: int = 0
    unchecked: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def add(self, name: str, problems: Sequence[str], praise: str = "ok") -> None:
        """Prints the line of a file: its first problems, or `praise`."""
        self.different += bool(problems)
        shown = problems if len(problems) <= 5 else [*problems[:5], f"and {len(problems) - 5:,} more"]
        print(printable(f"{name:<24} {'; '.join(shown) or praise}"), flush=True)

    def end(self, *notes: str) -> int:
        """Prints the last line; returns the exit code."""
        left_out = {"NOT CHECKED": self.unchecked, "skipped": self.skipped}
        missing = [f"{why}: {', '.join(names)}" for why, names in left_out.items() if names]
        details = "; ".join(filter(None, (*missing, *notes)))
        complete = "ok" if self.skipped else "all ok"
        result = "NOT OK" if self.different else "ok as far as checked" if self.unchecked else complete
        print(printable(f"{result}{details and f' ({details})'}"))
        return DIFFERENT if self.different else INCOMPLETE if self.unchecked else 0


def verify(
    folder: Path, scratch: Path, dataset: str | None = None, effort: Effort | None = None, work: Work | None = None
) -> int:
    """Checks a bundle and prints one line per file.

    Args:
        folder: the bundle, with its manifest.json. Nothing is written to it, and nothing in it is run.
        scratch: an empty folder, in which the bundle's files are made again.
        dataset: the data set for the bundle's figures, by its local name, see `data.load`; None: MNIST, which ships
            with the package, if the bundle uses it.
        effort: quick: compare spikes on a few images only, and no figures; thorough: on as many images as a thorough
            export; None: on as many as when it was made.
        work: shows the progress.

    Returns:
        The exit code: 0; 1 if anything differs or couldn't be verified; 3 if nothing differs, but not everything could
            be checked.
    """
    lines = Lines()
    try:
        recorded = manifest.read(folder)
        for name, problem in manifest.file_problems(folder, recorded).items():
            lines.add(name, [problem])
        if lines.different:
            return lines.end("the contents of the files were not checked")
        lines.add("SHA-256", [], f"ok, {len(recorded['hashes']):,} files match {MANIFEST}")
        bundle, images, test = received.open_bundle(folder, scratch, recorded, dataset, effort, work)
        same_images = None if effort else test
        verifying = Verifying(bundle, images, same_images, lines, folder, recorded, effort, test is not None)
        verifying.execute()
    except received.NoDataset:
        raise
    except (UserError, OSError) as error:
        path, _, problem = str(error).partition(": ")  # it usually starts with the file
        inside = Path(path) != folder and Path(path).is_relative_to(folder)
        name = Path(path).relative_to(folder).as_posix() if inside else MANIFEST
        lines.add(name, [problem if inside else str(error)])
        return lines.end()
    note = f"compared on {images.count:,} images" if effort else ""
    return lines.end(note, manifest.silence(verifying.results))


@dataclass(eq=False)
class Verifying(Plan):
    """Makes a bundle again and compares. `test` is None if the recorded figures are for other images.

    Attributes:
        lines: prints what differs.
        folder: the received bundle.
        recorded: its manifest.
        effort: how much is checked; None: as much as when it was made.
        has_data: whether the bundle's test images are available.
        wrong: problems of the received files that weren't printed yet, by file.
    """

    lines: Lines
    folder: Path
    recorded: Manifest
    effort: Effort | None
    has_data: bool
    wrong: dict[str, list[str]] = field(default_factory=dict, init=False)

    def check(self, name: str, results: Iterator[CheckResult]) -> CheckResult:
        """Runs a file made here; failing to run is also a problem."""
        try:
            return next(results, CheckResult({}, ["not checked, because the previous file couldn't be checked"]))
        except UserError as error:
            return CheckResult({}, [f"not checked: {error}"])
        except Exception as error:  # libraries can raise anything; report it in this file's line
            return CheckResult({}, [f"can't be checked: {_one_line(error)}"])

    def timed(self) -> list[tuple[str, Timing]]:
        """No files if figures aren't compared."""
        return [] if self.test is None else super().timed()

    def written(self) -> None:
        """Compares the files with the received ones."""
        self.wrong, by_values = received.differences(self.bundle, self.folder, self.recorded["statements"]["made"])
        if by_values:
            self.lines.unchecked.append(f"the bytes of {', '.join(by_values)} (only the values)")

    def checked(self, part: Part, name: str, result: CheckResult) -> None:
        """Prints the line of a file: how the received one differs, or the result of running the one made here."""
        images = None if self.effort == "quick" else len(self.images.test.labels)
        self.lines.add(name, self.wrong.pop(name, []) or result.problems, summary(part, result, images))

    def report(self) -> None:
        """Compares the manifest, then the reports with the manifest; prints what can't be checked, and latencies."""
        for name, problems in self.wrong.items():
            self.lines.add(name, problems)
        self.lines.add(MANIFEST, [*self._manifest()])
        self._document(REPORT, text.render)
        if PAGE in self.recorded["hashes"]:
            self._page()
        if newer := statements.newer(self.recorded["statements"]["made"]):
            self.lines.unchecked.append(newer)
        figures = "accuracy, spikes, operations and energy"
        if not self.has_data:
            named = f"set --dataset, which was {self.bundle.job.data.dataset!r} when the bundle was made"
            self.lines.unchecked += [figures, f"whether golden/ contains test images; {named}"]
        elif self.effort is not None:
            self.lines.skipped.append(f"{figures} (--{self.effort})")
        if self.latency and not self.lines.different:
            self._latency()

    def _manifest(self) -> Iterator[str]:
        """What of the manifest differs from the files, the results and other statements."""
        stated, hashed = self.recorded["statements"], set(self.recorded["hashes"]) - {PAGE}
        for name in sorted(hashed ^ (received.names(self.bundle.folder) | {REPORT})):
            yield f"{name} is {'listed, but not part of a bundle' if name in hashed else 'not listed'}"
        if set(stated["latency"]) != {name for name, _ in super().timed()}:
            yield "latency doesn't list every file that runs"
        yield from statements.contradictions(stated, self.results, self.test is not None)
        recorded, computed = self.recorded["results"], self.results
        if self.test is None:
            recorded, computed = map(manifest.without_images, (recorded, computed))
        yield from manifest.differences(recorded, computed, "results")

    def _document(self, name: str, render: Callable[[Manifest], str]) -> None:
        """Compares a report. A page depends on the manifest and on the version of plotly, whose code it contains."""
        problems, praise = [f"doesn't match what this version makes from {MANIFEST}"], "ok"
        try:
            content = reading.read(self.folder / name, "a report", hashes.MOST_BYTES, self.folder)
            if content == render(self.recorded).encode():
                problems = []
            elif name == PAGE and text.differs_in_plotly(content.decode(), self.recorded):
                problems, praise = [], "ok except for its script, plotly.js, which has another version"
                self.lines.unchecked.append(f"the script in {PAGE}, so don't open it")
        except UserError as error:
            problems = [str(error).removeprefix(f"{self.folder / name}: ")]
        except Exception as error:  # a changed manifest can cause any error
            problems = [f"can't be made from {MANIFEST}: {_one_line(error)}"]
        self.lines.add(name, problems, praise)

    def _page(self) -> None:
        try:
            html.require()
        except UserError as error:
            self.lines.add(PAGE, [], f"not checked: {error}")
            self.lines.unchecked.append(f"{PAGE}, so don't open it")
        else:
            self._document(PAGE, text.page)

    def _latency(self) -> None:
        """Prints the latency of every file, here and as recorded, which varies between machines and days."""
        recorded = self.recorded["statements"]["latency"]
        pairs = [(name, one["median_ms"], recorded[name]["median_ms"]) for name, one in self.latency.items()]
        absurd = [
            f"{name} took {there:g} ms according to {MANIFEST}, {here:g} ms here"
            for name, here, there in pairs
            if statements.implausible(there, here)
        ]
        shown = ", ".join(f"{name} {here:.3f} ({there:.3f})" for name, here, there in pairs)
        self.lines.add("latency", absurd, f"here (recorded), median ms per call: {shown}")


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
