"""Images and their labels, as anybody gives them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from csnn_jax.config.network import PIXEL
from csnn_jax.data.entry import Entry, entry_of
from csnn_jax.data.images import (
    MOST_COUNT,
    Images,
    Shape,
    as_bytes,
    as_images,
    as_numbers,
    check_images,
    check_shape,
    highest_count,
)
from csnn_jax.errors import UserError

if TYPE_CHECKING:
    from csnn_jax.config import ModelConfig

ARRAYS = "arrays"
"""The name of a data set that only the program had that trained on it."""


@dataclass(frozen=True)
class Split:
    """Images and their labels: what a network is trained or evaluated on.

    Attributes:
        images: uint8 or float32, [N, H, W, C], or [N, T, H, W, C] where the data has its own time axis. What else
            `as_images` takes is made so.
        labels: int32 [N], 0 .. num_classes - 1.

    Raises:
        ValueError: images that are no numbers, labels that are no whole numbers, or not one for each image.
    """

    images: Images
    labels: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "images", as_images(self.images, "images"))
        object.__setattr__(self, "labels", _labels(self.labels, next(iter(self.images.shape), 0)))


@dataclass(frozen=True)
class Dataset:
    """A data set whose images have the shape of the network's input.

    Attributes:
        name: as given to `load`.
        train: what to learn from, without the held-out images; empty where a file holds images to evaluate on alone.
        validation: training images that were held out, None where none were asked for.
        test: what to report accuracy on.
        names: of the classes; their numbers where they have none.
        entry: how its images enter a network, see `images.entry_of`.
        notes: what was changed on loading (resized, turned grey, ...), to be printed, one line each.
        fitted: of the notes, those on a change of size or channels for the network's input.
        final: what `test` holds: "test" images, or, where the data set has none, those of `validation`.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split
    names: tuple[str, ...]
    entry: Entry
    notes: tuple[str, ...]
    fitted: tuple[str, ...] = ()
    final: Literal["test", "validation"] = "test"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def frames(self) -> int | None:
        """Steps of the data's own time axis; None where it has none."""
        return self.train.images.shape[1] if self.train.images.ndim == 5 else None


def as_split(given: Any, name: str, shape: Shape | None = None, why: str = "", one: float = 1) -> Split:
    """A split, or a pair of images and labels, as a split.

    Args:
        given: a `Split`, or (images, labels), both as `Split` takes them.
        name: of what is given, for errors: "train" or "test".
        shape: height, width and channels that the images must have; None: any.
        why: they must, for errors.
        one: what True becomes, see `as_images`.

    Raises:
        ValueError: it is neither, holds no images, or images and labels that don't belong together.
    """
    if not isinstance(given, Split):
        if not isinstance(given, tuple | list) or len(given) != 2:
            found = f"{len(given)} parts" if isinstance(given, tuple | list) else f"of type {type(given).__name__}"
            raise ValueError(f"{name} is {found}, expected (images, labels) or a Split")
        check_shape(images := as_images(given[0], f"{name} images", one), f"{name} images", shape, why)
        try:
            given = Split(images, given[1])
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    check_shape(given.images, f"{name} images", shape, why)
    return given


def _labels(labels: Any, images: int) -> np.ndarray:
    """Labels as int32 [images]; raises ValueError where they are none."""
    array = as_numbers(labels, "labels")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        shown = f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"labels are {shown}, expected a whole number for each image [{images}]")
    if len(array) != images:
        raise ValueError(f"{len(array)} labels for {images} images, expected one for each")
    if len(array) and not np.iinfo(np.int32).min <= array.min() <= array.max() <= np.iinfo(np.int32).max:
        raise ValueError(f"labels go from {array.min()} to {array.max()}, expected classes, counted from 0")
    return array.astype(np.int32, copy=False)


def class_names(labels: np.ndarray, classes: int | Sequence[str] | None = None) -> tuple[str, ...]:
    """The names of the classes that training labels are of; their numbers where they have none.

    Args:
        labels: to learn from [N].
        classes: how many there are, or their names; None: every one of them has a training image.

    Raises:
        ValueError: fewer than two classes, labels that leave some out though `classes` is not given, or `classes` is
            neither a number nor names.
    """
    there = np.unique(labels)
    if classes is None:
        if len(there) < 2:
            raise ValueError(f"train labels are all {there[0]}, expected two classes or more")
        if not np.array_equal(there, np.arange(len(there))):
            shown = ", ".join(map(str, there[:3])) + (", ..." if len(there) > 3 else "")
            expected = f"every class from 0 to {len(there) - 1}, or `classes` with their number or names"
            raise ValueError(f"train labels are {shown}, expected {expected}")
        return tuple(map(str, there))
    if isinstance(classes, int | np.integer) and not isinstance(classes, bool) and classes >= 2:
        return tuple(map(str, range(classes)))
    several = not isinstance(classes, str | bytes) and isinstance(classes, Sequence | np.ndarray)
    names = list(classes) if several else []  # type: ignore[arg-type]
    if len(names) < 2 or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"classes is {classes!r}, expected a whole number of at least 2, or as many different names")
    return tuple(map(str, names))


def check_labels(split: Split, num_classes: int, name: str = "labels") -> None:
    """Raises ValueError where a label is none of the classes 0 .. num_classes - 1; says which there are."""
    low, high = split.labels.min(), split.labels.max()
    if low < 0 or high >= num_classes:
        raise ValueError(f"{name} go from {low} to {high}, expected 0 to {num_classes - 1}")


def check_split(split: Split, model: "ModelConfig", name: str = "") -> None:
    """Raises ValueError unless a network can be trained on a split; says what it holds and what is expected."""
    if not isinstance(split, Split):
        raise ValueError(f"split is of type {type(split).__name__}, expected a Split, such as a Dataset's train")
    check_images(split.images, model, f"{name} images".lstrip())
    check_labels(split, model.num_classes, f"{name} labels".lstrip())


def check_kind(images: Images, model: "ModelConfig") -> None:
    """Raises ValueError where a network of bytes up to 255 is given images of 0 and 1, or the other way round."""
    scales = entry_of(images).scale, model.pixel_scale
    if images.ndim == 4 and images.dtype == np.uint8 and set(scales) == {1.0, PIXEL}:
        found, taken = ("0 and 1" if scale == 1 else "bytes up to 255" for scale in scales)
        raise ValueError(f"images are {found}, expected {taken}, as the network was trained on")


def check_alike(train: Split, test: Split, scale: float | None = None) -> None:
    """Raises ValueError where training and test images are of different kinds.

    The kinds: bytes and floats; images and frames of so many steps; and of images of bytes, where no `scale` says what
    means 1.0, those that go up to 255 and those of 0 and 1.
    """
    kinds = [_kind(split.images) for split in (train, test)]
    if kinds[0] == kinds[1] and scale is None and kinds[0] == "bytes":
        highest = [highest_count(split.images) for split in (train, test)]
        kinds = [f"bytes up to {one}" for one in highest] if (highest[0] == 1) != (highest[1] == 1) else kinds
    if kinds[0] != kinds[1]:
        raise ValueError(f"train images are {kinds[0]}, test images are {kinds[1]}; expected the same kind")


def _kind(images: Images) -> str:
    numbers = "bytes" if images.dtype == np.uint8 else "floats"
    return f"{numbers}, in {images.shape[1]} frames" if images.ndim == 5 else numbers


def check_counts(images: Images, model: "ModelConfig") -> None:
    """Raises UserError where frames of bytes would be taken for counts of events, though they hold more than any count.

    Args:
        images: that the network is to learn from.
        model: the network as it was asked for, whose scale may be left open.
    """
    counts = model.scale is None and images.ndim == 5 and entry_of(images).scale == 1
    if counts and (highest := highest_count(images)) is not None and highest > MOST_COUNT:
        meant = f"1 where they are counts, or {highest} where that means 1.0"
        raise UserError(f"--scale: frames of whole numbers count events, these go up to {highest}; expected {meant}")


def digest(split: Split) -> str:
    """What tells a split from others: SHA-256 of its images and labels."""
    return sha256(as_bytes(split.images) + split.labels.tobytes()).hexdigest()


def require_training(dataset: Dataset, otherwise: str = "") -> Dataset:
    """The data set itself; raises UserError where it has no images to learn from, and says what `otherwise` will do."""
    if not len(dataset.train.labels):
        holds = "holds images and labels to evaluate on alone, expected train_images and train_labels too"
        raise UserError(f"--dataset {dataset.name}: {holds}{otherwise}")
    return dataset


def shortened(dataset: Dataset, images: int | None) -> Dataset:
    """The data set with the first so many of its test images, and of the held-out ones; None: all of them.

    Raises:
        UserError: it has fewer test images.
    """
    if images is None:
        return dataset
    if images > (there := len(dataset.test.labels)):
        raise UserError(f"--eval-images {images}: expected 1 to {there}, the test images of {dataset.name}")

    def first(split: Split) -> Split:
        return Split(split.images[:images], split.labels[:images])

    held_out = None if dataset.validation is None else first(dataset.validation)
    notes = (*dataset.notes, f"accuracy is measured on the first {images:,} images (--eval-images)")
    return replace(dataset, validation=held_out, test=first(dataset.test), notes=notes)
