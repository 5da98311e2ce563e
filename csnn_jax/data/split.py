"""Images and their labels, as given by a caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from csnn_jax.config.names import MOST_CLASSES
from csnn_jax.config.pixels import BYTE, Pixels
from csnn_jax.data.images import (
    MOST_COUNT,
    Images,
    Shape,
    as_bytes,
    as_images,
    as_numbers,
    check_floats,
    check_images,
    check_shape,
    highest_count,
    pixels_of,
    to_learn_from,
)
from csnn_jax.errors import UserError, one_line

if TYPE_CHECKING:
    from csnn_jax.config import ModelConfig

ARRAYS = "arrays"
"""The name of a data set that existed only in the program that trained on it."""


@dataclass(frozen=True)
class Split:
    """Images and their labels: what a network is trained or evaluated on.

    Attributes:
        images: uint8 or float32, [N, H, W, C], or [N, T, H, W, C] if the data has its own time axis. Anything else
            that `as_images` accepts is converted.
        labels: int32 [N], 0 .. num_classes - 1.

    Raises:
        ValueError: images that aren't numbers, labels that aren't integers, or not one label per image.
    """

    images: Images
    labels: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "images", as_images(self.images, "images"))
        object.__setattr__(self, "labels", _labels(self.labels, next(iter(self.images.shape), 0)))

    def part(self, rows: slice) -> "Split":
        """Some of the images with their labels."""
        return Split(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Dataset:
    """A data set whose images have the shape of the network's input.

    Attributes:
        name: as given to `load`.
        train: training data, without the held-out images; empty if a file only has images to evaluate on.
        validation: held-out training images; None if none were requested.
        test: test data, for the accuracy.
        names: names of the classes; their numbers if they have none.
        pixels: what its images consist of, see `images.pixels_of`.
        notes: what was changed on loading (resized, converted to gray, ...), one printed line each.
        fitted: the notes that report a change of size or channels for the network's input.
        final: what `test` holds: "test" images, or those of "validation" if the data set has no others.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split
    names: tuple[str, ...]
    pixels: Pixels
    notes: tuple[str, ...]
    fitted: tuple[str, ...] = ()
    final: Literal["test", "validation"] = "test"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def frames(self) -> int | None:
        """Length of the data's time axis; None if it has none."""
        return self.train.images.shape[1] if self.train.images.ndim == 5 else None


def as_split(given: Any, name: str, shape: Shape | None = None, why: str = "", one: float = 1) -> Split:
    """Converts a pair of images and labels to a split; returns a split unchanged.

    Args:
        given: a `Split`, or (images, labels), both as `Split` takes them.
        name: "train" or "test", for error messages.
        shape: required height, width and channels of the images; None: any.
        why: the reason for that shape in error messages.
        one: value of True, see `as_images`.

    Raises:
        ValueError: it's neither, has no images, or has images and labels that don't match.
    """
    if not isinstance(given, Split):
        if not isinstance(given, tuple | list) or len(given) != 2:
            instead = f"{len(given)} parts" if isinstance(given, tuple | list) else f"of type {type(given).__name__}"
            raise ValueError(f"{name} is {instead}, expected (images, labels) or a Split")
        check_shape(images := as_images(given[0], f"{name} images", one), f"{name} images", shape, why)
        try:
            given = Split(images, given[1])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    check_shape(given.images, f"{name} images", shape, why)
    return given


def as_parts(
    arrays: Mapping[str, Any],
    classes: int | Sequence[str] | None,
    shape: Shape | None = None,
    scale: float | None = None,
) -> tuple[Split, Split, tuple[str, ...]]:
    """Converts a caller's training and test data, and finds the names of their classes.

    Floats become bytes if all of them are multiples of 1/255.

    Args:
        arrays: "train", if there is any, and "test": data of the same kind, each as for `as_split`.
        classes: number or names of the classes, see `class_names`.
        shape: height, width and channels that the network's configuration requires; None: any.
        scale: the scale that the network's configuration requires; None: any.

    Returns:
        (the training data, perhaps empty; the test data; the names of the classes, empty if they aren't known).

    Raises:
        ValueError: images or labels are invalid or don't match.
    """
    parts, why = {}, ", as model.input_shape says"
    for name, value in arrays.items():
        parts[name] = split = as_split(value, name, shape, why)
        if split.images.dtype != np.uint8:
            check_floats(np.asarray(split.images), f"{name} images", scale)
        height, width, channels = split.images.shape[-3:]
        shape, why = (height, width, channels), ", as the train images are"
    first, names = next(iter(parts.values())), tuple[str, ...]()
    check_alike(first, parts["test"], scale)
    if "train" in parts or classes is not None:
        names = class_names(first.labels, classes)
        for name, split in parts.items():
            check_labels(split, len(names), f"{name} labels")
    learned = {name: replace(split, images=to_learn_from(split.images)) for name, split in parts.items()}
    return learned.get("train", learned["test"].part(slice(0))), learned["test"], names


def _labels(labels: Any, images: int) -> np.ndarray:
    """Labels as int32 [images]; raises ValueError if they're invalid."""
    array = as_numbers(labels, "labels")
    check_form(array, images)
    if len(array) and not np.iinfo(np.int32).min <= array.min() <= array.max() <= np.iinfo(np.int32).max:
        raise ValueError(f"labels go from {array.min()} to {array.max()}, expected classes, counted from 0")
    return array.astype(np.int32, copy=False)


def check_form(labels: Any, images: int, name: str = "labels") -> None:
    """Raises ValueError unless labels, with a dtype and a shape, are one whole number for each image."""
    if len(labels.shape) != 1 or labels.dtype.kind not in "iu":
        shown = f"{labels.dtype} {list(labels.shape)}"
        raise ValueError(f"{name} are {shown}, expected a whole number for each image [{images}]")
    if labels.shape[0] != images:
        raise ValueError(f"{labels.shape[0]} {name} for {images} images, expected one for each")


def class_names(labels: np.ndarray, classes: int | Sequence[str] | None = None) -> tuple[str, ...]:
    """The names of the classes of training labels; their numbers if they have none.

    Args:
        labels: training labels [N].
        classes: number or names of the classes; None: every class has a training image.

    Raises:
        ValueError: fewer than two classes, classes without a label though `classes` isn't given, or `classes` is
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
    if isinstance(classes, int | np.integer) and not isinstance(classes, bool) and 2 <= classes <= MOST_CLASSES:
        return tuple(map(str, range(classes)))
    several = not isinstance(classes, str | bytes) and isinstance(classes, Sequence | np.ndarray)
    names = list(classes) if several else []  # type: ignore[arg-type]
    different = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    if not different or not 2 <= len(names) <= MOST_CLASSES:
        shown_classes, count = one_line(repr(classes)), f"2 to {MOST_CLASSES:,}"
        raise ValueError(f"classes is {shown_classes}, expected an integer from {count}, or {count} different names")
    return tuple(map(str, names))


def check_labels(split: Split, num_classes: int, name: str = "labels") -> None:
    """Raises ValueError if a label isn't one of the classes 0 .. num_classes - 1, with the range that was found.

    Args:
        split: images and labels.
        num_classes: number of classes.
        name: what the labels are called in the error.
    """
    low, high = split.labels.min(), split.labels.max()
    if low < 0 or high >= num_classes:
        raise ValueError(f"{name} go from {low} to {high}, expected 0 to {num_classes - 1}")


def check_split(split: Split, model: "ModelConfig", name: str = "") -> None:
    """Raises ValueError unless a network can be trained on a split, with what was found and expected.

    Args:
        split: images and labels.
        model: the network.
        name: what the split is called in the error.
    """
    if not isinstance(split, Split):
        raise ValueError(f"split is of type {type(split).__name__}, expected a Split, such as a Dataset's train")
    check_images(split.images, model, f"{name} images".lstrip())
    check_labels(split, model.num_classes, f"{name} labels".lstrip())


def check_kind(images: Images, model: "ModelConfig") -> None:
    """Raises ValueError if a network for bytes up to 255 gets images of 0 and 1, or vice versa."""
    scales = pixels_of(images).scale, model.pixels.scale
    if images.ndim == 4 and images.dtype == np.uint8 and set(scales) == {1.0, BYTE}:
        values, taken = ("0 and 1" if scale == 1 else "bytes up to 255" for scale in scales)
        raise ValueError(f"images are {values}, expected {taken}, as in the network's training")


def check_alike(train: Split, test: Split, scale: float | None = None) -> None:
    """Raises ValueError if training and test images are of different kinds.

    Bytes and floats are different kinds, and so are images and frames, and frames of different numbers of steps.
    Without a `scale`, so are images of bytes up to 255 and images of 0 and 1.
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
    """Raises UserError if frames of bytes would be read as event counts although their values are too large.

    Args:
        images: training images.
        model: the requested network, whose scale may be None.
    """
    counts = model.scale is None and images.ndim == 5 and pixels_of(images).scale == 1
    if counts and (highest := highest_count(images)) is not None and highest > MOST_COUNT:
        meant = f"1 if they are counts, or {highest} if that is full brightness"
        problem = f"frames of whole numbers are event counts, but these go up to {highest}"
        raise UserError(f"--scale: {problem}; expected {meant}")


def digest(split: Split) -> str:
    """Identifies a split: SHA-256 of its images and labels.

    Args:
        split: images and labels.
    """
    return sha256(as_bytes(split.images) + split.labels.tobytes()).hexdigest()


def require_training(dataset: Dataset, otherwise: str = "") -> Dataset:
    """Returns the data set.

    Args:
        dataset: the data set.
        otherwise: end of the error, with an alternative.

    Raises:
        UserError: it has no training images.
    """
    if not len(dataset.train.labels):
        holds = "only has images and labels to evaluate on, expected train_images and train_labels, too"
        raise UserError(f"--dataset {dataset.name}: {holds}{otherwise}")
    return dataset


def shortened(dataset: Dataset, images: int | None) -> Dataset:
    """Limits a data set to its first N test images and held-out images.

    Args:
        dataset: the data set.
        images: N; None: no limit.
    """
    if images is None:
        return dataset
    rows = slice(images)
    held_out = None if dataset.validation is None else dataset.validation.part(rows)
    notes = (*dataset.notes, f"accuracy is measured on the first {images:,} images (--eval-images)")
    return replace(dataset, validation=held_out, test=dataset.test.part(rows), notes=notes)
