"""What does each cost? Seconds of a training iteration and of an inference batch, compile time, peak memory.

Wall time depends on what else the machine does, so CPU time is reported, too, and the share of the CPUs that other
programs used; `timings.py` decides when there's no ratio.

Every side runs in its own processes, `python -m csnn_torch.compare.worker RUN SIDE`, which only work when asked to.
Alternating after each iteration wouldn't be fair: once another process has kept all CPUs busy, XLA's threads stay badly
placed, and the scan engine's iterations take half as long again. So a turn is a fresh process with a warmup and then
the timed rounds; the sides take turns, and the medians over all turns count.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from csnn_jax import machine
from csnn_jax.files import Scratch
from csnn_torch.compare.timings import Cost, Rounds


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
        said = [line.strip() for line in lines if "Error" in line or "error:" in line]
        return (
            said[-1].removeprefix("csnn_jax.errors.UserError: ")
            if said
            else f"ended with code {self._process.returncode}"
        )

    def close(self) -> None:
        """Ends the process and waits for it."""
        with self._errors:
            self._process.communicate()


def measure(run: str, sides: Sequence[str], turns: int, rounds: int, *dataset: str) -> list[Cost]:
    """Measures the sides in turns.

    Args:
        run: run directory of a trained network (a silent one would be cheaper and prove nothing).
        sides: names in SIDES.
        turns: number of processes per side.
        rounds: timed inference batches and training iterations per process.
        dataset: name of the data set; omitted: the run's.
    """
    costs = {side: Cost(side) for side in sides}
    with Scratch() as cache:
        for _ in range(turns):
            for cost in costs.values():
                if cost.failed is None:
                    _turn(cost, run, rounds, str(cache), *dataset)
    return list(costs.values())


def _turn(cost: Cost, run: str, rounds: int, cache: str, *dataset: str) -> None:
    began, busy = time.perf_counter(), machine.busy_s()
    process = Process(run, cost.side, *dataset, JAX_COMPILATION_CACHE_DIR=cache)
    try:
        first = process.ask("infer")  # at the run's weights; compiles
        infer = [process.ask("infer") for _ in range(rounds)]
        densities = cost.densities or process.ask("density")["densities"]
        first_step = process.ask("step")
        step = [process.ask("step") for _ in range(rounds)]
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


def _add(rounds: Rounds, answers: Sequence[dict[str, Any]]) -> None:
    rounds.clock.append([answer["seconds"] for answer in answers])
    rounds.processor.append([answer["processor_s"] for answer in answers])


def others(began: float, busy: float | None, own: float) -> list[float]:
    """Share of the CPU time since `began` that other programs used; empty if the system doesn't report it.

    Args:
        began: when a side's process was started, by `time.perf_counter`.
        busy: `machine.busy_s` at that time.
        own: CPU seconds that the process used.
    """
    now = machine.busy_s()
    if now is None or busy is None:
        return []
    there = machine.cpus() * (time.perf_counter() - began)
    return [round(max(0.0, now - busy - own) / there, 3)]
