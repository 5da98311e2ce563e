"""What does each cost? Seconds of a training iteration and of an inference batch, compile time, peak memory.

Every side runs in processes of its own, `python -m csnn_torch.compare.worker RUN SIDE`, that work only while they are
asked to. Turns of one iteration each would not be fair: after another process has kept all CPUs busy, XLA's threads
stay badly placed, and the scan engine's iterations take half as long again. So a turn is a fresh process with a warm-up
and then the timed rounds; the sides take turns, and medians over all turns count.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from csnn_jax.files import Scratch
from csnn_torch.compare.results import Cost


class Process:
    """One side in a process of its own."""

    def __init__(self, run: str, side: str, **environment: str):
        command = [sys.executable, "-m", "csnn_torch.compare.worker", run, side]
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
            RuntimeError: it ended instead; the last line that it wrote to stderr.
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
        return said[-1] if said else f"ended with code {self._process.returncode}"

    def close(self) -> None:
        """Ends the process and waits for it."""
        with self._errors:
            self._process.communicate()


def measure(run: str, sides: Sequence[str], turns: int, rounds: int) -> list[Cost]:
    """Lets the sides take turns.

    Args:
        run: run directory of a trained network (a silent one would be cheaper and prove nothing).
        sides: names out of SIDES.
        turns: processes of every side.
        rounds: timed inference batches and training iterations of each.
    """
    costs = {side: Cost(side) for side in sides}
    with Scratch() as cache:
        for _ in range(turns):
            for cost in costs.values():
                if cost.failed is None:
                    _turn(cost, run, rounds, str(cache))
    return list(costs.values())


def _turn(cost: Cost, run: str, rounds: int, cache: str) -> None:
    process = Process(run, cost.side, JAX_COMPILATION_CACHE_DIR=cache)
    try:
        first = process.ask("infer")  # at the run's weights; compiles
        infer = [process.ask("infer")["seconds"] for _ in range(rounds)]
        densities = process.ask("density")["densities"]
        first_step = process.ask("step")["seconds"]
        step = [process.ask("step")["seconds"] for _ in range(rounds)]
        report = process.ask("report")
    except RuntimeError as error:
        cost.failed = str(error)
        return
    process.close()
    if not cost.step:
        cost.first_infer, cost.first_step = first["seconds"], first_step
    cost.predictions, cost.densities, cost.description = first["predictions"], densities, report["description"]
    cost.infer += infer
    cost.step += step
    cost.peak_memory_mb = max(cost.peak_memory_mb, report["peak_memory_mb"])
