"""Measures the strength of the tests: how many single-operator changes of the product they catch.

python benchmarks/strength --seed 1 --out results/strength-1.json

It draws the changes (mutations.py), and makes each in one of several clones of the repository, which have their own
environments next to the running one. A clone uses one core and runs the tests of the README's command until the first
failure, for at most three times as long as they take without a change: first, for every change, the quickest of those
that execute the changed line; then, for changes that passed these, all. Kernels are rebuilt after a change in C++.
Changes that don't compile are replaced by further draws of the same seed. If it's stopped, the same command continues,
and the file so far counts changes that passed the first tests only as not caught.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from laboratory import ROOT, Laboratory, Order
from mutations import Mutation, draw

NATIVE = "csnn_jax/engine/native/"
INVALID = "doesn't compile"
UNDECIDED = "passed the line's tests"
PASSING = (0, 4, 5)
"""Pytest's exit codes if the tests that execute a line pass, have other names with the change or are all slow."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--number", type=int, default=80)
    parser.add_argument("--out", type=Path, required=True, help="JSON file, written after each change")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "csnn-strength")
    flags = parser.parse_args()
    head = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    commit = head.stdout.strip()
    laboratories = [Laboratory(flags.folder / commit / str(core)) for core in range(max(2, os.cpu_count() or 2))]
    lines, clean_s = prepared(laboratories, flags.folder / commit)
    measurement = Measurement(flags.out, {"commit": commit, "seed": flags.seed, "clean_s": clean_s}, flags.number)
    changes = draw(laboratories[0].clone, flags.seed, 2 * flags.number)

    def work(laboratory: Laboratory) -> None:
        order = Order(lines, laboratory.clone)
        while (index := measurement.next()) is not None:
            first = order.first(changes[index].path, changes[index].line(laboratory.clone))
            measurement.add(index, tried(laboratory, changes[index], (first, PASSING, UNDECIDED), 3 * clean_s))
        while (index := measurement.next_undecided()) is not None:
            measurement.add(index, tried(laboratory, changes[index], ([], (0,), "survived"), 3 * clean_s))

    with ThreadPoolExecutor(len(laboratories)) as pool:
        for worker in [pool.submit(work, laboratory) for laboratory in laboratories]:
            worker.result()
    print(f"caught {measurement.caught()} of {flags.number}")


def prepared(laboratories: list[Laboratory], folder: Path) -> tuple[dict[str, dict[str, list[str]]], int]:
    """(which tests execute which lines, seconds of a clean run while all cores are busy), measured once per commit."""
    lines, clean = folder / "lines.json", folder / "clean_s"
    if not (lines.exists() and clean.exists()):
        measuring = threading.Thread(target=laboratories[1].measure_lines, args=(lines,))
        measuring.start()
        start = time.monotonic()
        code, output = laboratories[0].test()
        seconds = round(time.monotonic() - start)
        measuring.join()
        if code != 0 or not lines.exists():
            sys.exit(f"the tests fail without a change:\n{output[-3000:]}")
        clean.write_text(str(seconds))
    return json.loads(lines.read_text()), int(clean.read_text())


class Measurement:
    """The results of a seed's changes, in a JSON file.

    Args:
        out: the file; if it exists, the measurement continues.
        header: what was measured.
        number: how many valid changes to try.
    """

    def __init__(self, out: Path, header: dict[str, object], number: int):
        self._out, self._number, self._lock = out, number, threading.Lock()
        self._document = json.loads(out.read_text()) if out.exists() else header | {"changes": []}
        if {name: self._document[name] for name in ("commit", "seed")} != {
            name: header[name] for name in ("commit", "seed")
        }:
            sys.exit(f"{out} has the results of another commit or seed")
        self._results: dict[int, dict[str, object]] = {one["draw"]: one for one in self._document["changes"]}
        self._running: set[int] = set()

    def next(self) -> int | None:
        """The draw to try next; None if enough are valid or being tried."""
        with self._lock:
            if len(self._valid()) + len(self._running) >= self._number:
                return None
            index = next(i for i in range(2 * self._number) if i not in self._results and i not in self._running)
            self._running.add(index)
            return index

    def next_undecided(self) -> int | None:
        """The draw whose first tests passed, and that all tests try next; None if there's no other."""
        with self._lock:
            undecided = (one["draw"] for one in self._valid() if one["result"] == UNDECIDED)
            index = next((i for i in undecided if i not in self._running), None)
            self._running |= {index} if index is not None else set()
            return index

    def add(self, index: int, result: dict[str, object]) -> None:
        """Writes a result."""
        with self._lock:
            self._running.remove(index)
            self._results[index] = {"draw": index} | result
            self._document["changes"] = [self._results[i] for i in sorted(self._results)]
            self._document["caught"] = self.caught()
            self._out.write_text(json.dumps(self._document, indent=1) + "\n")

    def caught(self) -> int:
        """How many of the first valid changes were caught."""
        return sum(one["result"] not in ("survived", UNDECIDED) for one in self._valid()[: self._number])

    def _valid(self) -> list[dict[str, object]]:
        return [self._results[i] for i in sorted(self._results) if self._results[i]["result"] != INVALID]


def tried(
    laboratory: Laboratory, mutation: Mutation, stage: tuple[list[str], tuple[int, ...], str], seconds: float
) -> dict[str, object]:
    """The verdict of a stage (tests; exit codes if they pass; what that's called) on a change."""
    tests, passing, verdict = stage
    laboratory.restore()
    description = mutation.describe(laboratory.clone)
    mutation.apply(laboratory.clone)
    native = mutation.path.startswith(NATIVE)
    start, by = time.monotonic(), ""
    try:
        if native and not laboratory.build():
            return description | {"result": INVALID}
        code, output = laboratory.test(*tests, seconds=seconds)
        if code not in passing:
            failed = [row for row in output.splitlines() if row.startswith(("FAILED", "ERROR"))]
            verdict, by = "too slow" if code is None else "caught", failed[0][:160] if failed else output[-160:]
    finally:
        laboratory.restore()
    return description | {"result": verdict, "by": by, "s": round(time.monotonic() - start)}


if __name__ == "__main__":
    main()
