"""Times this project and other libraries on the same job, and counts the spikes in which they differ; prints JSON.

    python benchmarks/peers.py RUN --environments DIR > results/peers.json

RUN is a run directory of the default network. Each library gets a virtual environment in DIR, which is kept, and has a
file in benchmarks/peers/. All start from RUN's weights and use the same batches. The rows take turns, each in a fresh
process; the machine must be otherwise idle. If a library can't be installed or fails, its row says why.
benchmarks/results.py makes the tables and the chart.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from peer_environments import Unavailable, environment, last_error

from csnn_jax import data, machine
from csnn_jax.config import ModelConfig, lr_of
from csnn_jax.files import Scratch
from csnn_jax.runs import rundir
from csnn_torch.compare.cost import Cost, Work, others

MEASURE = Path(__file__).parent / "peers/measure.py"
OURS = "csnn_jax, event engine"
"""The row that the others are compared with."""
SECONDS = 1200
"""Timeout for a turn."""


class Failed(Exception):
    """A turn failed; the message says why in a few words."""


@dataclass(frozen=True)
class Row:
    """A row of the table: a library, or one way to use it.

    Attributes:
        name: its name in the table.
        library: its file in benchmarks/peers/, and its environment; several rows may share them.
        variant: the variant for the file to run.
        installs: packages to install; None: the row runs in this process's environment.
        python: the oldest Python that it supports.
        turns: number of timed processes, fewer for slow rows.
        rounds: number of timed iterations, and inference batches, in each.
    """

    name: str
    library: str
    variant: str = "-"
    installs: tuple[str, ...] | None = None
    python: tuple[int, int] = (3, 11)
    turns: int = 3
    rounds: int = 3


SNNTORCH = ("snntorch==1.0.0", "torch", "numpy", "nir", "nirtorch")
NORSE = ("norse==1.1.0", "setuptools")
JELLY = ("spikingjelly==2.0.0",)
ROWS = (
    Row(OURS, "csnn_jax", "event"),
    Row("csnn_jax, scan engine", "csnn_jax", "scan"),
    Row("snnTorch", "snntorch", "tutorial", SNNTORCH, rounds=2),
    Row("snnTorch, channels last", "snntorch", "channels last", SNNTORCH, turns=2, rounds=2),
    Row("snnTorch, first convolution once", "snntorch", "once", SNNTORCH, turns=2, rounds=2),
    Row("snnTorch, channels last and once", "snntorch", "channels last, once", SNNTORCH, turns=2, rounds=2),
    Row("Norse", "norse", "eager", NORSE, turns=2, rounds=2),
    Row("Norse, torch.compile", "norse", "compiled", NORSE, turns=2, rounds=2),
    Row("SpikingJelly, multi-step", "spikingjelly", "m", JELLY, turns=2, rounds=1),
    Row("SpikingJelly, step by step", "spikingjelly", "s", JELLY, turns=2, rounds=1),
    Row("Sinabs", "sinabs", installs=("sinabs==3.1.3",), turns=2, rounds=1),
    Row("Spyx", "spyx", installs=("spyx==1.0.0",), turns=1, rounds=1),
    Row("jaxpike", "jaxpike", installs=("jaxpike==0.1.4",), turns=2, rounds=1),
    Row("sparx", "sparx", installs=("sparxml==0.1.1",), python=(3, 12), turns=2, rounds=1),
)


@dataclass
class Measured:
    """The results of a row's turns.

    Attributes:
        cost: seconds of iterations and inference batches, memory, and other programs' CPU share.
        first: seconds from the start of each turn's process to the end of its first iteration.
        about: what the library's process reports about itself.
        spikes: spikes of the output neurons on the inference batch [time, batch, classes].
    """

    row: Row
    cost: Cost
    first: list[float] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    spikes: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))

    def add(self, figures: dict[str, Any], spikes: np.ndarray, busy: Sequence[float]) -> None:
        """Adds a turn.

        Args:
            figures: the figures from measure.py.
            spikes: as above.
            busy: fraction of the CPU time that other programs used, or empty.
        """
        self.first.append(figures["first_iteration_s"])
        for rounds, key in ((self.cost.step, "step"), (self.cost.infer, "infer")):
            rounds.clock.append(figures[key]["clock"])
            rounds.processor.append(figures[key]["processor"])
        self.cost.peak_memory_mb = max(self.cost.peak_memory_mb, figures["peak_memory_mb"])
        self.cost.others += busy
        self.about = {key: figures[key] for key in ("python", "versions", "differs", "advice")}
        self.spikes = spikes

    def as_json(self, ours: "Measured") -> dict[str, Any]:
        """Medians over all turns, each round, and the comparison with our row; or why the row failed."""
        name = {"name": self.row.name, "library": self.row.library, "variant": self.row.variant}
        if self.cost.failed:
            return name | {"failed": self.cost.failed}
        costs = self.cost.as_json()
        medians = {
            f"{work}{kind}_s": costs[f"{work}{kind}_s"] for work in ("step", "infer") for kind in ("", "_processor")
        }
        medians |= {"first_iteration_s": float(np.median(self.first)), "peak_memory_mb": costs["peak_memory_mb"]}
        rounds = {
            "step": costs["step"],
            "infer": costs["infer"],
            "first_iterations": self.first,
            "others": costs["others"],
        }
        return name | self.about | medians | compared(self, ours) | rounds


def compared(row: Measured, ours: Measured) -> dict[str, Any]:
    """A row's times and spikes compared with our row's; empty if ours failed."""
    if not ours.first:
        return {}
    counts = row.spikes.sum(0), ours.spikes.sum(0)
    ratios = {"training": ratio(row, ours, "step"), "inference": ratio(row, ours, "infer")}
    return {
        "times_as_long": ratios if row is not ours else {},
        "spikes": int(row.spikes.sum()),
        "spikes_that_differ": int((row.spikes != ours.spikes).sum()),
        "of": row.spikes.size,
        "predictions_that_differ": int((counts[0].argmax(-1) != counts[1].argmax(-1)).sum()),
    }


def ratio(row: Measured, ours: Measured, work: Work) -> float | str:
    """How many times as long as our row a row takes, or why there is no ratio."""
    for side, prefix in ((row, ""), (ours, f"{ours.row.name}: ")):
        if why := side.cost.unsteady(work):
            return f"none: {prefix}{why}"
    return float(f"{row.cost.rounds(work).clock_s / ours.cost.rounds(work).clock_s:.2g}")


def main() -> None:
    options = arguments()
    rows = [Measured(row, Cost(row.name)) for row in chosen(options)]
    with Scratch() as folder:
        job = folder / "job.npz"
        write_job(job, options, max(one.row.rounds for one in rows))
        pythons = prepared(rows, Path(options.environments).absolute())
        for turn in range(max(one.row.turns for one in rows)):
            for one in rows:
                if turn < one.row.turns and not one.cost.failed:
                    attempt(one, pythons[one.row.library], job, folder, options.threads)
    print(json.dumps(result(rows, options), indent=2))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run directory of the default network")
    parser.add_argument("--environments", required=True, help="folder for the libraries' environments")
    names = ", ".join(sorted({row.library for row in ROWS}))
    parser.add_argument("--only", nargs="+", metavar="LIBRARY", help=f"some of {names}; default: all")
    parser.add_argument("--turns", type=int, default=3, help="maximum number of processes for each row")
    parser.add_argument("--rounds", type=int, default=3, help="maximum number of timed rounds in each")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--time-steps", type=int, default=ModelConfig.time_steps)
    parser.add_argument("--threads", type=int, default=machine.cpus())
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[Row]:
    """The selected rows, with limited turns and rounds."""
    rows = [row for row in ROWS if not options.only or row.library in options.only]
    return [replace(row, turns=min(row.turns, options.turns), rounds=min(row.rounds, options.rounds)) for row in rows]


def write_job(path: Path, options: argparse.Namespace, rounds: int) -> None:
    """Writes the input of measure.py: the run's weights, and batches for the first iteration and the timed ones.

    Raises:
        SystemExit: the run doesn't have the default network.
    """
    _, config, tensors = rundir.open_run(options.run)
    default = ModelConfig(scale=config.model.scale, input_bits=config.model.input_bits)
    if [*config.model.graph] != [*default.graph] or config.data.dataset != "mnist":
        raise SystemExit(f"RUN {options.run}: expected a run of the default network on MNIST")
    dataset = data.load_for(config)
    batches = data.epoch_batches(config.train.seed, 1, len(dataset.train.labels), options.batch_size)[: rounds + 1]
    np.savez(
        path,
        images=np.asarray(dataset.train.images)[batches][..., 0],
        labels=dataset.train.labels[batches].astype(np.int64),
        test=np.asarray(dataset.test.images)[: options.batch_size, ..., 0],
        time_steps=options.time_steps,
        threads=options.threads,
        learning_rate=lr_of(config),
        **tensors,
    )


def prepared(rows: Sequence[Measured], folder: Path) -> dict[str, str]:
    """The Python for each library; marks rows as failed if their library can't be installed."""
    pythons: dict[str, str] = {}
    for one in rows:
        row = one.row
        try:
            if row.installs is None:
                pythons[row.library] = sys.executable
            elif row.library not in pythons:
                pythons[row.library] = environment(folder / row.library, row.installs, row.python)
        except Unavailable as error:
            one.cost.failed = f"can't be installed: {error}"
    return pythons


def attempt(one: Measured, python: str, job: Path, folder: Path, threads: int) -> None:
    """Runs one turn of a row, and prints its times."""
    began, busy = time.perf_counter(), machine.busy_s()
    try:
        figures, spikes = measured(one.row, python, job, folder, threads)
    except Failed as error:
        one.cost.failed = str(error)
        print(f"{one.row.name}: {error}", file=sys.stderr)
        return
    one.add(figures, spikes, others(began, busy, figures["whole_process_s"]))
    steps = ", ".join(f"{seconds:.3g}" for seconds in figures["step"]["clock"])
    print(f"{one.row.name}: iterations of {steps} s", file=sys.stderr)


def measured(row: Row, python: str, job: Path, folder: Path, threads: int) -> tuple[dict[str, Any], np.ndarray]:
    """Figures and output spikes of a turn.

    Raises:
        Failed: the process did, or took too long.
    """
    inherited = {name: value for name, value in os.environ.items() if row.installs is None or name != "PYTHONPATH"}
    compiled = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    given = (row.library, row.variant, row.rounds, job, folder, time.time())
    command = [python, "-P", str(MEASURE), *map(str, given)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=inherited | compiled | {"OMP_NUM_THREADS": str(threads)},
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"took longer than {SECONDS // 60} minutes") from None
    if done.returncode == -9:
        raise Failed("was killed, probably because it ran out of memory")
    if done.returncode:
        raise Failed(last_error(done.stderr) or f"ended with code {done.returncode}")
    return json.loads((folder / "figures.json").read_text()), np.load(folder / "spikes.npy")


def result(rows: Sequence[Measured], options: argparse.Namespace) -> dict[str, Any]:
    """The result to print."""
    ours = next((one for one in rows if one.row.name == OURS), Measured(ROWS[0], Cost(OURS)))
    size = {name: getattr(options, name) for name in ("batch_size", "time_steps", "threads")}
    flags = [f"--{name.replace('_', '-')} {value}" for name, value in size.items()]
    return {
        "command": " ".join(["python benchmarks/peers.py RUN --environments DIR", *flags]),
        "commit": machine.commit(),
        **machine.describe(),
        **size,
        "rows": [one.as_json(ours) for one in rows],
    }


if __name__ == "__main__":
    main()
