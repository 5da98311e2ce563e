"""Times one training iteration and one inference batch of csnn_jax beside snnTorch's tutorial loop; prints JSON.

    python benchmarks/train_step.py RUN > results/train_step.json

RUN is a run directory of the trained network (a silent network would be cheaper and prove nothing). Both sides start
from its weights, take the same real MNIST batches in the same order, use all CPUs, and do forward, backward, Adam and
the loss's read-back. Each side has a process of its own and they take turns, so that neither's threads nor memory are
in the other's way; medians are reported. Start-up is measured from an empty compilation cache, and again from the one
that it left.
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
    sides = {name: Process(options.run, name, options.engine) for name in SIDES}
    before = {name: side.ask("infer") for name, side in sides.items()}  # at equal weights, and a warm-up
    inference = in_turns(sides, "infer", options.rounds)
    training = in_turns(sides, "step", options.rounds + 1)
    reports = {name: side.ask("report") for name, side in sides.items()}
    for side in sides.values():
        side.close()
    same = np.equal(before["csnn_jax"]["predictions"], before["snntorch"]["predictions"])
    result = {
        "command": f"python benchmarks/train_step.py RUN --engine {options.engine} --rounds {options.rounds}",
        "csnn_jax": reports["csnn_jax"]["description"],
        "commit": commit(),
        "processor": processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
        "batch_size": config.train.batch_size,
        "time_steps": config.model.time_steps,
        "density": {name: report["density"] for name, report in reports.items()},
        "same_predictions": f"{same.sum()} of {same.size}",
        "training_iteration": training,
        "inference_batch": inference,
        "peak_memory_mb": {name: report["peak_memory_mb"] for name, report in reports.items()},
        "start_to_first_iteration_s": start_up(options.run, options.engine),
    }
    print(json.dumps(result, indent=2))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run directory of a trained network")
    parser.add_argument("--engine", default="auto", choices=("auto", "scan", "event"), help="csnn_jax's engine")
    parser.add_argument("--rounds", type=int, default=7, help="timed turns of each side, after one to warm up")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def load(path: str):
    _, config, tensors = rundir.open_run(path)
    return config, data.load(config.data.dataset, config.model.input_shape), tensors


def in_turns(sides: dict[str, Process], what: str, rounds: int) -> dict:
    """Asks each side in turn: all seconds but the first turn's (warm-up), their medians, and the ratio of medians."""
    turns = [{name: side.ask(what)["seconds"] for name, side in sides.items()} for _ in range(rounds)][1:]
    times = {name: [turn[name] for turn in turns] for name in sides}
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
