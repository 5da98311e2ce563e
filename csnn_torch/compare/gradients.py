"""Same gradients? Compares every parameter's, for a surrogate, with snnTorch's in float64.

All sides have the same rounded weights. The loss is computed from what determines the class: spikes or membranes.
"""

from collections.abc import Iterator, Sequence
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
from csnn_jax.runs.layouts import Tensors
from csnn_jax.update.objective import ce_rate
from csnn_torch import losses
from csnn_torch import model as companion
from csnn_torch.compare.cases import ALL, Case
from csnn_torch.compare.results import GradientResult, distances


def of_surrogates(
    case: Case, engines: Sequence[str], names: Sequence[SurrogateName], count: int
) -> Iterator[GradientResult]:
    """Runs `compare` for every surrogate, on a network where its gradient isn't zero, and on `steady` images."""
    if usual := [name for name in names if name != "sparse_fast_sigmoid"]:
        yield from compare(steady(case, count), engines, usual)
    if "sparse_fast_sigmoid" in names:
        # It's 0 below theta + 1, which a trained network's output membranes only reach without a reset.
        unreset = replace(case.config, reset="none")
        name = case.name if case.config.reset == "none" else f"{case.name}, reset none"
        other = replace(case, name=name, config=unreset)
        yield from compare(steady(other, count), engines, ("sparse_fast_sigmoid",))


def compare(case: Case, engines: Sequence[str], names: Sequence[SurrogateName]) -> Iterator[GradientResult]:
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
    chosen: list[int] = []
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
        chosen += (start + np.flatnonzero(same)).tolist()
        if len(chosen) >= count:
            break
    return case.on(chosen[:count]) if chosen else case.first(count)


def of_engine(case: Case, engine: str, dtype: str) -> Tensors | str:
    """Gradients of the loss with respect to every parameter, in torch's layout, from an engine of csnn_jax.

    Returns:
        The gradients, or why the engine can't run the network.
    """
    with jax.enable_x64(dtype == "float64"):
        network = case.in_jax(engine, dtype)
        if isinstance(network, str):
            return network
        module, model = network
        graph, params = nnx.split(model)

        def loss(params: nnx.State, pixels: Array, labels: Array) -> Array:
            return ce_rate(module.watch(nnx.merge(graph, params), pixels, case.config.readout)[0], labels)

        pixels, labels = jnp.asarray(case.pixels(dtype)), jnp.asarray(case.labels)
        gradients = scan.jit(jax.grad(loss))(params, pixels, labels)
        named = models.tensors(nnx.merge(graph, gradients))
        return {name: value for name, value in named.items() if not name.endswith(".exponents")}


def of_snntorch(case: Case, dtype: str) -> Tensors:
    """The same gradients from snnTorch, in float64 with the surrogates of surrogates.py and the loss of losses.py."""
    network = case.in_snntorch(dtype)
    output = companion.run_for(network, _input(case, dtype), case.config.time_steps, case.config.readout)
    losses.make(TrainConfig(), output.dtype)(output, torch.tensor(case.labels, dtype=torch.int64)).backward()
    return companion.gradients(network)


def _input(case: Case, dtype: str, rows: slice = ALL) -> torch.Tensor:
    """snnTorch's input for some of the images."""
    return companion.channels_first(case.pixels(dtype, rows))
