"""Verifies a bundle: makes its files again from the weights, and compares everything in the bundle.

A received bundle is only read. Files that are run on images are made here and compared with the bundle's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csnn_jax import reading
from csnn_jax.errors import UserError, first_line, printable
from csnn_jax.report import page
from export import claims, hashes, manifest
from export.bundle import MANIFEST, PAGE, REPORT, Manifest
from export.parts.part import CheckResult, Part
from export.proof import derived, statements
from export.proof.other_images import other_images
from export.proof.received import NoDataset, Opened, open_bundle
from export.report import text, webpage
from export.settings import EXTENTS, Effort
from export.work import Work

DIFFERENT, INCOMPLETE = 1, 3
"""Exit codes: something differs or couldn't be verified; nothing differs, but not everything could be checked."""


@dataclass
class Verdict:
    """Prints a line per file, counts those that differ, and records what couldn't be checked or was skipped."""

    bad: int = 0
    unchecked: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def tell(self, name: str, problems: Sequence[str], praise: str = "ok") -> None:
        self.bad += bool(problems)
        shown = problems if len(problems) <= 5 else [*problems[:5], f"and {len(problems) - 5:,} more"]
        print(printable(f"{name:<24} {'; '.join(shown) or praise}"), flush=True)

    def end(self, *notes: str) -> int:
        """Prints the last line; returns the exit code."""
        left_out = {"NOT CHECKED": self.unchecked, "skipped": self.skipped}
        missing = [f"{why}: {', '.join(names)}" for why, names in left_out.items() if names]
        said = "; ".join(filter(None, (*missing, *notes)))
        complete = "ok" if self.skipped else "all ok"
        verdict = "NOT OK" if self.bad else "ok as far as checked" if self.unchecked else complete
        print(printable(f"{verdict}{said and f' ({said})'}"))
        return DIFFERENT if self.bad else INCOMPLETE if self.unchecked else 0


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
    verdict = Verdict()
    try:
        recorded = listed(folder, verdict)
        if recorded is None:
            return verdict.end("the contents of the files were not checked")
        opened = open_bundle(folder, scratch, recorded, dataset, effort, work)
        claimed = Verification(verdict, folder, recorded, opened).run()
    except NoDataset:
        raise
    except (UserError, OSError) as error:
        path, _, problem = str(error).partition(": ")  # it usually starts with the file
        inside = Path(path) != folder and Path(path).is_relative_to(folder)
        name = Path(path).relative_to(folder).as_posix() if inside else MANIFEST
        verdict.tell(name, [problem if inside else str(error)])
        return verdict.end()
    return verdict.end(opened.note, manifest.silence(claimed))


def listed(folder: Path, verdict: Verdict) -> Manifest | None:
    """Returns the manifest of a bundle if its files match the list in the manifest; otherwise None.

    Raises:
        UserError: the manifest or config.json can't be read.
    """
    recorded = manifest.read(folder)
    for name, problem in manifest.file_problems(folder, recorded).items():
        verdict.tell(name, [problem])
    if verdict.bad:
        return None
    verdict.tell("SHA-256", [], f"ok, {len(recorded['files']):,} files match {MANIFEST}")
    return recorded


@dataclass(frozen=True)
class Verification:
    """Makes a bundle again and compares.

    Attributes:
        verdict: collects what differs.
        folder: the received bundle.
        recorded: its manifest.
        opened: the bundle made here.
    """

    verdict: Verdict
    folder: Path
    recorded: Manifest
    opened: Opened

    @property
    def figures(self) -> bool:
        """Whether the recorded figures are for the images used here."""
        return self.opened.test is not None and self.opened.effort is None

    def run(self) -> Manifest:
        """Compares every file, then the manifest and the reports; returns the results here as a manifest."""
        bundle, evidence = self.opened.bundle, self.opened.evidence
        network = bundle.network
        evidence.work.plan(2 * len(claims.checked(network)) + len(claims.timed(network)) + 1)
        self.make()
        wrong = self.files()
        claimed = claims.of_bundle(
            bundle, evidence, lambda part, name, checks: self._file(part, name, checks, wrong.pop(name, []))
        )
        for name, problems in wrong.items():
            self.verdict.tell(name, problems)
        self.rest(claimed)
        if self.figures and not self.verdict.bad:
            self._latency()
        return claimed

    def make(self) -> None:
        """Makes the files again."""
        derived.make(self.opened.bundle, self.opened.inputs, self.opened.evidence.work)

    def check(self, name: str, checks: Iterator[CheckResult]) -> CheckResult:
        """Runs a file made here; failing to run is also a problem."""
        try:
            return next(checks, CheckResult({}, ["not checked, because the previous file couldn't be checked"]))
        except UserError as error:
            return CheckResult({}, [f"not checked: {error}"])
        except Exception as error:  # libraries can raise anything; report it in this file's line
            return CheckResult({}, [f"can't be checked: {_one_line(error)}"])

    def files(self) -> dict[str, list[str]]:
        """How files differ from those made here, by file name."""
        wrong: dict[str, list[str]] = {}
        found = derived.differences(self.opened.bundle, self.folder, self.recorded)
        for name, problem in found.problems:
            shown = derived.of(name)
            wrong.setdefault(shown, []).append(problem if shown == name else f"{name}: {problem}")
        if found.by_values:
            files = ", ".join(dict.fromkeys(map(derived.of, found.by_values)))
            self.verdict.unchecked.append(f"the bytes of {files} (only the values)")
        return wrong

    def rest(self, claimed: Manifest) -> None:
        """Compares the manifest with the results here, and the reports with the manifest."""
        self.verdict.tell(MANIFEST, list(self._manifest(claimed)))
        self.verdict.tell(REPORT, list(self._report()))
        if PAGE in self.recorded["files"]:
            self._page()
        if newer := statements.newer(self.recorded):
            self.verdict.unchecked.append(newer)
        self._images()

    def _file(self, part: Part, name: str, checks: Iterator[CheckResult], problems: list[str]) -> CheckResult:
        """Runs the file made here; `problems` are the differences of the bundle's file."""
        evidence = self.opened.evidence
        with evidence.work.task(f"checking {name}", evidence.looked_at):
            result = self.check(name, checks)
        recorded = self.recorded["proof"].get(name)
        problems = problems or result.problems or list(self._figures(recorded, result.proof))
        images = None if self.opened.effort == "quick" else len(evidence.test.labels)
        self.verdict.tell(name, problems, claims.summary(part, result, images))
        return result

    def _figures(self, recorded: Any, found: dict[str, Any]) -> Iterator[str]:
        """Compares figures, which must be equal for the same images."""
        if not isinstance(recorded, dict):
            yield f"has no figures in {MANIFEST}"
            return
        rules = () if self.figures else (other_images,)
        yield from manifest.differences(recorded, found, "", *rules)

    def _manifest(self, claimed: Manifest) -> Iterator[str]:
        yield from self._names(claimed)
        yield from self._statements()
        for entry in (entry for entry in claimed if entry not in ("proof", "numbers")):
            yield from manifest.differences(self.recorded.get(entry), claimed[entry], entry)
        if set(claimed["proof"]) != set(self.recorded["proof"]):
            yield f"proof has {', '.join(self.recorded['proof'])}; expected {', '.join(claimed['proof'])}"
        yield from self._figures({"numbers": self.recorded["numbers"]}, {"numbers": claimed["numbers"]})
        if self.figures:
            yield from self._trained()

    def _trained(self) -> Iterator[str]:
        """Checks the manifest's accuracy of the trained network on the whole test set.

        If silent channels were dropped, it may differ by the stated number of answers. With a shorter window, in which
        these channels might have fired later, the bundle can't show it.
        """
        test, dropped = self.opened.test, self.recorded.get("dropped")
        assert test is not None
        if dropped and self.recorded["settings"]["time_steps"]:
            return
        with self.opened.evidence.work.task("the trained network's accuracy"):
            now = claims.trained_accuracy(self.opened.inputs.job, self.opened.bundle.network.tensors, test)
        stated, count = self.recorded["training"]["accuracy"], len(test.labels)
        right, others = round(stated * count), dropped["other_answers"] if dropped else 0
        if stated != right / count or abs(right - round(now * count)) > others:
            yield f"training.accuracy is {now}, {MANIFEST} says {stated}"

    def _names(self, claimed: Manifest) -> Iterator[str]:
        """Files listed in the manifest that no bundle has, and vice versa; the same for parts of the manifest."""
        names = derived.names(self.opened.bundle.folder) | {REPORT}
        for name in sorted(names ^ (set(self.recorded["files"]) - {PAGE})):
            yield f"{name} is {'not listed' if name in names else 'listed, but not part of a bundle'}"
        network, latency = self.opened.bundle.network, self.recorded["latency"]
        timed, few = {name for name, _ in claims.timed(network)}, network.model.weight_bits is not None
        if set(latency) != timed:
            yield "latency doesn't list every file that runs"
        twice = {name for name in timed if few and name.endswith(".onnx")}
        if {name for name, row in latency.items() if "dequantizing_ms" in row} != twice:
            yield "latency.dequantizing_ms isn't set for every ONNX file with weights of few bits"
        for name in sorted(set(self.recorded) - {"schema_version", *claimed, *statements.FORMS}):
            yield f"{name} isn't part of {MANIFEST}"

    def _statements(self) -> Iterator[str]:
        """Checks that the maker's statements don't contradict the configuration and the files."""
        network, test = self.opened.bundle.network, self.opened.test
        yield from statements.belied(self.recorded, self.opened.inputs.job, None if test is None else len(test.labels))
        if (dropped := self.recorded.get("dropped")) is not None:
            yield from statements.belied_by_network(dropped, network.model, network.tensors)

    def _received(self, name: str) -> bytes:
        return reading.read(self.folder / name, "a report", hashes.MOST_BYTES, self.folder)

    def _report(self) -> Iterator[str]:
        try:
            if self._received(REPORT) != text.render(self.recorded).encode():
                yield f"doesn't match what this version makes from {MANIFEST}"
        except UserError as error:
            yield str(error).removeprefix(f"{self.folder / REPORT}: ")
        except Exception as error:  # a changed manifest can cause any error
            yield f"can't be made from {MANIFEST}: {_one_line(error)}"

    def _page(self) -> None:
        """Checks report.html, which depends on the manifest and on the version of plotly, whose code it contains."""
        try:
            page.require()
            found = self._received(PAGE).decode()
            if found == webpage.render(self.recorded):
                self.verdict.tell(PAGE, [])
            elif webpage.differs_in_plotly(found, self.recorded):
                self.verdict.tell(PAGE, [], "ok except for its script, plotly.js, which has another version")
                self.verdict.unchecked.append(f"the script in {PAGE}, so don't open it")
            else:
                self.verdict.tell(PAGE, [f"doesn't match what this version makes from {MANIFEST}"])
        except UserError as error:
            self.verdict.tell(PAGE, [], f"not checked: {error}")
            self.verdict.unchecked.append(f"{PAGE}, so don't open it")
        except Exception as error:  # a changed manifest can cause any error
            self.verdict.tell(PAGE, [f"can't be made from {MANIFEST}: {_one_line(error)}"])

    def _images(self) -> None:
        """Reports what can't be checked without the test images, or is skipped."""
        if self.opened.test is None:
            name = self.opened.inputs.job.data.dataset
            self.verdict.unchecked += [
                "accuracy, spikes, operations and energy",
                f"whether golden/ contains test images; set --dataset, which was {name!r} when the bundle was made",
            ]
        elif self.opened.effort is not None:
            self.verdict.skipped.append(f"accuracy, spikes, operations and energy (--{self.opened.effort})")

    def _latency(self) -> None:
        """Reports the latency of every file, here and as recorded, which varies between machines and days."""
        seconds = EXTENTS[self.recorded["settings"]["effort"]].seconds
        here = claims.latencies(self.opened.bundle, self.opened.evidence, seconds)
        recorded = self.recorded["latency"]
        pairs = [(name, one["median_ms"], recorded[name]["median_ms"]) for name, one in here]
        absurd = [
            f"{name} took {there:g} ms according to {MANIFEST}, {now:g} ms here"
            for name, now, there in pairs
            if statements.implausible(there, now)
        ]
        shown = ", ".join(f"{name} {now:.3f} ({there:.3f})" for name, now, there in pairs)
        self.verdict.tell("latency", absurd, f"here (recorded), median ms per call: {shown}")


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
