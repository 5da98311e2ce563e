"""Same network? Compares membranes, spikes, predictions and gradients with snnTorch's.

Both get the same rounded weights and images. Membranes and spikes of every layer at every step are compared in float32;
snnTorch's are recorded from its own neurons. Gradients are those of a loss computed from what determines the class,
spikes or membranes, with a surrogate; they're compared with snnTorch's in float64.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from jax import Array

from csnn_jax.config import SurrogateName, TrainConfig, surrogate_of
from csnn_jax.engine import scan
from csnn_jax.network import model as models
from csnn_jax.runs.equality import Comparison
from csnn_jax.runs.layouts import Tensors
from csnn_jax.update.objective import ce_rate
from csnn_jax.window import Trace
from csnn_torch import losses
from csnn_torch import model as companion
from csnn_torch.compare.cases import ALL, Case
from csnn_torch.compare.results import GradientResult, SpikeResult, distances

CHUNK = 20  # images at a time: membranes and spikes of the default network take 160 MB per side


def compare_spikes(case: Case, engines: Sequence[str], device: str = "cpu") -> list[SpikeResult]:
    """Compares engines of csnn_jax with snnTorch, layer by layer and step by step.

    Args:
        case: the network and its images.
        engines: csnn_jax's engines, each on JAX's first device.
        device: torch device for snnTorch. Equality is only promised on CPUs.
    """
    sides = {name: _traced(case, name) for name in engines}
    comparisons = {name: Comparison(case.config) for name in engines}
    network = case.in_snntorch("float32").to(device)
    for start in range(0, len(case.images), CHUNK):
        pixels = case.pixels("float32", slice(start, start + CHUNK))
        x = companion.channels_first(pixels).to(device)
        expected = companion.trace(network, x, case.config.time_steps).map(lambda layer: layer.cpu().numpy())
        for name, side in sides.items():
            if not isinstance(side, str):
                comparisons[name].add(expected, side(pixels).map(lambda layer: np.moveaxis(np.asarray(layer), -1, 2)))
    refused = {name: side if isinstance(side, str) else None for name, side in sides.items()}
    return [SpikeResult(case.name, name, len(case.images), refused[name], comparisons[name]) for name in engines]


def _traced(case: Case, engine: str) -> Callable[[np.ndarray], Trace] | str:
    """A function from pixels to the trace of an engine, or why the engine can't run the network."""
    runnable = case.in_jax(engine, "float32")
    if isinstance(runnable, str):
        return runnable
    module, model = runnable
    graph, params = nnx.split(model)
    traced = scan.jit(lambda params, pixels: module.trace(nnx.merge(graph, params), pixels)[1])
    return lambda pixels: traced(params, jnp.asarray(pixels))


def of_surrogates(
    case: Case, engines: Sequence[str], names: Sequence[SurrogateName], count: int
) -> Iterator[GradientResult]:
    """Compares the gradients of every surrogate, on a network where they aren't zero, and on `steady` images."""
    if usual := [name for name in names if name != "sparse_fast_sigmoid"]:
        yield from compare_gradients(steady(case, count), engines, usual)
    if "sparse_fast_sigmoid" in names:
        # It's 0 below theta + 1, which a trained network's output membranes only reach without a reset.
        unreset = replace(case.config, reset="none")
        name = case.name if case.config.reset == "none" else f"{case.name}, reset none"
        other = replace(case, name=name, config=unreset)
        yield from compare_gradients(steady(other, count), engines, ("sparse_fast_sigmoid",))


def compare_gradients(case: Case, engines: Sequence[str], names: Sequence[SurrogateName]) -> Iterator[GradientResult]:
    """Compares every side's gradients in both types, for every surrogate."""
    sides = [*((engine, dtype) for dtype in ("float64", "float32") for engine in engines), ("snntorch", "float32")]
    for name in names:
        slope = case.config.slope if name == surrogate_of(case.config) else None
        other = replace(case, config=replace(case.config, surrogate=name, slope=slope))
        reference = of_snntorch(other, "float64")
        for side, dtype in sides:
            gradients = of_snntorch(other, dtype) if side == "snntorch" else of_engine(other, side, dtype)
            refused = gradients if isinstance(gradients, str) else None
            errors = {} if isinstance(gradients, str) else distances(gradients, reference)
            yield GradientResult(case.name, name, side, dtype, len(case.labels), refused, errors)


def steady(case: Case, count: int) -> Case:
    """The case with the first `count` images on which snnTorch's float64 spikes equal its float32 spikes.

    Currents are equal in both types, but membranes round differently in float64, and if one spike differs, the
    gradients are another network's. If there are fewer such images, the case has fewer; if none, its first `count`.
    """
    rows: list[int] = []
    networks = {dtype: case.in_snntorch(dtype) for dtype in ("float64", "float32")}
    for start in range(0, len(case.images), count):
        wide, narrow = (
            companion.trace(network, _input(case, dtype, slice(start, start + count)), case.config.time_steps).spikes
            for dtype, network in networks.items()
        )
        same = np.all(
            [(wide[node] == narrow[node]).all(dim=0).flatten(1).all(dim=1).numpy() for node in wide],
            axis=0,
        )
        rows += (start + np.flatnonzero(same)).tolist()
        if len(rows) >= count:
            break
    return case.on(rows[:count]) if rows else case.first(count)


def of_engine(case: Case, engine: str, dtype: str) -> Tensors | str:
    """Gradients of the loss with respect to every parameter, in torch's layout, from an engine of csnn_jax.

    Returns:
        The gradients, or why the engine can't run the network.
    """
    with jax.enable_x64(dtype == "float64"):
        runnable = case.in_jax(engine, dtype)
        if isinstance(runnable, str):
            return runnable
        module, model = runnable
        graph, params = nnx.split(model)

        def loss(params: nnx.State, pixels: Array, labels: Array) -> Array:
            return ce_rate(
                module.forward_with_densities(nnx.merge(graph, params), pixels, case.config.readout)[0], labels
            )

        pixels, labels = jnp.asarray(case.pixels(dtype)), jnp.asarray(case.labels)
        gradients = scan.jit(jax.grad(loss))(params, pixels, labels)
        named = models.tensors(nnx.merge(graph, gradients))
        return {name: value for name, value in named.items() if not name.endswith(".exponents")}


def of_snntorch(case: Case, dtype: str) -> Tensors:
    """The same gradients from snnTorch, in float64 with the surrogates of surrogates.py and the loss of losses.py."""
    network = case.in_snntorch(dtype)
    output = companion.output_of(network, _input(case, dtype), case.config.time_steps, case.config.readout)
    losses.make(TrainConfig(), output.dtype)(output, torch.tensor(case.labels, dtype=torch.int64)).backward()
    return companion.gradients(network)


def _input(case: Case, dtype: str, rows: slice = ALL) -> torch.Tensor:
    """snnTorch's input for some of the images."""
    return companion.channels_first(case.pixels(dtype, rows))
