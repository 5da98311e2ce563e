"""Times one training iteration and one inference batch of csnn_jax beside snnTorch's tutorial loop; prints JSON.

    python benchmarks/train_step.py RUN > results/train_step.json

RUN is a run directory of the trained network (a silent network would be cheaper and prove nothing). Both sides start
from its weights, take the same real MNIST batches in the same order, use all CPUs, and do forward, backward, Adam and
the loss's read-back. They take turns, each turn a fresh process with a warm-up and then the timed rounds, alone on the
machine; medians over all turns are reported. (Turns of one iteration each would not be fair: after another process
has kept both CPUs busy, XLA's threads stay badly placed, and the scan engine's iterations take half as long again.)
Start-up is measured from an empty compilation cache, and again from the one that it left.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from csnn_jax import data, rundir

TURNS = 2  # of each side
VERSIONS = ("jax", "jaxlib", "flax", "optax", "torch", "snntorch", "numpy")


class Jax:
    """csnn_jax as `python -m csnn_jax.train` runs it."""

    def __init__(self, config, dataset, tensors):
        from csnn_jax.learner import Learner

        self.learner = Learner(config, dataset.train, tensors)
        self.dataset = dataset

    def describe(self) -> str:
        return self.learner.describe()

    def step(self, iteration: int, index: np.ndarray) -> float:
        return self.learner.step(iteration, index)[0]

    def infer(self, index: np.ndarray) -> np.ndarray:
        split = data.Split(self.dataset.test.images[index], self.dataset.test.labels[index])
        evaluation = self.learner.evaluate(split)
        self.densities = evaluation.densities
        return evaluation.predictions


class SnnTorch:
    """snnTorch's tutorial: nn.Sequential with hidden state, a Python loop over time, ce_rate_loss, Adam."""

    def __init__(self, config, dataset, tensors):
        import torch
        from snntorch import functional

        from csnn_torch import model

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.torch, self.model, self.config, self.dataset = torch, model, config.model, dataset
        self.network = model.sequential(config.model)
        model.load_tensors(self.network, tensors)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.train.lr)
        self.loss = functional.ce_rate_loss()

    def describe(self) -> str:
        return f"eager, {self.torch.get_num_threads()} threads"

    def batch(self, split, index: np.ndarray):
        images = self.torch.tensor(split.images[index]).permute(0, 3, 1, 2).contiguous().float() / 255
        return images, self.torch.tensor(split.labels[index]).long()

    def step(self, iteration: int, index: np.ndarray) -> float:
        images, labels = self.batch(self.dataset.train, index)
        spikes = self.model.run(self.network, images, self.config.time_steps)
        loss = self.loss(spikes, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def infer(self, index: np.ndarray) -> np.ndarray:
        fired = [0.0] * len(self.config.layers)

        def watch(number):
            def hook(module, inputs, output):
                spikes = output[0] if isinstance(output, tuple) else output
                fired[number] += float(spikes.mean())

            return hook

        images, _ = self.batch(self.dataset.test, index)
        with self.torch.no_grad():
            if not hasattr(self, "densities"):  # once, and not in a timed call: hooks cost time
                neurons = [m for m in self.network if type(m).__name__ == "Leaky"]
                hooks = [m.register_forward_hook(watch(i)) for i, m in enumerate(neurons)]
                self.model.run(self.network, images, self.config.time_steps)
                for hook in hooks:
                    hook.remove()
                self.densities = {f"lif{i}": d / self.config.time_steps for i, d in enumerate(fired, 1)}
            spikes = self.model.run(self.network, images, self.config.time_steps)
        return spikes.sum(0).argmax(1).numpy()


SIDES = {"csnn_jax": Jax, "snntorch": SnnTorch}


class Process:
    """One side in a process of its own, which works only while it is asked to."""

    def __init__(self, run: str, side: str, engine: str, **environment: str):
        command = [sys.executable, __file__, run, "--engine", engine, "--worker", side]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment
        )

    def ask(self, what: str) -> dict:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


def worker(run: str, name: str, engine: str) -> None:
    """Answers `step`, `infer` and `report`, one line each, until standard input ends."""
    config, dataset, tensors = load(run)
    config = replace(config, train=replace(config.train, engine=engine))
    side = SIDES[name](config, dataset, tensors)
    batches = data.epoch_batches(config.train.seed, 1, len(dataset.train.labels), config.train.batch_size)
    images = np.arange(config.train.batch_size)
    step = 0
    for line in sys.stdin:
        began = time.perf_counter()
        answer: dict = {}
        if line == "step\n":
            answer["loss"] = side.step(step, batches[step])
            step += 1
        elif line == "infer\n":
            answer["predictions"] = side.infer(images).tolist()
        else:
            answer |= {"description": side.describe(), "density": side.densities, "peak_memory_mb": peak_memory_mb()}
        seconds = round(time.perf_counter() - began, 4)
        print(json.dumps(answer | {"seconds": seconds, "now": time.time()}), flush=True)


def main() -> None:
    options = arguments()
    if options.worker:
        return worker(options.run, options.worker, options.engine)
    config, _, _ = load(options.run)
    turns = [(name, turn(options.run, name, options.engine, options.rounds)) for _ in range(TURNS) for name in SIDES]
    last = dict(turns)
    same = np.equal(last["csnn_jax"]["predictions"], last["snntorch"]["predictions"])
    result = {
        "command": f"python benchmarks/train_step.py RUN --engine {options.engine} --rounds {options.rounds}",
        "sides": {name: found["description"] for name, found in last.items()},
        "commit": commit(),
        "processor": processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
        "batch_size": config.train.batch_size,
        "time_steps": config.model.time_steps,
        "density": {name: found["density"] for name, found in last.items()},
        "same_predictions": f"{same.sum()} of {same.size}",
        "training_iteration": compare(turns, "step"),
        "inference_batch": compare(turns, "infer"),
        "peak_memory_mb": {name: found["peak_memory_mb"] for name, found in last.items()},
        "start_to_first_iteration_s": start_up(options.run, options.engine),
    }
    print(json.dumps(result, indent=2))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run directory of a trained network")
    parser.add_argument("--engine", default="auto", choices=("auto", "scan", "event"), help="csnn_jax's engine")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each turn")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def load(path: str):
    _, config, tensors = rundir.open_run(path)
    return config, data.load(config.data.dataset, config.model.input_shape), tensors


def turn(run: str, name: str, engine: str, rounds: int) -> dict:
    """One process: its predictions, the seconds of `rounds` inference batches and iterations, and its report."""
    process = Process(run, name, engine)
    predictions = process.ask("infer")["predictions"]  # at equal weights, and a warm-up
    infer = [process.ask("infer")["seconds"] for _ in range(rounds)]
    process.ask("step")  # warm-up: compilation here, memory allocation there
    step = [process.ask("step")["seconds"] for _ in range(rounds)]
    report = process.ask("report")
    process.close()
    return report | {"predictions": predictions, "infer": infer, "step": step}


def compare(turns: list[tuple[str, dict]], what: str) -> dict:
    """All seconds of both sides, their medians, and how many times csnn_jax's goes into snnTorch's."""
    times = {side: [second for name, found in turns if name == side for second in found[what]] for side in SIDES}
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {"seconds": times, "median_s": medians, "ratio": round(medians["snntorch"] / medians["csnn_jax"], 2)}


def start_up(run: str, engine: str) -> dict[str, float]:
    """Seconds from starting a process to the end of its first training iteration."""
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        for label in ("empty_cache", "warm_cache"):
            began = time.time()
            process = Process(run, "csnn_jax", engine, JAX_COMPILATION_CACHE_DIR=cache)
            found[label] = round(process.ask("step")["now"] - began, 2)
            process.close()
    return found


def peak_memory_mb() -> int:
    """Of this process since its start (getrusage would give its parent's where that was larger)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def commit() -> str:
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return git.stdout.strip()


if __name__ == "__main__":
    main()
