"""Same gradients? Of every parameter, for a surrogate, each side's against snnTorch's in float64."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from csnn_jax import engine as engines
from csnn_jax.engine import scan
from csnn_jax.errors import UserError
from csnn_jax.network import model as ours
from csnn_jax.runs.weights import Tensors
from csnn_jax.training.objective import ce_rate
from csnn_torch import model as theirs
from csnn_torch import surrogates as double
from csnn_torch.compare import spikes as parity
from csnn_torch.compare.bounds import Check
from csnn_torch.compare.spikes import Network

# ||a - b|| / ||b|| of a tensor. In float32 snnTorch's own gradients are 1e-5 from its float64 ones, and 1e-4 where no
# reset keeps membranes small: a steep surrogate multiplies the membrane's rounding.
BOUNDS = {"float64": 1e-10, "float32": 1e-3}
EVERYTHING = slice(None)


@dataclass(frozen=True)
class Gradients:
    """Result for one network, surrogate, side (an engine of csnn_jax, or "snntorch") and type.

    Attributes:
        refused: why the side can't do it; `errors` is then empty.
        errors: ||a - b|| / ||b|| of every parameter, NaN where b is zero; b is snnTorch's in float64.
        same_spikes: whether this side's spikes are those of snnTorch in float64. Where a float32 spike is not, its
            gradient is another and has no bound.
    """

    network: str
    surrogate: str
    side: str
    dtype: str
    images: int
    refused: str | None
    errors: dict[str, float]
    same_spikes: bool

    @property
    def worst(self) -> float:
        """The largest of the errors, NaN if one is."""
        return float(np.max(list(self.errors.values())))

    def checks(self) -> list[Check]:
        """Its bound; none for snnTorch in float32, for a side that can't do it, or for flipped spikes in float32."""
        if self.refused or self.side == "snntorch" or (self.dtype == "float32" and not self.same_spikes):
            return []
        name = f"{self.network}, {self.surrogate}, {self.side}, {self.dtype}: largest relative error of a gradient"
        return [Check(name, self.worst, 0, BOUNDS[self.dtype])]

    def __str__(self) -> str:
        start = f"{self.network}, {self.surrogate}, {self.side}, {self.dtype}: "
        return start + (f"not run: {self.refused}" if self.refused else f"relative error {self.worst:.1e}")

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | ({} if self.refused else {"worst": self.worst})


def compare(network: Network, engine_names: Sequence[str], surrogates: Sequence) -> Iterator[Gradients]:
    """Compares every side's gradients, in both types, for every surrogate."""
    kept = _same_spikes(network, engine_names)
    for name in surrogates:
        slope = network.config.slope if name == network.config.surrogate else None
        case = replace(network, config=replace(network.config, surrogate=name, slope=slope))
        reference = of_snntorch(case, "float64")
        for (side, dtype), same in kept.items():
            found = of_snntorch(case, dtype) if side == "snntorch" else of_engine(case, side, dtype)
            refused = found if isinstance(found, str) else None
            errors = {} if isinstance(found, str) else relative_errors(found, reference)
            yield Gradients(network.name, name, side, dtype, len(network.labels), refused, errors, same)


def steady(network: Network, count: int) -> Network:
    """The network with the first `count` of its images on which snnTorch's float32 spikes are its float64 ones.

    Where one is not, its float32 gradients are another network's, and there would be nothing to compare them with.
    With fewer such images than that, the first `count` of all.
    """
    found: list[int] = []
    for start in range(0, len(network.images), count):
        rows = slice(start, start + count)
        wide, narrow = (_spikes(network, dtype, rows) for dtype in ("float64", "float32"))
        same = np.all(
            [(a == b).all(dim=0).flatten(1).all(dim=1).numpy() for a, b in zip(wide, narrow, strict=True)],
            axis=0,
        )
        found += (start + np.flatnonzero(same)).tolist()
        if len(found) >= count:
            break
    index = found[:count] if len(found) >= count else list(range(min(count, len(network.images))))
    return replace(network, images=network.images[index], labels=network.labels[index])


def of_engine(network: Network, engine: str, dtype: str) -> Tensors | str:
    """Gradients of the loss with respect to every parameter, in torch's layout, from an engine of csnn_jax.

    Returns:
        The gradients, or why the engine can't run the network.
    """
    with jax.enable_x64(dtype == "float64"):
        model = parity.jax_model(network, dtype)
        try:
            module, _ = engines.choose(engine, model, network.frames)
        except UserError as error:
            return str(error).removeprefix(f"--engine {engine}: ")
        graph, params = nnx.split(model)

        def loss(params, pixels, labels):
            return ce_rate(module.run(nnx.merge(graph, params), pixels)[1], labels)

        pixels, labels = jnp.asarray(network.pixels(dtype, EVERYTHING)), jnp.asarray(network.labels)
        found = scan.jit(jax.grad(loss))(params, pixels, labels)
        return ours.tensors(nnx.merge(graph, found))


def of_snntorch(network: Network, dtype: str) -> Tensors:
    """The same gradients from snnTorch, in float64 with the surrogates and the loss of surrogates.py."""
    companion = parity.companion_of(network, dtype)
    fired = theirs.run(companion, theirs.channels_first(network.pixels(dtype, EVERYTHING)), network.config.time_steps)
    double.ce_rate(fired.dtype)(fired, torch.tensor(network.labels, dtype=torch.int64)).backward()
    return theirs.gradients(companion)


def relative_errors(found: Tensors, reference: Tensors) -> dict[str, float]:
    """||a - b|| / ||b|| of every tensor; NaN where b is zero, for then nothing is shown."""
    errors = {}
    for name, b in reference.items():
        norm = np.linalg.norm(b.astype(np.float64))
        errors[name] = float(np.linalg.norm(found[name].astype(np.float64) - b) / norm) if norm > 0 else float("nan")
    return errors


def _same_spikes(network: Network, engine_names: Sequence[str]) -> dict[tuple[str, str], bool]:
    """Whether each side's spikes are snnTorch's in float64; the surrogate has no part in them."""
    wide, narrow = (_spikes(network, dtype, EVERYTHING) for dtype in ("float64", "float32"))
    equal = all(bool((a == b).all()) for a, b in zip(wide, narrow, strict=True))
    found = {}
    for dtype, like_float64 in (("float64", True), ("float32", equal)):
        for result in parity.spikes(network, engine_names, dtype):
            found[result.engine, dtype] = like_float64 and result.different == 0
    return found | {("snntorch", "float32"): equal}


def _spikes(network: Network, dtype: str, rows: slice) -> tuple[torch.Tensor, ...]:
    """snnTorch's, of every layer [time, batch, *shape], for some of the images."""
    pixels = theirs.channels_first(network.pixels(dtype, rows))
    return theirs.trace(parity.companion_of(network, dtype), pixels, network.config.time_steps).spikes
