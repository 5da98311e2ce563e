"""Times a training step of a recurrent layer in both engines and in a loop over snnTorch's Leaky; prints JSON.

    python benchmarks/recurrent.py > results/recurrent.json

The layer has 256 inputs and 256 neurons, all connected to all, over 100 steps, in batches of 128. Inputs spike at 5% of
the steps, and biases are shifted until neurons do, too. A step computes the spikes and the gradients of all weights for
random gradients of the spikes. Sides take turns in one process after a warm-up; times are medians. Weights are on a
common grid, so the spikes are compared for equality.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import snntorch as snn
import torch
from jax import Array, lax
from torch.nn import functional

from csnn_jax import leaky, machine, ops
from csnn_jax.engine import process, scan
from csnn_jax.network.surrogate import fast_sigmoid

INPUTS, NEURONS, STEPS, BATCH, BETA = 256, 256, 100, 128, 0.9
Side = Callable[[], tuple[np.ndarray, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", type=float, default=0.05, help="fraction of neurons that spike per step")
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    process.set_up("float32")
    rng = np.random.default_rng(0)
    x = (rng.random((STEPS, BATCH, INPUTS)) < options.density).astype(np.float32)
    weights = firing(rng, x, options.density)
    dspikes = rng.normal(size=(STEPS, BATCH, NEURONS)).astype(np.float32)
    sides = {
        "event engine": jax_side(event, weights, x, dspikes),
        "scan engine": jax_side(by_scan, weights, x, dspikes),
        "snnTorch": torch_side(weights, x, dspikes),
    }
    spikes, gradients = zip(*(side() for side in sides.values()), strict=True)
    seconds = timed(sides, options.turns)
    result = {
        "command": "python benchmarks/recurrent.py",
        "commit": machine.commit(),
        **machine.describe(),
        "density": round(float(spikes[0].mean()), 4),
        "spikes_that_differ": [int((other != spikes[0]).sum()) for other in spikes[1:]],
        "gradients_that_differ_by": [distance(other, gradients[0]) for other in gradients[1:]],
        "step_s": seconds,
        "times_as_fast_as_snntorch": {name: round(seconds["snnTorch"] / seconds[name], 2) for name in seconds},
    }
    print(json.dumps(result, indent=1))


Weights = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The weights of the inputs and of the layer's own spikes, and the bias."""


def on_grid(kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> Weights:
    """Weights on the grid of their common sum."""
    rounded, biases = ops.on_grid(jnp.concatenate([jnp.asarray(kernel), jnp.asarray(recurrent)]), jnp.asarray(bias))
    return np.asarray(rounded[:INPUTS]), np.asarray(rounded[INPUTS:]), np.asarray(biases)


def firing(rng: np.random.Generator, x: np.ndarray, density: float) -> Weights:
    """Random weights, with a bias at which this fraction of neurons spikes per step."""
    kernel = rng.normal(0, 0.15, (INPUTS, NEURONS)).astype(np.float32)
    recurrent = rng.normal(0, 0.05, (NEURONS, NEURONS)).astype(np.float32)
    share = jax.jit(lambda weights: event(weights, x).mean())
    low, high = -2.0, 2.0
    for _ in range(20):
        weights = on_grid(kernel, recurrent, np.full(NEURONS, (low + high) / 2, np.float32))
        low, high = (low, (low + high) / 2) if share(weights) > density else ((low + high) / 2, high)
    return weights


def event(weights: Any, x: Array) -> Array:
    kernel, recurrent, bias = map(jnp.asarray, weights)
    return ops.unpack(ops.recurrent_lif(ops.pack(jnp.asarray(x)), kernel, recurrent, bias, BETA).spikes)


def by_scan(weights: Any, x: Array) -> Array:
    """As the scan engine does it: the inputs' product for all steps at once, then a loop."""
    kernel, recurrent, bias = map(jnp.asarray, weights)
    currents = (jnp.asarray(x).reshape(-1, INPUTS) @ kernel + bias).reshape(STEPS, BATCH, NEURONS)

    def step(before: tuple[Array, Array], current: Array) -> tuple[tuple[Array, Array], Array]:
        membrane, spikes = before
        after = leaky(membrane, current + spikes @ recurrent, BETA, 1.0, "subtract", fast_sigmoid)
        return after, after[1]

    zeros = jnp.zeros((BATCH, NEURONS))
    return lax.scan(step, (zeros, zeros), currents)[1]


def jax_side(function: Callable[[Any, Array], Array], weights: Weights, x: np.ndarray, dspikes: np.ndarray) -> Side:
    def step(weights: Any, x: Array, dspikes: Array) -> Any:
        spikes, backward = jax.vjp(lambda weights: function(weights, x), weights)
        return spikes, backward(dspikes)[0]

    compiled = scan.jit(step)
    operands = jax.device_put((weights, x, dspikes))
    return lambda: jax.tree.map(np.asarray, jax.block_until_ready(compiled(*operands)))


def torch_side(weights: Weights, x: np.ndarray, dspikes: np.ndarray) -> Side:
    """The loop that a user of snnTorch writes."""
    kernel, recurrent, bias = (torch.tensor(one.T.copy(), requires_grad=True) for one in weights)
    neurons = snn.Leaky(BETA, spike_grad=snn.surrogate.fast_sigmoid())
    frames, given = torch.tensor(x), torch.tensor(dspikes)

    def step() -> tuple[np.ndarray, Any]:
        for parameter in (kernel, recurrent, bias):
            parameter.grad = None
        membrane, spikes, seen = neurons.init_leaky(), torch.zeros(BATCH, NEURONS), []
        for frame in frames:
            current = functional.linear(frame, kernel, bias) + functional.linear(spikes, recurrent)
            spikes, membrane = neurons(current, membrane)
            seen.append(spikes)
        torch.stack(seen).backward(given)
        gradients = [parameter.grad for parameter in (kernel, recurrent, bias)]
        return torch.stack(seen).detach().numpy(), tuple(g.numpy().T for g in gradients if g is not None)

    return step


def distance(one: Any, other: Any) -> float:
    """The largest relative distance of two sides' gradients."""
    pairs = zip(one, other, strict=True)
    return float(max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs))


def timed(calls: dict[str, Side], turns: int) -> dict[str, float]:
    """Median seconds of each side; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: round(statistics.median(values), 5) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
