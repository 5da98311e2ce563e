"""Whether figures that were recorded elsewhere agree with those found here.

Another number of threads, instruction set or processor adds in another order. The last bits of a sum then differ, and
where a membrane lies that near to its threshold, a spike flips. What this can't change must be equal: bytes, names,
shapes, how much was compared, and that no difference is left unexplained. What it can change has a limit, and the
limits are the same on every machine. Figures of other images than the recorded ones are not compared: of these only
their form is looked at, and what holds for any images.
"""

import math
from collections.abc import Iterator
from typing import Any

from export.proof import Figures
from export.proof.equality import LIMIT, LISTED

FLIPPING, FLIPS = 0.05, 3
"""Images in which a spike flips, there or here: they may be so many more or fewer, a share of all or a number."""
ACCURACY, ANSWERS = 0.005, 2
"""Images that are classified otherwise, there or here: a share of all or a number."""
AVERAGE = 0.02
"""How far a few flipped images may move an average over all of them, as a part of it."""
TINY = 1e-4
"""Averages this close together agree, however small they are."""

AVERAGES = {
    "densities",
    "density",
    "spikes",
    "synaptic_operations",
    "synaptic_operations_first_layer_once",
    "ActivationSparsity",
    "Effective_MACs",
    "Effective_ACs",
    "synapses_nj",
}
"""Figures that are averages over images: floats, or floats by layer."""
LISTS = {"flips", "first_flips", "max_difference_by_layer", "different_spikes_by_layer"}
OF_IMAGES = AVERAGES | {
    "accuracy",
    "images",
    "counts",
    "membranes",
    "membranes_skipped_after_a_flip",
    "max_difference",
    "flipped_spikes",
    "output_spikes",
    "hidden_spikes",
    "images_that_differ",
    "different_output_spikes",
    "different_hidden_spikes",
    "different_counts",
}
"""Figures that depend on which images were looked at; so do the LISTS."""


def disagreement(name: str, recorded: Any, found: Any, images: int) -> list[str] | None:
    """What is wrong with a figure, or a group of figures, that rounding may change.

    Args:
        name: its key in the manifest.
        recorded: what the manifest holds.
        found: what was worked out here.
        images: how many images an accuracy is of; comparisons tell how many they are of.

    Returns:
        One line for each thing that is wrong; None: rounding can't change this figure, so it must be equal.
    """
    if name == "accuracy" and _number(recorded) and _number(found):
        apart = abs(recorded - found) * images
        return _unless(apart <= max(ANSWERS, ACCURACY * images), f"is {found}, recorded as {recorded}")
    if name in AVERAGES and isinstance(found, float | dict):
        return _unless(_near(recorded, found), f"is {found}, recorded as {recorded}")
    if isinstance(recorded, dict) and isinstance(found, dict) and recorded.keys() == found.keys():
        if "flipped_spikes" in found:
            return list(_stepwise(recorded, found))
        if "images_that_differ" in found:
            return list(_free_running(recorded, found))
    return None


def other_images(name: str, recorded: Any, found: Any) -> list[str] | None:
    """`disagreement` where other images were looked at than those of the recorded figures.

    What follows from the network alone, such as sizes, must be equal; the rest must be of the same kind.
    """
    if name in LISTS and isinstance(recorded, list):
        return []
    if name in AVERAGES and isinstance(found, dict):
        alike = isinstance(recorded, dict) and recorded.keys() == found.keys() and all(map(_number, recorded.values()))
    elif name in OF_IMAGES and _number(found):
        alike = _number(recorded) and recorded >= 0
    else:
        return None
    return _unless(alike, f"is {recorded!r:.60}, expected a figure like {found!r:.60}")


def _stepwise(recorded: Figures, found: Figures) -> Iterator[str]:
    """Disagreement of two results of `equality.Stepwise`."""
    yield from _equal(recorded, found, ("images", "limit", "beyond_limit", "unexplained_flips", "ok"))
    seen, here = (one["membranes"] + one["membranes_skipped_after_a_flip"] for one in (recorded, found))
    yield from _unless(seen == here, f"membranes, compared and skipped, are {here:,}, recorded as {seen:,}")
    largest, layers = recorded["max_difference"], recorded["max_difference_by_layer"]
    if not all(_number(value) and 0 <= value <= LIMIT for value in layers) or largest != max(layers):
        yield f"max_difference is recorded as {largest}, expected the largest by layer, and at most {LIMIT:g}"
    yield from _unless(len(layers) == len(found["max_difference_by_layer"]), "max_difference_by_layer lacks a layer")
    yield from _flips(recorded, "flipped_spikes", "flips")
    yield from _as_many(recorded, found, "flipped_spikes")


def _free_running(recorded: Figures, found: Figures) -> Iterator[str]:
    """Disagreement of two results of `equality.FreeRunning`."""
    same = ("images", "output_spikes", "hidden_spikes", "counts", "unexplained_first_flips", "ok")
    yield from _equal(recorded, found, same)
    yield from _flips(recorded, "images_that_differ", "first_flips")
    yield from _as_many(recorded, found, "images_that_differ")
    layers, flipped = recorded["different_spikes_by_layer"], recorded["images_that_differ"]
    total = recorded["different_output_spikes"] + recorded["different_hidden_spikes"]
    if layers[-1] != recorded["different_output_spikes"] or sum(layers) != total:
        yield f"different_spikes_by_layer is recorded as {layers}, expected the {total:,} different spikes"
    most = flipped * (recorded["output_spikes"] + recorded["hidden_spikes"]) // recorded["images"]
    if not flipped <= total <= most:
        yield f"{total:,} different spikes are recorded, expected {flipped:,} to {most:,}, as {flipped:,} images differ"
    if recorded["different_counts"] > flipped * recorded["counts"] // recorded["images"]:
        yield f"different_counts is recorded as {recorded['different_counts']:,}, but {flipped:,} images differ"


def _equal(recorded: Figures, found: Figures, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        alike = type(recorded[name]) is type(found[name]) and recorded[name] == found[name]
        yield from _unless(alike, f"{name} is {found[name]}, recorded as {recorded[name]}")


def _flips(recorded: Figures, count: str, listed: str) -> Iterator[str]:
    """Flips must be listed, and each of them explained."""
    flips = recorded[listed]
    if len(flips) != min(recorded[count], LISTED):
        yield f"{count} is recorded as {recorded[count]}, but {len(flips)} are listed"
    for flip in flips:
        places = [flip.get(name) for name in ("layer", "step", "image", "neuron")]
        if len(flip) != 6 or not all(type(place) is int and place >= 0 for place in places):
            yield f"{listed} holds {flip!r:.60}, expected a layer, step, image, neuron and distance"
        elif flip["explained"] is not True or not _number(flip["distance"]) or flip["distance"] < 0:
            yield f"{listed} holds one that is not explained"


def _as_many(recorded: Figures, found: Figures, name: str) -> Iterator[str]:
    allowed = max(FLIPS, FLIPPING * found["images"])
    near = abs(recorded[name] - found[name]) <= allowed
    yield from _unless(near, f"{name} is {found[name]}, recorded as {recorded[name]}, expected within {allowed:g}")


def _near(recorded: Any, found: Any) -> bool:
    if isinstance(found, dict):
        alike = isinstance(recorded, dict) and recorded.keys() == found.keys()
        return alike and all(_near(recorded[key], value) for key, value in found.items())
    return _number(recorded) and math.isclose(recorded, found, rel_tol=AVERAGE, abs_tol=TINY)


def _number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)


def _unless(fine: bool, problem: str) -> list[str]:
    return [] if fine else [problem]
