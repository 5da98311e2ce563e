"""The verification of a bundle: whole files first, then everything that the manifest claims, worked out anew."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.errors import UserError, first_line
from csnn_jax.report import page
from csnn_jax.runs import rundir
from export import claims, manifest, parts
from export.bundle import MANIFEST, PAGE, REPORT
from export.effort import EXTENTS, Effort
from export.manifest import Manifest
from export.parts.part import Found, Part
from export.proof.agreement import disagreement
from export.report import text, webpage
from export.subject import CALIBRATION_IMAGES, Subject
from export.work import Work

QUICK_IMAGES = 4


class Opened(NamedTuple):
    """A bundle that can be verified.

    Attributes:
        subject: with its weights and images.
        note: why figures can't be compared with the recorded ones; "" where they can.
        config: the job of the training.
        test: the whole test set; None: it is not there, or not to be looked at.
        effort: how much is looked at; None: as much as when it was made.
    """

    subject: Subject
    note: str
    config: Config
    test: Split | None
    effort: Effort | None


def verify(folder: Path, effort: Effort | None = None, work: Work | None = None) -> int:
    """Checks a bundle and prints one line per file.

    Args:
        folder: the bundle; has a manifest.json.
        effort: quick: compare spikes on a few images only, and no figures; thorough: on as many as a thorough export
            does; None: on as many as when it was made.
        work: shows how far it is.

    Returns:
        The exit code: 0, or 1 if anything differs or could not be checked.
    """
    verdict = Verdict()
    try:
        recorded = manifest.read(folder)
        for name, problem in manifest.file_problems(folder, recorded).items():
            verdict.tell(name, [problem])
        if verdict.bad:
            return verdict.end("what the files compute was not looked at")
        verdict.tell("SHA-256", [], f"ok, {len(recorded['files']):,} files are those of {MANIFEST}")
        opened = open_bundle(folder, recorded, effort, work)
    except (UserError, OSError) as error:
        verdict.tell(MANIFEST, [str(error)])
        return verdict.end()
    found = _Comparison(verdict, recorded, opened).run()
    return verdict.end("; ".join(filter(None, (opened.note, manifest.silence(found)))))


@dataclass
class Verdict:
    """Prints a line per file, and counts the bad ones."""

    bad: int = 0

    def tell(self, name: str, problems: Sequence[str], praise: str = "ok") -> None:
        self.bad += bool(problems)
        print(f"{name:<20} {'; '.join(problems) or praise}", flush=True)

    def end(self, note: str = "") -> int:
        """Prints the last line; returns the exit code."""
        print(("NOT OK" if self.bad else "all ok") + (f" ({note})" if note else ""))
        return 1 if self.bad else 0


def open_bundle(folder: Path, recorded: Manifest, effort: Effort | None = None, work: Work | None = None) -> Opened:
    """Reads the bundle's weights and images; arguments are those of `verify`.

    Raises:
        UserError: its weights, configuration or settings can't be read, or the data set is another one.
    """
    _, config, tensors = rundir.open_run(str(folder))
    made = claims.Settings.read(recorded["settings"])
    settings, note, calibration, whole = made, "", None, None
    if effort == "thorough":
        settings = replace(made, images=max(made.images, EXTENTS[effort].images), effort=effort)
    try:
        dataset = data.load_for(config)
    except UserError as error:
        split, note = _kept_images(folder), f"compared on the golden images only, no figures made anew: {error}"
    else:
        test, calibration = dataset.test, settings.window(dataset.train.images[:CALIBRATION_IMAGES])
        if effort == "thorough":
            settings = replace(settings, images=min(settings.images, len(test.labels)))
        for problem in manifest.differences(recorded["data"], manifest.data(config.data.dataset, test), "data"):
            raise UserError(f"the test images here are not the bundle's: {problem}")
        split, whole = settings.split(test), test
        if settings != made:
            note = f"thorough: compared on {settings.images:,} images, so that figures of the manifest are not compared"
    images = settings.images
    if effort == "quick":
        split, images, whole = Split(split.images[:QUICK_IMAGES], split.labels[:QUICK_IMAGES]), QUICK_IMAGES, None
        note = f"quick: compared on {QUICK_IMAGES} images, no figures made anew"
    fitted = settings.fitted(config, split)
    frames = config.model.time_steps if split.images.ndim == 5 else None
    subject = Subject(
        folder, fitted, tensors, split, images, calibration, settings.extent, frames, work or Work("Verifying")
    )
    return Opened(subject, note, config, whole, effort)


def _kept_images(folder: Path) -> Split:
    """The test images that the bundle itself holds."""
    return next(part.images(folder) for part in parts.every() if part.images)


@dataclass(frozen=True)
class _Comparison:
    """Works out what a manifest claims, and compares.

    Attributes:
        verdict: is told what differs.
        recorded: the manifest.
        opened: the bundle.
    """

    verdict: Verdict
    recorded: Manifest
    opened: Opened

    @property
    def subject(self) -> Subject:
        """The bundle."""
        return self.opened.subject

    @property
    def note(self) -> str:
        """Why figures can't be compared with the recorded ones; "" where they can."""
        return self.opened.note

    def run(self) -> Manifest:
        """Checks every file, then the manifest and the report; what was found, as a manifest has it."""
        self.subject.work.plan(len(claims.checked(self.subject)) + len(claims.timed(self.subject)) + 1)
        found = claims.of_bundle(self.subject, self._file)
        self.verdict.tell(MANIFEST, list(self._manifest(found)))
        self.verdict.tell(REPORT, list(self._report()))
        if PAGE in self.recorded["files"]:
            self.verdict.tell(PAGE, *self._page())
        if not self.note and not self.verdict.bad:
            self.verdict.tell("latency", [], self._latency())
        return found

    def _file(self, part: Part, name: str) -> Found:
        with self.subject.work.task(f"checking {name}", self.subject.looked_at):
            found = check(part, self.subject, name)
        images = len(self.subject.split.labels)
        problems = found.problems or list(self._figures(self.recorded["proof"].get(name), found.proof, images))
        told = None if self.opened.effort == "quick" else images
        self.verdict.tell(name, problems, claims.summary(part, found, told))
        return found

    def _figures(self, recorded: Any, found: dict[str, Any], images: int) -> Iterator[str]:
        """Compares figures of the same images: equal where rounding can't change them, else within its limits."""
        if self.note:
            return
        if not isinstance(recorded, dict):
            yield f"has no figures in {MANIFEST}"
            return

        def rule(name: str, recorded: Any, found: Any) -> list[str] | None:
            return disagreement(name, recorded, found, images)

        try:
            yield from manifest.differences(recorded, found, rule=rule)
        except (TypeError, KeyError, IndexError, ArithmeticError) as error:  # figures of other kinds than ours
            yield f"its figures in {MANIFEST} are damaged: {_one_line(error)}"

    def _manifest(self, found: Manifest) -> Iterator[str]:
        for entry in (entry for entry in found if entry not in ("proof", "numbers")):
            yield from manifest.differences(self.recorded.get(entry), found[entry], entry)
        yield from self._names(found)
        yield from self._settings(found)
        if set(found["proof"]) != set(self.recorded["proof"]):
            yield f"proof is of {', '.join(self.recorded['proof'])}; expected {', '.join(found['proof'])}"
        images = len(self.subject.split.labels)
        yield from self._figures({"numbers": self.recorded.get("numbers")}, {"numbers": found["numbers"]}, images)
        if self.opened.test is not None:
            yield from self._trained(self.opened.test)

    def _trained(self, test: Split) -> Iterator[str]:
        """The accuracy that the manifest says the trained network has on the whole test set."""
        with self.subject.work.task("the trained network's accuracy"):
            now = claims.trained_accuracy(self.opened.config, self.subject.tensors, test)
        trained = self.recorded["training"].get("accuracy")
        found = disagreement("accuracy", trained, now, len(test.labels))
        yield from (f"training.accuracy: {line}" for line in found or ())
        if found is None:
            yield f"training.accuracy is {trained!r}, expected a share"

    def _names(self, found: Manifest) -> Iterator[str]:
        """Files that the manifest lists and no bundle has, or the other way round; parts of the manifest likewise."""
        try:
            names = claims.files(self.subject)
        except UserError:
            return  # the part's line has told of it
        for name in sorted(names ^ (set(self.recorded["files"]) - {PAGE})):
            yield f"{name} is {'not listed' if name in names else 'listed, and no part of a bundle'}"
        if set(self.recorded["latency"]) != {name for name, _ in claims.timed(self.subject)}:
            yield "latency is not that of every file that runs"
        for name in sorted(set(self.recorded) - {*found, *claims.RECORDED}):
            yield f"{name} is no part of {MANIFEST}"

    def _settings(self, found: Manifest) -> Iterator[str]:
        """Settings that show in the bundle."""
        train = self.subject.config.train
        training = {name: self.recorded["training"].get(name) for name in ("seed", "dtype")}
        yield from manifest.differences(training, {"seed": train.seed, "dtype": train.dtype}, "training")
        for part in ("settings", "made"):
            for graph in found["onnx"].values():
                if self.recorded[part].get("opset") != graph["opset"].get("ai.onnx"):
                    yield f"{part}.opset is another one than the files have"
                    break
        if not self.note:
            count = len(self.subject.split.labels)
            yield from manifest.differences(
                self.recorded["settings"].get("accuracy_images"), count, "settings.accuracy_images"
            )

    def _report(self) -> Iterator[str]:
        try:
            found = (self.subject.folder / REPORT).read_bytes()
            if found != text.render(self.recorded).encode():
                yield f"is not what this version makes of {MANIFEST}"
        except Exception as error:  # whatever a changed manifest leads to
            yield f"can't be made from {MANIFEST}: {_one_line(error)}"

    def _page(self) -> tuple[list[str], str]:
        """(what is wrong, praise). Its bytes follow from the manifest where the same programs are that made it."""
        try:
            page.require()
            found = (self.subject.folder / PAGE).read_text()
            if (other := webpage.made_by(found)) != webpage.maker():
                return [], f"ok by its SHA-256 alone, for it was made by {other}, and here is {webpage.maker()}"
            same = found == webpage.render(self.recorded)
            return ([] if same else [f"is not what this version makes of {MANIFEST}"]), "ok"
        except UserError as error:
            return [], f"ok by its SHA-256 alone: {error}"
        except Exception as error:  # whatever a changed manifest leads to
            return [f"can't be made from {MANIFEST}: {_one_line(error)}"], ""

    def _latency(self) -> str:
        """Latency of every file, here and as recorded, to be looked at: no two machines, or days, give the same."""
        here = claims.latencies(self.subject, EXTENTS[self.recorded["settings"]["effort"]].seconds)
        recorded = self.recorded["latency"]
        pairs = [f"{name} {one['median_ms']:.3f} ({recorded[name]['median_ms']:.3f})" for name, one in here]
        return f"median ms of a call here (when it was made), not compared: {', '.join(pairs)}"


def check(part: Part, subject: Subject, name: str) -> Found:
    """Runs the check of a part on the file of that name; that it can't be checked is a problem, too."""
    try:
        return part.check(subject, name)
    except UserError as error:
        return Found({}, [f"not checked: {error}"])
    except Exception as error:  # whatever a library says of a damaged file, it is that file's line
        return Found({}, [f"can't be checked: {_one_line(error)}"])


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
