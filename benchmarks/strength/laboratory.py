"""A copy of the repository whose tests run on changed sources, and which tests execute which lines."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

from mutations import PACKAGES

ROOT = Path(__file__).parents[2]
LIBRARY = Path("csnn_jax/engine/native/libcsnn.so")
QUICKEST = 150
"""At most this many tests of a line run before all tests do."""


class Laboratory:
    """A clone of the repository with its own environment, temporary folder and caches.

    Messages shorten long paths, so the temporary folder has a short one.

    Args:
        folder: where it is, or will be.
    """

    def __init__(self, folder: Path):
        self.clone, self._python, self._folder = folder / "clone", folder / "venv/bin/python", folder
        self._temporary = Path(tempfile.gettempdir()) / f"lab{folder.name}"
        self._environment = os.environ | {"TMPDIR": str(self._temporary), "XDG_CACHE_HOME": str(folder / "cache")}
        if (folder / "ready").exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._must("git", "clone", "-q", ROOT, self.clone)
        self._must(sys.executable, "-m", "venv", folder / "venv")
        site = next((folder / "venv/lib").glob("python*/site-packages"))
        (site / "running.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
        self._must(self._python, "-m", "pip", "install", "-q", "setuptools>=77")
        self._must(self._python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", self.clone)
        if not self.build():
            sys.exit("the event engine's kernels can't be built")
        shutil.copy2(self.clone / LIBRARY, folder / LIBRARY.name)
        (folder / "ready").touch()

    def _must(self, *command: object) -> None:
        subprocess.run([*map(str, command)], check=True)

    def run(self, *arguments: object, seconds: float | None = None) -> tuple[int | None, str]:
        """Runs Python in the clone: (exit code, or None after the time limit; output)."""
        for used in (self._temporary, self._folder / "cache"):
            # A test that's stopped leaves folders nested more deeply than shutil.rmtree goes.
            subprocess.run(["rm", "-rf", used], check=True)
            used.mkdir()
        with tempfile.TemporaryFile("w+") as output:
            command = [self._python, *map(str, arguments)]
            process = subprocess.Popen(
                command,
                cwd=self.clone,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
            # A test that fails can leave commands of its own behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            output.seek(0)
            return code, output.read()

    def test(self, *arguments: object, seconds: float | None = None) -> tuple[int | None, str]:
        """Runs pytest in one process until the first failure."""
        return self.run("-m", "pytest", "-n0", "-x", *arguments, seconds=seconds)

    def build(self) -> bool:
        """Builds the event engine's library; returns whether that worked."""
        return self.run("-m", "csnn_jax.engine.build")[0] == 0

    def restore(self) -> None:
        """Undoes the change; the kernels are those that were built without one."""
        self._must("git", "-C", self.clone, "checkout", "-q", ".")
        shutil.copy2(self._folder / LIBRARY.name, self.clone / LIBRARY)

    def measure_lines(self, out: Path) -> None:
        """Writes which tests execute which lines: {path: {line: [test, ...]}}, the quickest tests first."""
        report, times = self.clone / "lines.json", self.clone / "times.xml"
        measured = [f"--cov={package}" for package in PACKAGES]
        report_times = (f"--junitxml={times}", "-o", "junit_family=xunit1")
        code, output = self.run(
            "-m", "pytest", "-n0", "--dist=no", *measured, "--cov-context=test", "--cov-report=", *report_times
        )
        if code != 0:
            sys.exit(f"the tests fail without a change:\n{output[-3000:]}")
        if self.run("-m", "coverage", "json", "-q", "--show-contexts", "-o", report)[0] != 0:
            sys.exit("coverage can't write its report")
        seconds: dict[str, float] = defaultdict(float)
        for case in ET.parse(times).iter("testcase"):
            seconds[f"{case.get('file')}::{case.get('name')}"] = float(case.get("time", 0))
        lines: dict[str, dict[str, list[str]]] = {}
        for path, measured in json.loads(report.read_text())["files"].items():
            lines[path] = {
                line: sorted({name.split("|")[0] for name in contexts if name}, key=lambda name: seconds[name])
                for line, contexts in measured["contexts"].items()
            }
        out.write_text(json.dumps(lines))


class Order:
    """Which tests to run first for a change.

    Args:
        lines: as `Laboratory.measure_lines` writes them.
        clone: the repository.
    """

    def __init__(self, lines: dict[str, dict[str, list[str]]], clone: Path):
        self._lines, self._clone = lines, clone

    def first(self, path: str, line: int) -> list[str]:
        """The tests that execute a line, or else the folder of tests for its package."""
        tests = self._lines.get(path, {}).get(str(line), [])
        if tests:
            return tests[:QUICKEST]
        parents = [Path("tests") / parent for parent in Path(path).parents if str(parent) != "."]
        name = Path(path).stem.strip("_") or "init"
        nearest = [parents[0] / f"test_{name}.py", *parents]
        return [str(place) for place in nearest if (self._clone / place).exists()][:1]
