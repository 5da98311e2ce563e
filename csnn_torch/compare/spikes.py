"""Same network? Compares membranes and spikes of every layer at every step, and predictions, with snnTorch's.

Both get the same weights and images, in float32. snnTorch's membranes and spikes are recorded from its own neurons.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx

from csnn_jax.engine import scan
from csnn_jax.runs.equality import Comparison
from csnn_jax.window import Trace
from csnn_torch import model as companion
from csnn_torch.compare.cases import Case
from csnn_torch.compare.results import SpikeResult

CHUNK = 20  # images at a time: membranes and spikes of the default network take 160 MB per side


def compare(case: Case, engines: Sequence[str], device: str = "cpu") -> list[SpikeResult]:
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
        reference = companion.trace(network, x, case.config.time_steps).map(lambda layer: layer.cpu().numpy())
        for name, side in sides.items():
            if not isinstance(side, str):
                comparisons[name].add(reference, side(pixels).map(lambda layer: np.moveaxis(np.asarray(layer), -1, 2)))
    refused = {name: side if isinstance(side, str) else None for name, side in sides.items()}
    return [SpikeResult(case.name, name, len(case.images), refused[name], comparisons[name]) for name in engines]


def _traced(case: Case, engine: str) -> Callable[[np.ndarray], Trace] | str:
    """A function from pixels to the trace of an engine, or why the engine can't run the network."""
    prepared = case.in_jax(engine, "float32")
    if isinstance(prepared, str):
        return prepared
    module, model = prepared
    graph, params = nnx.split(model)
    traced = scan.jit(lambda params, pixels: module.trace(nnx.merge(graph, params), pixels)[1])
    return lambda pixels: traced(params, jnp.asarray(pixels))
