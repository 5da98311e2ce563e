"""Runs both sides on the same images and compares them, layer by layer."""

from collections.abc import Iterator

from csnn_jax.errors import UserError
from csnn_torch.first_difference.difference import Comparison, comparable
from csnn_torch.first_difference.explain import BATCH, Experiment, Finding
from csnn_torch.first_difference.images import Inputs
from csnn_torch.first_difference.recording import Recording
from csnn_torch.first_difference.side import Side

Sides = tuple[Side, Side]


def compare(sides: Sides, given: Inputs) -> Comparison:
    """Runs both sides, some images at a time.

    Raises:
        UserError: their layers differ, or they have nothing in common that can be compared.
    """
    comparison: Comparison | None = None
    for start in range(0, given.each[0].shape[1], BATCH):
        one, other = (side.record(x[:, start : start + BATCH]) for side, x in zip(sides, given.each, strict=True))
        if comparison is None:
            _check(sides, one, other)
            comparison = Comparison(comparable(one, other, sides[0].held == sides[1].held))
        comparison.add(one, other)
    assert comparison is not None
    return comparison


def _check(sides: Sides, one: Recording, other: Recording) -> None:
    """Raises UserError unless both sides have the same number of neurons in every layer."""
    shapes = [_shapes(recording) for recording in (one, other)]
    if len(shapes[0]) != len(shapes[1]):
        a, b = map(len, shapes)
        raise UserError(f"{sides[1].name}: has {b} layers of neurons, expected {a}, as in {sides[0].name}")
    for number, (a, b) in enumerate(zip(*shapes, strict=True), 1):
        if a != b:
            found, expected = ("x".join(map(str, shape)) for shape in (b, a))
            raise UserError(
                f"{sides[1].name}: layer {number} has {found} neurons, expected {expected}, as in {sides[0].name}"
            )
    if not any(comparable(one, other, sides[0].held == sides[1].held)):
        raise UserError(f"{sides[1].name}: shows neither the spikes nor the membranes that {sides[0].name} shows")


def _shapes(recording: Recording) -> list[tuple[int, ...]]:
    """The shape of every layer's neurons."""
    either = [next(x for x in layer if x is not None) for layer in zip(*recording, strict=True)]
    return [x.shape[2:] for x in either]


def names(sides: Sides, layers: int) -> list[str]:
    """The names of the layers."""
    for side in sides:
        if side.network and len(side.network.model.graph.neurons) == layers:
            return [node.name for node in side.network.model.graph.neurons]
    return [f"layer {number}" for number in range(1, layers + 1)]


def explained(sides: Sides, given: Inputs, comparison: Comparison) -> tuple[int, list[Finding]] | None:
    """What explains the difference: (the side whose network was changed, findings).

    Uses a side whose network, as computed here, reproduces what the side itself gave; None if there's no such side.
    """
    for number, network in _networks(sides):
        own, wanted = comparison.signals[number], comparison.signals[1 - number]
        assert comparison.place is not None
        experiment = Experiment(network, given.each[number], comparison.what, wanted, comparison.place)
        if experiment.reproduces(own):
            return number, experiment.findings(sides[1 - number].network)
    return None


def _networks(sides: Sides) -> Iterator[tuple]:
    yield from ((number, side.network) for number, side in enumerate(sides) if side.network)
