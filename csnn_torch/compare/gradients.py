"""Same gradients? Of every parameter, for a surrogate, each side's against snnTorch's in float64."""

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
from csnn_torch.compare import bounds, spikes
from csnn_torch.compare.cases import ALL, Case
from csnn_torch.compare.results import GradientResult


def of_surrogates(case: Case, engines: Sequence[str], names: Sequence[SurrogateName]) -> Iterator[GradientResult]:
    """`compare` for every surrogate, each on a network that it has a gradient on."""
    yield from compare(case, engines, [name for name in names if name != "sparse_fast_sigmoid"])
    if "sparse_fast_sigmoid" in names:
        # It is 0 below theta + 1, which the output membranes of a trained network reach only where nothing resets them.
        unreset = replace(case.config, reset="none")
        name = case.name if case.config.reset == "none" else f"{case.name}, reset none"
        yield from compare(replace(case, name=name, config=unreset), engines, ("sparse_fast_sigmoid",))


def compare(case: Case, engines: Sequence[str], names: Sequence[SurrogateName]) -> Iterator[GradientResult]:
    """Compares every side's gradients, in both types, for every surrogate."""
    kept = _same_spikes(case, engines)
    for name in names:
        slope = case.config.slope if name == surrogate_of(case.config) else None
        other = replace(case, config=replace(case.config, surrogate=name, slope=slope))
        reference = of_snntorch(other, "float64")
        for (side, dtype), same in kept.items():
            found = of_snntorch(other, dtype) if side == "snntorch" else of_engine(other, side, dtype)
            refused = found if isinstance(found, str) else None
            errors = {} if isinstance(found, str) else bounds.distances(found, reference)
            yield GradientResult(case.name, name, side, dtype, len(case.labels), refused, errors, same)


def steady(case: Case, count: int) -> Case:
    """The case with the first `count` of its images on which snnTorch's float32 spikes are its float64 ones.

    Where one is not, its float32 gradients are another network's, and there would be nothing to compare them with.
    With fewer such images than that, the first `count` of all.
    """
    found: list[int] = []
    for start in range(0, len(case.images), count):
        rows = slice(start, start + count)
        wide, narrow = (_spikes(case, dtype, rows) for dtype in ("float64", "float32"))
        same = np.all(
            [(a == b).all(dim=0).flatten(1).all(dim=1).numpy() for a, b in zip(wide, narrow, strict=True)],
            axis=0,
        )
        found += (start + np.flatnonzero(same)).tolist()
        if len(found) >= count:
            return case.on(found[:count])
    return case.first(count)


def of_engine(case: Case, engine: str, dtype: str) -> Tensors | str:
    """Gradients of the loss with respect to every parameter, in torch's layout, from an engine of csnn_jax.

    Returns:
        The gradients, or why the engine can't run the network.
    """
    with jax.enable_x64(dtype == "float64"):
        found = case.in_jax(engine, dtype)
        if isinstance(found, str):
            return found
        module, model = found
        graph, params = nnx.split(model)

        def loss(params: nnx.State, pixels: Array, labels: Array) -> Array:
            return ce_rate(module.run(nnx.merge(graph, params), pixels)[1], labels)

        pixels, labels = jnp.asarray(case.pixels(dtype)), jnp.asarray(case.labels)
        gradients = scan.jit(jax.grad(loss))(params, pixels, labels)
        return models.tensors(nnx.merge(graph, gradients))


def of_snntorch(case: Case, dtype: str) -> Tensors:
    """The same gradients from snnTorch, in float64 with the surrogates of surrogates.py and the loss of losses.py."""
    network = case.in_snntorch(dtype)
    fired = companion.run(network, companion.channels_first(case.pixels(dtype)), case.config.time_steps)
    losses.make(TrainConfig(), fired.dtype)(fired, torch.tensor(case.labels, dtype=torch.int64)).backward()
    return companion.gradients(network)


def _same_spikes(case: Case, engines: Sequence[str]) -> dict[tuple[str, str], bool]:
    """Whether each side's spikes are snnTorch's in float64; the surrogate has no part in them."""
    wide, narrow = (_spikes(case, dtype, ALL) for dtype in ("float64", "float32"))
    equal = all(bool((a == b).all()) for a, b in zip(wide, narrow, strict=True))
    found = {}
    for dtype, like_float64 in (("float64", True), ("float32", equal)):
        for result in spikes.compare(case, engines, dtype):
            found[result.engine, dtype] = like_float64 and result.different == 0
    return found | {("snntorch", "float32"): equal}


def _spikes(case: Case, dtype: str, rows: slice) -> tuple[torch.Tensor, ...]:
    """snnTorch's, of every layer [time, batch, *shape], for some of the images."""
    pixels = companion.channels_first(case.pixels(dtype, rows))
    return companion.trace(case.in_snntorch(dtype), pixels, case.config.time_steps).spikes
