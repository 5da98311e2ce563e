"""Same network? Compares membranes and spikes of every layer at every step, and predictions, with snnTorch's.

Both get the same weights and images, in float32. snnTorch's membranes and spikes are recorded from its own neurons.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx

from csnn_jax.engine import scan
from csnn_jax.runs.equality import canonical, differ, first_place
from csnn_torch import model as companion
from csnn_torch.compare import bounds
from csnn_torch.compare.cases import Case
from csnn_torch.compare.results import Difference, SpikeResult

CHUNK = 20  # images at a time: membranes and spikes of the default network take 160 MB per side

Layers = list[np.ndarray]  # one array [time, batch, *shape] per layer


def compare(case: Case, engines: Sequence[str], device: str = "cpu") -> list[SpikeResult]:
    """Compares engines of csnn_jax with snnTorch, layer by layer and step by step.

    Args:
        case: the network and its images.
        engines: csnn_jax's engines, each on JAX's first device.
        device: torch device for snnTorch. Equality is only promised on CPUs.
    """
    sides = {name: _traced(case, name) for name in engines}
    totals = {name: Total(case, name) for name in engines}
    network = case.in_snntorch("float32").to(device)
    for start in range(0, len(case.images), CHUNK):
        pixels = case.pixels("float32", slice(start, start + CHUNK))
        x = companion.channels_first(pixels).to(device)
        theirs = _arrays(companion.trace(network, x, case.config.time_steps))
        for name, side in sides.items():
            if not isinstance(side, str):
                totals[name].add(start, _arrays(side(pixels)), theirs)
    return [
        SpikeResult(case.name, name, len(case.images), refused=side) if isinstance(side, str) else totals[name].result
        for name, side in sides.items()
    ]


class Total:
    """Adds up the comparison of one engine over chunks of a case's images."""

    def __init__(self, case: Case, engine: str):
        self.case, self.engine = case, engine
        self.compared = self.membranes = self.spikes = self.predictions = 0
        self.first: Difference | None = None
        self.fired = np.zeros(len(case.config.graph.neurons))
        self.sizes = np.zeros(len(case.config.graph.neurons))

    def add(self, start: int, ours: tuple[Layers, Layers], theirs: tuple[Layers, Layers]) -> None:
        """Adds one chunk.

        Args:
            start: index of its first image.
            ours: the engine's membranes and spikes.
            theirs: snnTorch's.
        """
        (membranes, spikes), (their_membranes, their_spikes) = ours, theirs
        different = sum(map(differ, membranes, their_membranes)), sum(map(differ, spikes, their_spikes))
        self.membranes, self.spikes = self.membranes + different[0], self.spikes + different[1]
        self.compared += sum(layer.size for layer in their_spikes)
        self.fired += [layer.sum(dtype=np.float64) for layer in their_spikes]
        self.sizes += [layer.size for layer in their_spikes]
        classes, their_classes = (companion.predictions(self.case.config, *side) for side in (ours, theirs))
        self.predictions += int(np.count_nonzero(classes != their_classes))
        firsts = [one for one in (self.first, _first(start, ours, theirs)) if one is not None]
        self.first = min(firsts, default=None)

    @property
    def result(self) -> SpikeResult:
        """The result over all chunks so far."""
        return SpikeResult(
            network=self.case.name,
            engine=self.engine,
            images=len(self.case.images),
            compared=self.compared,
            membranes=self.membranes,
            spikes=self.spikes,
            predictions=self.predictions,
            densities=bounds.of_spiking(self.case.config, (self.fired / self.sizes).tolist()),
            first=self.first,
        )


def _first(start: int, ours: tuple[Layers, Layers], theirs: tuple[Layers, Layers]) -> Difference | None:
    """The first difference in a chunk; `start`: index of its first image."""
    differs = {
        layer: np.moveaxis((canonical(a) != canonical(b)) | (spikes != their_spikes), -1, 2)
        for layer, (a, spikes, b, their_spikes) in enumerate(zip(*ours, *theirs, strict=True))
    }
    place = first_place(differs)
    if place is None:
        return None
    channel, *position = place.neuron
    at = (place.step, place.image, *position, channel)
    values = (float(membranes[place.layer][at]) for membranes in (ours[0], theirs[0]))
    return Difference(place._replace(image=start + place.image), *values)


def _traced(case: Case, engine: str) -> Callable[[np.ndarray], scan.Trace] | str:
    """A function from pixels to the trace of an engine, or why the engine can't run the network."""
    found = case.in_jax(engine, "float32")
    if isinstance(found, str):
        return found
    module, model = found
    graph, params = nnx.split(model)
    traced = scan.jit(lambda params, pixels: module.trace(nnx.merge(graph, params), pixels)[1])
    return lambda pixels: traced(params, jnp.asarray(pixels))


def _arrays(trace: scan.Trace | companion.Trace) -> tuple[Layers, Layers]:
    """Membranes and spikes as NumPy arrays."""
    if isinstance(trace, companion.Trace):
        return [layer.cpu().numpy() for layer in trace.membranes], [layer.cpu().numpy() for layer in trace.spikes]
    return [np.asarray(layer) for layer in trace.membranes], [np.asarray(layer) for layer in trace.spikes]
