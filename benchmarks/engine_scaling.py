"""Measures how the cost of inference grows with spike density, time steps, batch size and threads; prints JSON.

    python benchmarks/engine_scaling.py RUN --plot docs/engine_scaling.png > results/engine_scaling.json
    python benchmarks/engine_scaling.py --from results/engine_scaling.json --plot docs/engine_scaling.png

RUN is a run directory of the trained network. Density: its two large layers (the last convolution and the first linear
layer) alone, on random spikes of each density and on the real spikes of test images. Time steps, batch and threads: the
whole network on real test images. Both engines run in one process; times are medians. The second command only redraws
the figure of an earlier result.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csnn_jax import machine
from csnn_jax.figures.style import BLUE, GRAY, INK, ORANGE, PAGE, new, png, powers, styled

if TYPE_CHECKING:  # importing JAX starts threads for the CPUs available at that time
    from jax import Array
    from matplotlib.axes import Axes

    from csnn_jax.engine.stages import Stage
    from csnn_jax.network.model import CSNN
    from csnn_jax.neurons.neuron import State

DENSITIES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
TIME_STEPS = (10, 30, 100, 300, 1000)
BATCHES = (1, 4, 16, 64, 128, 256, 1024)
ENGINES = ("event", "scan")
COLORS = {"event": BLUE, "scan": ORANGE}


def main() -> None:
    options = arguments()
    if options.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])  # before XLA makes its threads
        print(json.dumps(whole_network(options.run, 100, 128)))
        return
    result = json.loads(Path(options.earlier).read_text()) if options.earlier else measure(options.run)
    if options.plot:
        plot(result, options.plot)
    if not options.earlier:
        print(json.dumps(result, indent=2))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="run directory of a trained network")
    parser.add_argument("--from", dest="earlier", metavar="FILE", help="JSON of an earlier result, instead of a run")
    parser.add_argument("--plot", help="PNG file to write")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)  # child process: CPUs for the whole network
    options = parser.parse_args()
    if (options.run is None) == (options.earlier is None):
        parser.error("expected either RUN, to measure, or --from FILE, to draw again")
    if options.earlier and not options.plot:
        parser.error("--from: expected --plot with the file to write")
    return options


def measure(run: str) -> dict[str, Any]:
    """All figures for this machine."""
    return {
        "command": "python benchmarks/engine_scaling.py RUN",
        "commit": machine.commit(),
        **machine.describe(),
        "density": density(run),
        "time_steps": [{"time_steps": t} | whole_network(run, t, 128) for t in TIME_STEPS],
        "batch_size": [{"batch_size": b} | whole_network(run, 100, b) for b in BATCHES],
        "threads": [{"threads": n} | on_threads(run, n) for n in range(1, machine.cpus() + 1)],
    }


def milliseconds(function: Callable) -> float:
    """Median of at least three calls, after one warm-up call."""
    import jax

    jax.block_until_ready(function())
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 1 and len(times) < 50):
        began = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - began)
    return round(statistics.median(times) * 1000, 3)


def load(run: str, time_steps: int, batch: int) -> "tuple[CSNN, Array]":
    """The run's network with a window of `time_steps`, and a batch of test images in 0..1."""
    import jax.numpy as jnp

    from csnn_jax import data
    from csnn_jax.engine import process
    from csnn_jax.network.model import from_tensors
    from csnn_jax.runs import rundir

    process.set_up("float32")
    _, config, tensors = rundir.open_run(run)
    network = from_tensors(replace(config.model, time_steps=time_steps), tensors)
    images = data.load_for(config).test.images[:batch]
    return network, jnp.asarray(images, jnp.float32) / 255


def whole_network(run: str, time_steps: int, batch: int) -> dict[str, float]:
    """Milliseconds of one inference batch with each engine."""
    from csnn_jax.engine import event, scan

    network, images = load(run, time_steps, batch)
    count = {
        name: scan.jit(lambda x, e=engine: e.count(network, x))
        for name, engine in zip(ENGINES, (event, scan), strict=True)
    }
    return {f"{name}_ms": milliseconds(lambda f=function: f(images)) for name, function in count.items()}


def on_threads(run: str, threads: int) -> dict[str, float]:
    """`whole_network` in a process limited to `threads` CPUs."""
    command = [sys.executable, __file__, run, "--threads", str(threads)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def density(run: str) -> dict[str, Any]:
    """Milliseconds of the last convolution and the first linear layer by the density of their input spikes."""
    import jax

    from csnn_jax.engine import event
    from csnn_jax.engine.stages import stages

    network, images = load(run, 100, 128)
    network_stages = stages(network.config.graph)
    number = max(i for i, stage in enumerate(network_stages) if stage.convolution)
    spikes = jax.jit(lambda x: [*event.trace(network, x)[1].spikes.values()])(images)
    layers = {}
    for index in (number, number + 1):
        stage = network_stages[index]
        random = [jax.random.bernoulli(jax.random.key(0), d, spikes[index - 1].shape) for d in DENSITIES]
        rows = [{"density": d} | one_layer(network, stage, x) for d, x in zip(DENSITIES, random, strict=True)]
        real = {"density": float(spikes[index - 1].mean())} | one_layer(network, stage, spikes[index - 1])
        layers[stage.name] = {"random": rows, "real": real, "crossover_density": crossover(rows)}
    both = [
        {"density": d} | {f"{e}_ms": sum(layer["random"][i][f"{e}_ms"] for layer in layers.values()) for e in ENGINES}
        for i, d in enumerate(DENSITIES)
    ]
    return {"layers": layers, "both": both, "crossover_density": crossover(both)}


def one_layer(network: "CSNN", stage: "Stage", spikes: "Array") -> dict[str, float]:
    """Milliseconds of one layer over the window with each engine; spikes [time, batch, ...]."""
    import jax
    import jax.numpy as jnp

    from csnn_jax import ops
    from csnn_jax.engine import scan
    from csnn_jax.network.library import Jax

    spikes = spikes.astype(jnp.float32)
    time_steps, batch = spikes.shape[:2]
    neurons, weights = stage.neurons, network.weights[stage.name]
    used = network.neurons[neurons.name].in_use
    parameters = weights.kernel[...], weights.bias[...], used["beta"], used["threshold"]
    reset = {"reset": neurons.operation.reset}

    graph, library = network.config.graph, Jax(network.config.graph, network.nodes)

    def dense(spikes: "Array") -> "Array":
        def current(x: "Array") -> "Array":
            for node in graph.path(neurons):
                x = library.evaluate(node, library.parameters.get(node.name, {}), x)
            return x

        def fire(state: "State", current: "Array") -> "tuple[State, Array]":
            return library.fire(neurons, library.parameters[neurons.name], state, current)

        state = {"mem": jnp.zeros((batch, *neurons.shape))}
        if stage.convolution:
            return jax.lax.scan(lambda state, x: fire(state, current(x)), state, spikes)[1]
        currents = current(spikes.reshape(-1, *graph.origin(stage.weights).shape)).reshape(time_steps, batch, -1)
        return jax.lax.scan(fire, state, currents)[1]

    packed = ops.pack(spikes)
    if stage.convolution:
        shape = {"padding": stage.convolution.padding, "pool": stage.pool and stage.pool.kind}
        event = jax.jit(lambda s: ops.conv_lif(s, *parameters, **shape, **reset))
    else:
        event = jax.jit(lambda s: ops.linear_lif(s, *parameters, **reset))
    scanned = scan.jit(dense)
    return {
        "event_ms": milliseconds(lambda: event(packed).spikes.arrays.bits),
        "scan_ms": milliseconds(lambda: scanned(spikes)),
    }


def crossover(rows: list[dict[str, float]]) -> float | None:
    """The density above which the event engine is slower, interpolated; None: nowhere."""
    for low, high in itertools.pairwise(rows):
        before, after = (row["event_ms"] - row["scan_ms"] for row in (low, high))
        if before < 0 <= after:
            return round(low["density"] + (high["density"] - low["density"]) * before / (before - after), 3)
    return None


@styled
def plot(result: dict[str, Any], path: str) -> None:
    """Four panels: milliseconds by density, time steps, batch and threads."""
    figure = new(PAGE, 5.6)
    axes = figure.subplots(2, 2)
    panels: tuple[tuple[Axes, str, str, list[dict]], ...] = (
        (axes[0, 0], "density", "density of the input spikes", result["density"]["both"]),
        (axes[0, 1], "time_steps", "time steps", result["time_steps"]),
        (axes[1, 0], "batch_size", "batch size", result["batch_size"]),
        (axes[1, 1], "threads", "threads", result["threads"]),
    )
    for panel, name, label, rows in panels:
        for engine in ENGINES:
            x, y = [row[name] for row in rows], [row[f"{engine}_ms"] for row in rows]
            panel.plot(x, y, "o-", color=COLORS[engine], label=f"{engine} engine")
        panel.set(xlabel=label, ylabel="ms per batch", yscale="log")
        powers(panel)
    axes[0, 1].set(title="batch 128", xscale="log")
    axes[0, 1].legend()
    axes[1, 0].set(title="100 time steps", xscale="log", xticks=[row["batch_size"] for row in result["batch_size"]])
    for panel in (axes[0, 1], axes[1, 0]):
        powers(panel, "x")
    axes[1, 0].tick_params(axis="x", which="minor", bottom=False)
    axes[1, 1].set(title="batch 128, 100 time steps", xticks=[row["threads"] for row in result["threads"]])
    axes[1, 1].set_ylim(bottom=10)
    _mark_densities(axes[0, 0], result["density"])
    figure.suptitle(f"Inference of the trained default network, {result['processor']}, {result['cpus']} CPUs")
    Path(path).write_bytes(png(figure))


def _mark_densities(axes: "Axes", measured: dict[str, Any]) -> None:
    """Marks the trained network, and the density at which both engines cost the same."""
    layers = measured["layers"].values()
    mean = statistics.mean(layer["real"]["density"] for layer in layers)
    real = {engine: sum(layer["real"][f"{engine}_ms"] for layer in layers) for engine in ENGINES}
    for engine in ENGINES:
        axes.plot(mean, real[engine], "*", markersize=11, color=COLORS[engine], markeredgecolor=INK)
    axes.set_title(f"{' + '.join(measured['layers'])} alone, random spikes")
    axes.text(mean + 0.05, real["event"], f"trained: {mean:.1%}", va="center")
    if (at := measured["crossover_density"]) is not None:
        axes.axvline(at, color=GRAY, linestyle=":")
        axes.text(at + 0.02, axes.get_ylim()[0] * 1.2, f"equal at {at:.0%}")


if __name__ == "__main__":
    main()
