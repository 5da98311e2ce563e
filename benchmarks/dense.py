"""Times the event engine and snnTorch's loops on a wide network at several spike densities; prints JSON.

    python benchmarks/dense.py > results/dense.json

64, 128 and 256 channels on noise of 32 by 32 pixels and 3 channels, 25 steps, batches of 64. The weights are random,
and each layer's biases are shifted together until the chosen fraction of its neurons spike. For each layer it prints
the milliseconds of its operations, the GFLOP that a loop without sparsity needs for them, and the resulting GFLOP/s as
a fraction of a large matrix product's on this machine: above 1, the layer takes less time than its product would.
"""

import argparse
import json
import math
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import engine_profile
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import csnn_jax
from csnn_jax import data, machine
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.engine import process
from csnn_jax.engine.library import padded
from csnn_jax.engine.stages import Stage, stages
from csnn_jax.network import model as models
from csnn_jax.runner import Runners
from csnn_jax.runs import rundir
from csnn_torch.compare import cost
from csnn_torch.compare.cost import Work

BATCH = 64
SIDES = ("event", "snntorch", "snntorch channels last")
NETWORK = ModelConfig(input_shape=(32, 32, 3), conv_channels=(64, 128, 256), hidden=(), time_steps=25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--densities", nargs="+", type=float, default=[0.05, 0.25, 0.5, 0.75])
    parser.add_argument("--turns", type=int, default=2, help="processes for each side")
    parser.add_argument("--rounds", type=int, default=1, help="timed rounds in each turn")
    options = parser.parse_args()
    process.set_up("float32")
    about = {"command": "python benchmarks/dense.py", "commit": machine.commit(), **machine.describe()}
    with tempfile.TemporaryDirectory() as folder:
        dataset = f"arrays:{noise(Path(folder))}"
        config = Config(NETWORK, DataConfig(dataset=dataset), TrainConfig(batch_size=BATCH, engine="event"))
        rows = []
        for density in options.densities:
            run = f"{folder}/{density}"
            csnn_jax.save(firing(config, density), config, run)
            sides = cost.measure(run, SIDES, options.turns, options.rounds, dataset)
            rows.append(row(density, sides, layers(run)))
    print(json.dumps(about | {"batch": BATCH, "sgemm_gflops": round(sgemm()), "rows": rows}, indent=1))


def noise(folder: Path) -> Path:
    rng, path = np.random.default_rng(0), folder / "noise.npz"
    parts = {}
    for part, count in (("train_", 256), ("", 128)):
        parts[f"{part}images"] = rng.integers(0, 256, (count, *NETWORK.input_shape), dtype=np.uint8)
        parts[f"{part}labels"] = np.arange(count) % NETWORK.num_classes
    np.savez(path, **parts)
    return path


def firing(config: Config, density: float) -> models.CSNN:
    """A network in which this fraction of each hidden layer's neurons spikes per step, on one batch."""
    network = models.CSNN(config.model, 0)
    images = data.load_for(config).train.images
    runner = Runners(network, "event", 0).of(images)
    x = runner.present(runner.hold(images), np.arange(BATCH), (0, 0))
    for index, neurons in enumerate(config.model.graph.neurons[:-1]):
        bias, low, high = list(network.weights.values())[index].bias, -4.0, 4.0
        assert bias is not None
        drawn, spikes = bias[...], neurons.size * BATCH * config.model.time_steps
        for _ in range(14):
            bias.set_value(drawn + jnp.float32((low + high) / 2))
            fired = float(runner.count(nnx.split(network)[1], x).fired[:, index].sum()) / spikes
            low, high = ((low + high) / 2, high) if fired < density else (low, (low + high) / 2)
    return network


def row(density: float, sides: list[cost.Cost], costs: list[dict[str, Any]]) -> dict[str, Any]:
    ours, *others = sides
    failed = [f"{side.side}: {side.failed}" for side in sides if side.failed]
    if failed:
        raise SystemExit("; ".join(failed))

    def against(work: Work) -> float | str:
        return ours.speed(min(others, key=lambda side: side.rounds(work).clock_s), work)

    return {
        "density": density,
        "densities": ours.densities,
        "times_as_fast": {"training": against("step"), "inference": against("infer")},
        "seconds": {side.side: {"step": side.step.clock_s, "infer": side.infer.clock_s} for side in sides},
        "layers": costs,
    }


def layers(run: str) -> list[dict[str, Any]]:
    """The cost of each layer in an inference batch and in a training iteration."""
    _, config, tensors = rundir.open_run(run)
    training, inference = engine_profile.compiled(config, tensors, data.load_for(config))
    costs = []
    forward, both = (engine_profile.spent_and_total(*work)[0] for work in (inference, training))
    for index, stage in enumerate(stages(config.model.graph)):
        node = stage.weights
        gflop = 2e-9 * math.prod(node.shape[:-1]) * math.prod(node.kernel_shape) * BATCH
        gflop *= config.model.time_steps if index else 1
        of = re.compile(pattern(stage, BATCH))
        ms = [sum(time for name, time in times.items() if of.search(name)) for times in (forward, both)]
        costs.append({"layer": node.name, "inference": share(gflop, ms[0]), "training": share(3 * gflop, ms[1])})
    return costs


def pattern(stage: Stage, batch: int) -> str:
    """A pattern for the results of a stage's operations: its spikes, or its weights' gradient."""
    wide, shape = padded(stage.channels), stage.weights.kernel_shape
    words = math.prod(stage.shape[:-1]) * wide // 16
    weights = ",".join(map(str, (*shape[:-2], padded(shape[-2]), wide)))
    raw = ",".join(map(str, (*shape[:-1], wide)))
    return rf"u16\[{batch},\d+,{words}\]|f32\[{weights}\]|f32\[{raw}\]|\(f32\[{batch},{16 * words}\]"


def share(gflop: float, ms: float) -> dict[str, float]:
    return {"ms": round(ms, 2), "gflop": round(gflop, 2), "of_sgemm": round(gflop / ms * 1000 / sgemm(), 2)}


def sgemm(size: int = 2048) -> float:
    """GFLOP/s of a large matrix product, the best of six."""
    if not (rates := _RATE):
        a = jax.random.normal(jax.random.key(0), (size, size))
        multiply = jax.jit(jnp.matmul)
        for _ in range(6):
            began = time.perf_counter()
            jax.block_until_ready(multiply(a, a))
            rates.append(2e-9 * size**3 / (time.perf_counter() - began))
    return max(rates)


_RATE: list[float] = []


if __name__ == "__main__":
    main()
