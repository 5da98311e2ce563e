"""Measures the strength of the tests: how many single-operator changes of the product they catch.

python benchmarks/strength --seed 1 --out results/strength-1.json

It clones the repository, makes an environment for the clone beside the running one, draws the changes (mutations.py),
and runs the tests of the README's command on each: until the first failure, the tests of the changed package first, for
at most three times as long as a clean run. Kernels are rebuilt after a change in C++. Changes that don't compile are
replaced by further draws of the same seed. If it's stopped, the same command continues.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutations import Mutation, draw

ROOT = Path(__file__).parents[2]
NATIVE = "csnn_jax/engine/native/"


def run(command: list[object], folder: Path, seconds: float | None = None) -> tuple[int | None, str]:
    """(exit code, or None after the time limit; output)."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [*map(str, command)], cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            code = None
        output.seek(0)
        return code, output.read()


class Laboratory:
    """A clone of the repository with its own environment."""

    def __init__(self, folder: Path):
        self.clone, self.python = folder / "clone", folder / "venv/bin/python"
        if self.python.exists():
            return
        self._must("git", "clone", "-q", ROOT, self.clone)
        self._must(sys.executable, "-m", "venv", folder / "venv")
        site = next((folder / "venv/lib").glob("python*/site-packages"))
        (site / "running.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
        self._must(self.python, "-m", "pip", "install", "-q", "setuptools>=77")
        self._must(self.python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", self.clone)

    def _must(self, *command: object) -> None:
        subprocess.run([*map(str, command)], check=True)

    def build(self) -> bool:
        """Builds the event engine's library; whether that worked."""
        return run([self.python, "-m", "csnn_jax.engine.build"], self.clone)[0] == 0

    def test(self, first: list[str], seconds: float | None = None) -> tuple[int | None, str]:
        """Runs the tests until the first failure, some folders first."""
        return run([self.python, "-m", "pytest", "-x", *first, "tests"], self.clone, seconds)

    def restore(self) -> None:
        self._must("git", "-C", self.clone, "checkout", "-q", ".")

    def tests_of(self, path: str) -> list[str]:
        """The folders of tests for a module, nearest first."""
        parents = [Path("tests") / parent for parent in Path(path).parents if str(parent) != "."]
        name = Path(path).stem.strip("_") or "init"
        nearest = [parents[0] / f"test_{name}.py"] if parents else []
        return [str(place) for place in (*nearest, *parents) if (self.clone / place).exists()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--number", type=int, default=80)
    parser.add_argument("--out", type=Path, required=True, help="JSON file, written after each change")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "csnn-strength")
    flags = parser.parse_args()
    flags.folder.mkdir(exist_ok=True, parents=True)
    laboratory = Laboratory(flags.folder)
    commit = subprocess.run(
        ["git", "-C", laboratory.clone, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    done = (
        json.loads(flags.out.read_text())
        if flags.out.exists()
        else {"commit": commit, "seed": flags.seed, "changes": []}
    )
    if "clean_s" not in done:
        start = time.monotonic()
        code, output = laboratory.test([])
        if code != 0:
            sys.exit(f"the tests fail without a change:\n{output[-3000:]}")
        done["clean_s"] = round(time.monotonic() - start)
    changes = draw(laboratory.clone, flags.seed, 2 * flags.number)
    for number, mutation in enumerate(changes):
        valid = [one for one in done["changes"] if one["result"] != "doesn't compile"]
        if len(valid) == flags.number:
            break
        if number >= len(done["changes"]):
            done["changes"].append(tried(laboratory, mutation, 3 * done["clean_s"]))
            flags.out.write_text(json.dumps(done, indent=1) + "\n")
    caught = sum(one["result"] in ("caught", "too slow") for one in done["changes"])
    print(f"caught {caught} of {flags.number}")


def tried(laboratory: Laboratory, mutation: Mutation, seconds: float) -> dict[str, object]:
    """The tests' verdict on a change."""
    laboratory.restore()
    line = mutation.describe(laboratory.clone)
    mutation.apply(laboratory.clone)
    native = mutation.path.startswith(NATIVE)
    start, result, by = time.monotonic(), "survived", ""
    try:
        if native and not laboratory.build():
            return line | {"result": "doesn't compile"}
        code, output = laboratory.test(laboratory.tests_of(mutation.path), seconds)
        if code != 0:
            failed = [row for row in output.splitlines() if row.startswith(("FAILED", "ERROR"))]
            result, by = "too slow" if code is None else "caught", failed[0][:160] if failed else output[-160:]
    finally:
        laboratory.restore()
        if native:
            laboratory.build()
    return line | {"result": result, "by": by, "s": round(time.monotonic() - start)}


if __name__ == "__main__":
    main()
