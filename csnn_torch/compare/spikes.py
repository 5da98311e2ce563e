"""Same network? Spikes of every layer at every step and predictions, csnn_jax's against snnTorch's.

Both get the same weights and the same floating-point images. snnTorch's spikes and membranes are recorded from its
own `snn.Leaky` layers.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from csnn_jax import engine as engines
from csnn_jax.config import ModelConfig
from csnn_jax.data import encode
from csnn_jax.engine import scan
from csnn_jax.errors import UserError
from csnn_jax.network import model as ours
from csnn_jax.runs.weights import Tensors
from csnn_torch import model as theirs
from csnn_torch.compare.bounds import Check

DENSITY = 0.01, 0.60  # share of a layer's neurons that spike at a step: a silent network matches anything
FLIPS = {"float64": 0.0, "float32": 1e-6}  # share of the spikes that may differ
ROUNDING = 1e-5  # how far from the threshold the membrane of a float32 spike that differs first may lie
CHANCE = 20  # times as many different spikes as the bound allows call for more images
LISTED = 20  # images whose first different spike is kept, of each comparison
CHUNK = 20  # images at a time: their membranes and spikes in float64 take 320 MB for each side of the default network


def fires(densities: dict[str, float]) -> bool:
    """Whether every layer fires within bounds."""
    return all(DENSITY[0] <= density <= DENSITY[1] for density in densities.values())


@dataclass(frozen=True)
class Network:
    """A network and the images that it is compared on.

    Attributes:
        name: of the variant, for the tables.
        config: its configuration.
        tensors: its weights, in torch's layout.
        images: uint8 [N, H, W, C] or [N, T, H, W, C], of which 255 means 1.
        labels: their classes [N].
    """

    name: str
    config: ModelConfig
    tensors: Tensors
    images: np.ndarray
    labels: np.ndarray

    def pixels(self, dtype: str, rows: slice) -> np.ndarray:
        """What both sides get for some rows: [batch, H, W, C], or [time, batch, H, W, C] where it is a sequence."""
        images = self.images[rows]
        if self.config.encoding != "direct":
            return encode(images, self.config.time_steps, self.config.encoding, (0, rows.start or 0)).astype(dtype)
        return ((images.swapaxes(0, 1) if self.frames else images) / 255).astype(dtype)

    def first(self, count: int) -> "Network":
        """The same on its first `count` images."""
        return replace(self, images=self.images[:count], labels=self.labels[:count])

    @property
    def frames(self) -> bool:
        """Whether the images have a time axis of their own."""
        return self.images.ndim == 5


@dataclass(frozen=True)
class Flip:
    """Where a spike differs first: the earliest step, its first layer, and there the first image and neuron.

    Attributes:
        ours, theirs: the two membranes there.
        distance: of the membrane from the threshold, the farther one's.
    """

    layer: str
    step: int
    image: int
    neuron: tuple[int, ...]
    ours: float
    theirs: float
    distance: float

    def __str__(self) -> str:
        place = f"{self.layer}, step {self.step}, image {self.image}, neuron {self.neuron}"
        return f"the first in {place}: membrane {self.ours:.9g}, snnTorch's {self.theirs:.9g}"


@dataclass(frozen=True)
class Spikes:
    """Result of comparing the spikes of one network for one engine and type.

    Attributes:
        refused: why the engine can't run it; the rest is then empty.
        compared, different: spikes in all.
        densities: snnTorch's, by layer.
        membranes: share of the membranes that are equal to the last bit.
        images_that_differ: images that have a different spike.
        farthest: the distance from the threshold of the farthest of their first different spikes, 0 where none has one.
        first: the first different spike of the first LISTED of them.
        predictions: images that are classified differently, but for ties within one spike.
        near_ties: images that are classified differently where two classes are within one spike of each other.
    """

    network: str
    engine: str
    dtype: str
    images: int
    refused: str | None = None
    compared: int = 0
    different: int = 0
    densities: dict[str, float] | None = None
    membranes: float = 0.0
    images_that_differ: int = 0
    farthest: float = 0.0
    first: tuple[Flip, ...] = ()
    predictions: int = 0
    near_ties: int = 0

    @property
    def counted(self) -> bool:
        """Whether it proves anything: the engine ran, and every layer fires within bounds."""
        return self.densities is not None and fires(self.densities)

    @property
    def undecided(self) -> bool:
        """Whether too many spikes differ, but by so little that chance may have done it.

        One float32 rounding at the threshold changes a hundred later spikes of its image: on 100 images alone that
        would be one in a million.
        """
        share = self.different / max(1, self.compared)
        bound = FLIPS[self.dtype]
        return self.counted and bound < share <= CHANCE * bound and self.farthest <= ROUNDING

    def checks(self) -> list[Check]:
        """Its bounds, none where it does not count."""
        if not self.counted:
            return []
        name = f"{self.network}, {self.engine}, {self.dtype}"
        bounds = [
            Check(f"{name}: share of spikes that differ", self.different / self.compared, 0, FLIPS[self.dtype]),
            Check(f"{name}: predictions that differ", self.predictions, 0, 0),
        ]
        if self.dtype == "float32":
            first = f"{name}: distance of a first different spike from the threshold"
            bounds.append(Check(first, self.farthest, 0, ROUNDING))
        return bounds

    def __str__(self) -> str:
        start = f"{self.network}, {self.engine}, {self.dtype}: "
        if self.refused:
            return f"{start}not run: {self.refused}"
        counts = f"{self.different} of {self.compared} spikes differ, {self.predictions} predictions"
        if not self.first:
            return start + counts
        where = f"in {self.images_that_differ} of {self.images} images"
        return f"{start}{counts}; {where}, each first one within {self.farthest:.1e} of the threshold; {self.first[0]}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"counted": self.counted}


def decided(network: Network, engine_names: Sequence[str], dtype: str, images: int) -> list[Spikes]:
    """`spikes` on the first images of a network, and on ten times as many for an engine that is then undecided."""
    found = spikes(network.first(images), engine_names, dtype)
    more = 10 * images
    return [spikes(network.first(more), (r.engine,), dtype)[0] if r.undecided else r for r in found]


def spikes(network: Network, engine_names: Sequence[str], dtype: str) -> list[Spikes]:
    """Compares the spikes of engines of csnn_jax with snnTorch's, layer by layer and step by step."""
    with jax.enable_x64(dtype == "float64"):
        sides = {name: _traced(network, name, dtype) for name in engine_names}
        totals = {name: _Total(network, name, dtype) for name in engine_names}
        companion = companion_of(network, dtype)
        for start in range(0, len(network.images), CHUNK):
            pixels = network.pixels(dtype, slice(start, start + CHUNK))
            reference = theirs.trace(companion, theirs.channels_first(pixels), network.config.time_steps)
            membranes, fired = ([layer.numpy() for layer in part] for part in reference)
            for name, side in sides.items():
                if not isinstance(side, str):
                    totals[name].add(start, side(pixels), membranes, fired)
    return [totals[name].result(side if isinstance(side, str) else None) for name, side in sides.items()]


class _Total:
    """Adds up the comparison of one engine over the chunks of images."""

    def __init__(self, network: Network, engine: str, dtype: str):
        self.network, self.engine, self.dtype = network, engine, dtype
        self.compared = self.different = self.equal = self.predictions = self.near_ties = 0
        self.first: list[Flip] = []
        self.fired = np.zeros(len(network.config.layers))
        self.sizes = np.zeros(len(network.config.layers))

    def add(self, start: int, side: scan.Trace, membranes: list[np.ndarray], fired: list[np.ndarray]) -> None:
        our_membranes = [np.asarray(layer) for layer in side.membranes]
        our_fired = [np.asarray(layer) for layer in side.spikes]
        differs = [a != b for a, b in zip(our_fired, fired, strict=True)]
        self.compared += sum(layer.size for layer in fired)
        self.different += sum(int(np.count_nonzero(layer)) for layer in differs)
        self.equal += sum(int(np.count_nonzero(a == b)) for a, b in zip(our_membranes, membranes, strict=True))
        self.fired += [layer.sum(dtype=np.float64) for layer in fired]
        self.sizes += [layer.size for layer in fired]
        self._predictions(our_fired[-1].sum(0), fired[-1].sum(0))
        for image in np.flatnonzero(sum(layer.any(axis=(0, *range(2, layer.ndim))) for layer in differs)):
            self.first.append(self._flip(start, int(image), differs, our_membranes, membranes))

    def _predictions(self, our_counts: np.ndarray, counts: np.ndarray) -> None:
        rows = np.arange(len(counts))
        mine, other = our_counts.argmax(1), counts.argmax(1)
        near = np.maximum(
            abs(counts[rows, other] - counts[rows, mine]), abs(our_counts[rows, other] - our_counts[rows, mine])
        )
        self.predictions += int(np.count_nonzero((mine != other) & (near > 1)))
        self.near_ties += int(np.count_nonzero((mine != other) & (near <= 1)))

    def _flip(self, start: int, image: int, differs, our_membranes, membranes) -> Flip:
        """The first difference in one image: by step, then by layer, then by neuron."""
        steps = [layer[:, image].any(axis=tuple(range(1, layer.ndim - 1))) for layer in differs]
        step, number = min((int(s.argmax()), i) for i, s in enumerate(steps) if s.any())
        neuron = tuple(int(i) for i in np.argwhere(differs[number][step, image])[0])
        mine, other = (float(side[number][(step, image, *neuron)]) for side in (our_membranes, membranes))
        name = f"lif{number + 1}.threshold"
        threshold = float(self.network.tensors.get(name, self.network.config.thresholds[number]))
        distance = max(abs(mine - threshold), abs(other - threshold))
        return Flip(f"lif{number + 1}", step, start + image, neuron, mine, other, distance)

    def result(self, refused: str | None) -> Spikes:
        images = len(self.network.images)
        if refused is not None:
            return Spikes(self.network.name, self.engine, self.dtype, images, refused)
        sizes = [np.prod(layer.out_shape) * self.network.config.time_steps for layer in self.network.config.layers]
        densities = {
            f"lif{i}": float(f / (n * images)) for i, (f, n) in enumerate(zip(self.fired, sizes, strict=True), 1)
        }
        return Spikes(
            self.network.name,
            self.engine,
            self.dtype,
            images,
            None,
            self.compared,
            self.different,
            densities,
            self.equal / self.compared,
            len(self.first),
            max((flip.distance for flip in self.first), default=0.0),
            tuple(self.first[:LISTED]),
            self.predictions,
            self.near_ties,
        )


def jax_model(network: Network, dtype: str) -> ours.CSNN:
    """The network in csnn_jax, with its weights."""
    model = ours.CSNN(network.config, dtype=jnp.dtype(dtype))
    ours.load_tensors(model, network.tensors)
    return model


def _traced(network: Network, engine: str, dtype: str):
    """A function from pixels to the trace of an engine, or why the engine can't run the network."""
    model = jax_model(network, dtype)
    try:
        module, _ = engines.choose(engine, model, network.frames)
    except UserError as error:
        return str(error).removeprefix(f"--engine {engine}: ")
    graph, params = nnx.split(model)
    traced = scan.jit(lambda params, pixels: module.trace(nnx.merge(graph, params), pixels)[1])
    return lambda pixels: traced(params, jnp.asarray(pixels))


def companion_of(network: Network, dtype: str) -> torch.nn.Sequential:
    """The network in snnTorch, with its weights."""
    companion = theirs.sequential(network.config, getattr(torch, dtype))
    theirs.load_tensors(companion, network.tensors)
    return companion
