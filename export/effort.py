"""How much the proof of a bundle looks at."""

from typing import Literal, NamedTuple

Effort = Literal["quick", "usual", "thorough"]


class Extent(NamedTuple):
    """What an effort means.

    Attributes:
        images: test images on which spikes are compared.
        accuracy_images: test images on which accuracy is measured; None: all.
        evaluator: images and steps of onnx's reference evaluator, the slowest of all programs.
        seconds: how long the latency of a file is measured.
        each: accuracy is measured by running every file, also one that is another's graph with a fixed batch.
    """

    images: int
    accuracy_images: int | None
    evaluator: tuple[int, int]
    seconds: float
    each: bool = False


EXTENTS: dict[Effort, Extent] = {
    "quick": Extent(8, 100, (1, 3), 0.2),
    "usual": Extent(32, 1000, (1, 10), 1.0),
    "thorough": Extent(1000, None, (2, 10**6), 3.0, each=True),
}
"""A fault in a weight, a layer, a border or a step shows on few images; more of them show more roundings."""
