"""What does each cost? Seconds of a training iteration and of an inference batch, compile time, peak memory.

Wall time depends on what else the machine does, so CPU time is reported, too, and the share of the CPUs that other
programs used, which decides whether there is a ratio.

Every side runs in its own processes, `python -m csnn_torch.compare.worker RUN SIDE`, which only work when asked to.
Alternating after each iteration wouldn't be fair: once another process has kept all CPUs busy, XLA's threads stay badly
placed, and the scan engine's iterations take half as long again. So a turn is a fresh process with a warmup and then
the timed rounds, for at least a second; the sides take turns, and the medians over all turns count.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from csnn_jax import machine
from csnn_jax.document.numbers import two_digits
from csnn_jax.files import Scratch

BASE = "snntorch"
"""The side that the others are compared with: the loop of snnTorch's tutorials."""
APART = 4 / 3
"""If the medians of a side's turns differ by more than this factor, there's no ratio."""
SECONDS = 1.0
"""Shortest total time of a turn's rounds of one kind; on shared machines, the medians of shorter turns vary."""
OTHERS = 0.1
"""If other programs use more than this share of the CPU time during a turn, there's no ratio."""

Work = Literal["step", "infer"]


@dataclass
class Rounds:
    """Seconds of all timed rounds of one kind of work, with a list for each turn.

    Attributes:
        clock: wall time.
        processor: CPU time of all threads together; empty if it wasn't measured.
    """

    clock: list[list[float]] = field(default_factory=list)
    processor: list[list[float]] = field(default_factory=list)

    @property
    def clock_s(self) -> float:
        """Median wall time in seconds."""
        return statistics.median(itertools.chain(*self.clock))

    @property
    def processor_s(self) -> float | None:
        """Median CPU time in seconds."""
        return statistics.median(itertools.chain(*self.processor)) if self.processor else None

    @property
    def range(self) -> tuple[float, float]:
        """Wall time of the shortest and the longest round."""
        return min(map(min, self.clock)), max(map(max, self.clock))

    @property
    def apart(self) -> float:
        """The slowest turn's median divided by the fastest turn's."""
        medians = [statistics.median(turn) for turn in self.clock]
        return max(medians) / min(medians)

    def __str__(self) -> str:
        processor = "" if self.processor_s is None else f" ({two_digits(self.processor_s)} s of CPU time)"
        return f"{two_digits(self.clock_s)} s{processor}"


@dataclass
class Cost:
    """The time and memory that one side takes.

    Attributes:
        failed: why it couldn't be measured; the rest is then empty.
        step, infer: the timed training iterations and inference batches.
        first_step, first_infer: seconds of the very first ones, with an empty compilation cache.
        others: share of the CPU time that other programs used during each turn; empty if the system doesn't report it.
        predictions, densities: of the inference batch, with the run's weights.
    """

    side: str
    failed: str | None = None
    description: str = ""
    step: Rounds = field(default_factory=Rounds)
    infer: Rounds = field(default_factory=Rounds)
    first_step: float = 0.0
    first_infer: float = 0.0
    peak_memory_mb: int = 0
    others: list[float] = field(default_factory=list)
    predictions: list[int] = field(default_factory=list)
    densities: dict[str, float] = field(default_factory=dict)

    @property
    def compile_s(self) -> float:
        """Additional seconds of the first training iteration, compared with the median."""
        return max(0.0, self.first_step - self.step.clock_s)

    def rounds(self, work: Work) -> Rounds:
        """The rounds of a kind of work."""
        return self.step if work == "step" else self.infer

    def unsteady(self, work: Work) -> str | None:
        """Why its timings aren't good enough for a ratio; None if they are."""
        if max(self.others, default=0.0) > OTHERS:
            return f"the machine was busy, other programs took {max(self.others):.0%} of it"
        if (apart := self.rounds(work).apart) > APART:
            return f"turns differ by a factor of {two_digits(apart)}"
        return None

    def speed(self, base: "Cost", work: Work) -> float | str:
        """How many times as fast as the base it is in wall time, with two digits, or why there's no ratio."""
        for side in (self, base):
            if why := side.unsteady(work):
                return f"none: {why}" if side is self else f"none: {readable(base.side)}: {why}"
        return float(two_digits(base.rounds(work).clock_s / self.rounds(work).clock_s))

    def __str__(self) -> str:
        if self.failed:
            return f"{self.side}: not measured: {self.failed}"
        return f"{self.side}: iteration {self.step}, inference batch {self.infer}, {self.peak_memory_mb} MB"

    def as_json(self) -> dict[str, Any]:
        """All fields, the medians, and why there's no ratio."""
        if self.failed:
            return {"side": self.side, "failed": self.failed}
        medians = {
            "step_s": self.step.clock_s,
            "step_processor_s": self.step.processor_s,
            "infer_s": self.infer.clock_s,
            "infer_processor_s": self.infer.processor_s,
            "compile_s": round(self.compile_s, 3),
        }
        return asdict(self) | medians | {"no_ratio": {"step": self.unsteady("step"), "infer": self.unsteady("infer")}}


def readable(side: str) -> str:
    """A side's name for readers."""
    return side.replace("snntorch", "snnTorch") if side.startswith("snntorch") else f"csnn_jax {side}"


class Process:
    """One side in its own process."""

    def __init__(self, run: str, side: str, *dataset: str, **environment: str):
        command = [sys.executable, "-m", "csnn_torch.compare.worker", run, side, *dataset]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | environment,
        )

    def ask(self, what: str) -> dict[str, Any]:
        """Its answer to `step`, `infer`, `density` or `report`.

        Raises:
            RuntimeError: it exited instead; the message is its last error line on stderr, or its exit code.
        """
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(self._reason())
        return json.loads(answer)

    def _reason(self) -> str:
        with self._errors:
            self._process.communicate()
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").split("\n")
        ended = f"ended with code {self._process.returncode}"
        errors = [line.strip() for line in lines if "Error" in line or "error:" in line]
        return [ended, *errors][-1].removeprefix("csnn_jax.errors.UserError: ")

    def close(self) -> None:
        """Ends the process and waits for it."""
        with self._errors:
            self._process.communicate()


def measure(
    run: str,
    sides: Sequence[str],
    turns: int,
    rounds: int,
    *dataset: str,
    seconds: float = SECONDS,
    progress: Callable[[str], object] = lambda line: None,
) -> list[Cost]:
    """Measures the sides in turns.

    Args:
        run: run directory of a trained network (a silent one would be cheaper and prove nothing).
        sides: names in SIDES.
        turns: number of processes per side.
        rounds: smallest number of timed inference batches and training iterations per process.
        dataset: name of the data set; omitted: the run's.
        seconds: shortest total time of a process's rounds of one kind.
        progress: called with a line before each process.
    """
    costs = {side: Cost(side) for side in sides}
    with Scratch() as cache:
        for turn in range(1, turns + 1):
            for cost in costs.values():
                if cost.failed is None:
                    progress(f"{readable(cost.side)}, turn {turn} of {turns}")
                    _turn(cost, run, rounds, seconds, str(cache), *dataset)
    return list(costs.values())


def _turn(cost: Cost, run: str, rounds: int, seconds: float, cache: str, *dataset: str) -> None:
    began, busy = time.perf_counter(), machine.busy_s()
    process = Process(run, cost.side, *dataset, JAX_COMPILATION_CACHE_DIR=cache)
    try:
        first = process.ask("infer")  # at the run's weights; compiles
        infer = _timed(process, "infer", rounds, seconds)
        densities = cost.densities or process.ask("density")["densities"]
        first_step = process.ask("step")
        step = _timed(process, "step", rounds, seconds)
        report = process.ask("report")
    except RuntimeError as error:
        cost.failed = str(error)
        return
    cost.others += others(began, busy, report["whole_process_s"])
    process.close()
    if not cost.step.clock:
        cost.first_infer, cost.first_step = first["seconds"], first_step["seconds"]
    cost.predictions, cost.densities, cost.description = first["predictions"], densities, report["description"]
    _add(cost.infer, infer)
    _add(cost.step, step)
    cost.peak_memory_mb = max(cost.peak_memory_mb, report["peak_memory_mb"])


def _timed(process: Process, work: Work, rounds: int, seconds: float) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    while len(answers) < rounds or sum(answer["seconds"] for answer in answers) < seconds:
        answers.append(process.ask(work))
    return answers


def _add(rounds: Rounds, answers: Sequence[dict[str, Any]]) -> None:
    rounds.clock.append([answer["seconds"] for answer in answers])
    rounds.processor.append([answer["processor_s"] for answer in answers])


def others(began: float, busy: float | None, used: float) -> list[float]:
    """Share of the CPU time since `began` that other programs used; empty if the system doesn't report it.

    Args:
        began: when a side's process was started, by `time.perf_counter`.
        busy: `machine.busy_s` at that time.
        used: CPU seconds that the process used.
    """
    now = machine.busy_s()
    if now is None or busy is None:
        return []
    there = machine.cpus() * (time.perf_counter() - began)
    return [round(max(0.0, now - busy - used) / there, 3)]
