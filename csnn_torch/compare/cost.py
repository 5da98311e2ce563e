"""What does each cost? Seconds of a training iteration and of an inference batch, compile time, peak memory.

Every side runs in processes of its own, `python -m csnn_torch.compare.cost RUN SIDE`, that work only while they are
asked to: turns of one iteration each would not be fair, for after another process has kept all CPUs busy, XLA's threads
stay badly placed, and the scan engine's iterations take half as long again. So a turn is a fresh process with a warm-up
and then the timed rounds; the sides take turns, and medians over all turns count. All start from the weights of RUN,
take the same images of its data set in the same order, and do forward, backward, Adam and the loss's read-back.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from csnn_jax import data
from csnn_jax.config import Config
from csnn_jax.runs import rundir
from csnn_jax.runs.metrics import Evaluation
from csnn_jax.runs.weights import Tensors
from csnn_jax.training import job


class Side(Protocol):
    """A framework at work."""

    def describe(self) -> str:
        """Framework, engine, device and threads."""
        ...

    def step(self, iteration: int, index: np.ndarray) -> None:
        """One training iteration on the training images `index`."""
        ...

    def infer(self, index: np.ndarray) -> np.ndarray:
        """Predicted classes of the test images `index`."""
        ...

    def densities(self, index: np.ndarray) -> dict[str, float]:
        """Share of the neurons that spike at a step, by layer, on the test images `index`."""
        ...


class Jax:
    """csnn_jax as `python -m csnn_jax.train --engine ENGINE` runs it."""

    def __init__(self, engine: Literal["scan", "event"], config: Config, dataset: data.Dataset, tensors: Tensors):
        from csnn_jax.training.learner import Learner

        config = replace(config, train=replace(config.train, engine=engine))
        self._learner, self._test = Learner(config, dataset.train, tensors), dataset.test

    def describe(self) -> str:
        return f"{self._learner.describe()} ({cpus()} threads)"

    def step(self, iteration: int, index: np.ndarray) -> None:
        self._learner.step(iteration, index)

    def infer(self, index: np.ndarray) -> np.ndarray:
        return _evaluate(self._learner, self._test, index).predictions

    def densities(self, index: np.ndarray) -> dict[str, float]:
        return _evaluate(self._learner, self._test, index).densities


class SnnTorch:
    """csnn_torch as `python -m csnn_torch.train` runs it, or made faster in a way that a user could.

    "compiled": one step of the network is given to torch.compile. "channels last": images are laid out so, and not as
    torch's data loader delivers them.
    """

    def __init__(
        self, way: Literal["", "compiled", "channels last"], config: Config, dataset: data.Dataset, tensors: Tensors
    ):
        import torch

        from csnn_torch.learner import Learner

        config = replace(config, train=replace(config.train, engine="auto"))
        self._torch, self._test = torch, dataset.test
        self._learner = Learner(config, dataset.train, tensors)
        if way == "channels last":
            self._learner.memory_format = torch.channels_last
        if way == "compiled":
            torch._dynamo.config.recompile_limit = 64  # a step is compiled anew for training, for the first step, ...
            self._learner.network.compile()

    def describe(self) -> str:
        return self._learner.describe()

    def step(self, iteration: int, index: np.ndarray) -> None:
        self._learner.step(iteration, index)

    def infer(self, index: np.ndarray) -> np.ndarray:
        with self._torch.no_grad():
            spikes = self._learner.run(self._learner.input(self._test.images, index, (1, 0)))
            return spikes.sum(0).argmax(1).cpu().numpy()

    def densities(self, index: np.ndarray) -> dict[str, float]:
        return _evaluate(self._learner, self._test, index).densities


def _evaluate(learner: job.Learner, test: data.Split, index: np.ndarray) -> Evaluation:
    found = learner.evaluate(data.Split(test.images[index], test.labels[index]), lambda: True)
    assert found is not None
    return found


SIDES: dict[str, Callable[..., Side]] = {
    "event": lambda *job: Jax("event", *job),
    "scan": lambda *job: Jax("scan", *job),
    "snntorch": lambda *job: SnnTorch("", *job),
    "snntorch channels last": lambda *job: SnnTorch("channels last", *job),
    "snntorch compiled": lambda *job: SnnTorch("compiled", *job),
}


class Process:
    """One side in a process of its own."""

    def __init__(self, run: str, side: str, **environment: str):
        command = [sys.executable, "-m", "csnn_torch.compare.cost", run, side]
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
        self.close()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if "Error" in line or "error:" in line]
        return said[-1] if said else f"ended with code {self._process.returncode}"

    def close(self) -> None:
        """Ends the process and waits for it."""
        self._process.communicate()


@dataclass
class Cost:
    """What one side costs.

    Attributes:
        failed: why it could not be measured; the rest is then empty.
        step, infer: seconds of every timed round, over all turns.
        first_step, first_infer: seconds of the very first ones, with an empty compilation cache.
        predictions, densities: of the inference batch, at the run's weights.
    """

    side: str
    failed: str | None = None
    description: str = ""
    step: list[float] = field(default_factory=list)
    infer: list[float] = field(default_factory=list)
    first_step: float = 0.0
    first_infer: float = 0.0
    peak_memory_mb: int = 0
    predictions: list[int] = field(default_factory=list)
    densities: dict[str, float] = field(default_factory=dict)

    @property
    def step_s(self) -> float:
        """Median seconds of a training iteration."""
        return statistics.median(self.step)

    @property
    def infer_s(self) -> float:
        """Median seconds of an inference batch."""
        return statistics.median(self.infer)

    @property
    def compile_s(self) -> float:
        """Seconds that the first training iteration took longer than the median one."""
        return max(0.0, self.first_step - self.step_s)

    def __str__(self) -> str:
        if self.failed:
            return f"{self.side}: failed: {self.failed}"
        times = f"iteration {self.step_s:.3f} s, inference batch {self.infer_s:.3f} s"
        return f"{self.side}: {times}, {self.peak_memory_mb} MB"

    def as_json(self) -> dict[str, Any]:
        if self.failed:
            return {"side": self.side, "failed": self.failed}
        medians = {"step_s": self.step_s, "infer_s": self.infer_s, "compile_s": round(self.compile_s, 3)}
        return asdict(self) | medians


def measure(run: str, sides: Sequence[str], turns: int, rounds: int) -> list[Cost]:
    """Lets the sides take turns.

    Args:
        run: run directory of a trained network (a silent one would be cheaper and prove nothing).
        sides: names out of SIDES.
        turns: processes of every side.
        rounds: timed inference batches and training iterations of each.
    """
    costs = {side: Cost(side) for side in sides}
    with tempfile.TemporaryDirectory() as cache:
        places = {"JAX_COMPILATION_CACHE_DIR": f"{cache}/jax", "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torch"}
        for _ in range(turns):
            for cost in costs.values():
                if cost.failed is None:
                    _turn(cost, run, rounds, places)
    return list(costs.values())


def _turn(cost: Cost, run: str, rounds: int, environment: dict[str, str]) -> None:
    process = Process(run, cost.side, **environment)
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


def load(run: str) -> tuple[Config, data.Dataset, Tensors]:
    """The job of a run directory: configuration, data, weights."""
    _, config, tensors = rundir.open_run(run)
    return config, data.load(config.data.dataset, config.model.input_shape), tensors


def work(run: str, name: str) -> None:
    """Answers `step`, `infer`, `density` and `report`, one line each, until standard input ends."""
    config, dataset, tensors = load(run)
    side = SIDES[name](config, dataset, tensors)
    batches = data.epoch_batches(config.train.seed, 1, len(dataset.train.labels), config.train.batch_size)
    images = np.arange(min(config.train.batch_size, len(dataset.test.labels)))
    step = 0
    for line in sys.stdin:
        began = time.perf_counter()
        answer: dict[str, Any] = {}
        if line == "step\n":
            side.step(step, batches[step % len(batches)])
            step += 1
        elif line == "infer\n":
            answer["predictions"] = side.infer(images).tolist()
        elif line == "density\n":
            answer["densities"] = side.densities(images)
        else:
            answer |= {"description": side.describe(), "peak_memory_mb": peak_memory_mb()}
        seconds = round(time.perf_counter() - began, 4)
        print(json.dumps(answer | {"seconds": seconds, "now": time.time()}), flush=True)


def peak_memory_mb() -> int:
    """Of this process since its start."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would give the parent's where that was larger
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20  # macOS, in bytes


def cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


if __name__ == "__main__":
    work(*sys.argv[1:])
