"""Same network? Spikes of every layer at every step and predictions, csnn_jax's against snnTorch's.

Both get the same weights and the same floating-point images. snnTorch's spikes and membranes are recorded from its
own `snn.Leaky` layers.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from csnn_jax.engine import scan
from csnn_torch import model as companion
from csnn_torch.compare import bounds
from csnn_torch.compare.cases import Case
from csnn_torch.compare.results import Flip, SpikeResult

LISTED = 20  # images whose first different spike is kept, of each comparison
CHUNK = 20  # images at a time: their membranes and spikes in float64 take 320 MB for each side of the default network

Layers = list[np.ndarray]  # one array [time, batch, *shape] per layer


def decided(case: Case, engines: Sequence[str], dtype: str, images: int) -> list[SpikeResult]:
    """`compare` on the first images of a case. Where an engine is then undecided, ten times as many decide."""
    found = compare(case.first(images), engines, dtype)
    more = 10 * images
    return [compare(case.first(more), (r.engine,), dtype)[0] if r.undecided else r for r in found]


def compare(case: Case, engines: Sequence[str], dtype: str, device: str = "cpu") -> list[SpikeResult]:
    """Compares the spikes of engines of csnn_jax with snnTorch's, layer by layer and step by step.

    Args:
        case: the network and its images.
        engines: of csnn_jax, each on JAX's first device.
        dtype: "float64" or "float32".
        device: where snnTorch runs, in torch's words.
    """
    with jax.enable_x64(dtype == "float64"):
        sides = {name: _traced(case, name, dtype) for name in engines}
        totals = {name: Total(case, name, dtype) for name in engines}
        network = case.in_snntorch(dtype).to(device)
        for start in range(0, len(case.images), CHUNK):
            pixels = case.pixels(dtype, slice(start, start + CHUNK))
            x = companion.channels_first(pixels).to(device)
            theirs = _arrays(companion.trace(network, x, case.config.time_steps))
            for name, side in sides.items():
                if not isinstance(side, str):
                    totals[name].add(start, _arrays(side(pixels)), theirs)
    return [
        SpikeResult(case.name, name, dtype, len(case.images), refused=side)
        if isinstance(side, str)
        else totals[name].result
        for name, side in sides.items()
    ]


class Total:
    """Adds up the comparison of one engine over chunks of a case's images."""

    def __init__(self, case: Case, engine: str, dtype: str):
        self.case, self.engine, self.dtype = case, engine, dtype
        self.compared = self.different = self.equal = self.predictions = self.near_ties = 0
        self.first: list[Flip] = []
        self.fired = np.zeros(len(case.config.layers))
        self.sizes = np.zeros(len(case.config.layers))

    def add(self, start: int, ours: tuple[Layers, Layers], theirs: tuple[Layers, Layers]) -> None:
        """Adds one chunk.

        Args:
            start: its first image.
            ours: membranes and spikes of the engine.
            theirs: those of snnTorch.
        """
        (membranes, spikes), (their_membranes, their_spikes) = ours, theirs
        differs = [a != b for a, b in zip(spikes, their_spikes, strict=True)]
        self.compared += sum(layer.size for layer in their_spikes)
        self.different += sum(int(np.count_nonzero(layer)) for layer in differs)
        self.equal += sum(int(np.count_nonzero(a == b)) for a, b in zip(membranes, their_membranes, strict=True))
        self.fired += [layer.sum(dtype=np.float64) for layer in their_spikes]
        self.sizes += [layer.size for layer in their_spikes]
        read = self.case.config.readout == "membrane"
        output, their_output = (membranes[-1], their_membranes[-1]) if read else (spikes[-1], their_spikes[-1])
        self.add_predictions(output.sum(0), their_output.sum(0))
        for image in np.flatnonzero(sum(layer.any(axis=(0, *range(2, layer.ndim))) for layer in differs)):
            self.first.append(self._flip(start, int(image), differs, membranes, their_membranes))

    def add_predictions(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Adds the predictions of one chunk, from the scores [batch, classes] of both sides."""
        rows = np.arange(len(theirs))
        mine, other = ours.argmax(1), theirs.argmax(1)
        gap = np.maximum(abs(theirs[rows, other] - theirs[rows, mine]), abs(ours[rows, other] - ours[rows, mine]))
        self.predictions += int(np.count_nonzero((mine != other) & (gap > bounds.TIE)))
        self.near_ties += int(np.count_nonzero((mine != other) & (gap <= bounds.TIE)))

    def _flip(self, start: int, image: int, differs: Layers, ours: Layers, theirs: Layers) -> Flip:
        """The first difference in one image: by step, then by layer, then by neuron."""
        steps = [layer[:, image].any(axis=tuple(range(1, layer.ndim - 1))) for layer in differs]
        step, number = min((int(s.argmax()), i) for i, s in enumerate(steps) if s.any())
        neuron = tuple(int(i) for i in np.argwhere(differs[number][step, image])[0])
        mine, other = (float(side[number][(step, image, *neuron)]) for side in (ours, theirs))
        neurons = self.case.config.layers[number].neurons
        threshold = neurons.values(self.case.tensors).threshold
        distance = max(abs(mine - threshold), abs(other - threshold))
        return Flip(neurons.name, step, start + image, neuron, mine, other, distance)

    @property
    def result(self) -> SpikeResult:
        """Over all chunks so far."""
        return SpikeResult(
            network=self.case.name,
            engine=self.engine,
            dtype=self.dtype,
            images=len(self.case.images),
            compared=self.compared,
            different=self.different,
            densities={f"lif{i}": float(d) for i, d in enumerate(self.fired / self.sizes, 1)},
            membranes=self.equal / self.compared,
            images_that_differ=len(self.first),
            farthest=max((flip.distance for flip in self.first), default=0.0),
            first=tuple(self.first[:LISTED]),
            predictions=self.predictions,
            near_ties=self.near_ties,
        )


def _traced(case: Case, engine: str, dtype: str) -> Callable[[np.ndarray], scan.Trace] | str:
    """A function from pixels to the trace of an engine, or why the engine can't run the network."""
    found = case.in_jax(engine, dtype)
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
