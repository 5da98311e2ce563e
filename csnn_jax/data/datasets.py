"""The data sets that a run can use, converted to one form."""

import difflib
import importlib
import operator
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from csnn_jax.config.job import Config
from csnn_jax.config.names import MOST_CLASSES
from csnn_jax.config.network import ModelConfig
from csnn_jax.data.fitted import check_names, is_set, learned, named
from csnn_jax.data.images import Shape, fit, pixels_of, scale_note
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.data.split import ARRAYS, Dataset, Split, check_kind, check_split, require_training
from csnn_jax.errors import UserError, naming_arguments, one_line
from csnn_jax.files import user_cache

if TYPE_CHECKING:
    from csnn_jax.data.events.cache import Cache

READERS: dict[str, str] = {
    "mnist": "idx.MNIST",
    "idx:DIR": "idx.FOLDER",
    "tfds:NAME": "tfds_source.READER",
    "nmnist:DIR": "events.nmnist.READER",
    "dvsgesture:DIR": "events.dvsgesture.READER",
    "events:DIR": "events.folder.READER",
    "saccades": "events.simulated.READER",
    "images:DIR": "image_folders.READER",
    "arrays:FILE.npz": "arrays.READER",
}
"""The `Reader` of each kind of data set, by the form of its names; its module is imported on first use."""


@naming_arguments(dataset="name")
def load(
    name: str,
    input_shape: Shape | None,
    validation: int = 0,
    *,
    time_steps: int = ModelConfig.time_steps,
    frames: str = "time",
    cache: "Cache | None" = None,
    subset: int | None = None,
    spare: int = 0,
    every_class: bool = False,
    check: Callable[[int, int], None] = lambda train, test: None,
) -> Dataset:
    """Loads a data set and fits its images to the network's input (see `images.fit`).

    Args:
        name: one of `READERS`, such as "mnist" (inside the package) or "idx:DIR" (a folder of IDX files); its reader
            documents the part after the colon.
        input_shape: (H, W, C) of the network's input; None: the default's, or the sensor's for event recordings.
        validation: number of training images to hold out, the last ones, so the others keep their indices.
        time_steps: the network's number of steps, and of frames per event recording.
        frames: how events become frames, by "time" or by "count".
        cache: cache of event frames; None: no caching.
        subset: use the first N training images, and the same fraction of the test images; None: all.
        spare: number of training images to use as test images if the data set has none and `validation` is 0.
        check: called with the numbers of training images (without held-out ones) and test images before frames of
            recordings are made; raises UserError if they're too few.
        every_class: whether training images must have every label up to the highest, for classes without names.

    Returns:
        The data set. Its classes are those named by its files or folders, or 0 .. highest training label.

    Raises:
        UserError: an unknown name, unreadable or inconsistent files, labels outside the classes or with gaps, channels
            that can't be converted to those of `input_shape`, no training images left after `validation`, or neither
            test nor held-out images; `input_shape` isn't three positive integers.
    """
    shape = ModelConfig.input_shape if input_shape is None else _shape(input_shape)
    reader = reader_of(name)
    if reader is None:
        raise _unknown(name)
    if frames != "time" and not reader.recordings:
        raise UserError(f"--frames {frames}: expected a data set of recordings, but {name} has images")
    if reader.recordings:
        from csnn_jax.data.events.cache import Cache

        cache = cache or Cache()
    store = cache.records if cache else Wanted.store

    def check_sizes(train: int, test: int) -> None:
        if subset is not None and subset > train:
            raise UserError(f"--subset {subset}: expected 1 to {train}, the training images of {name}")
        test, train = wanted.of(test, train), wanted.of(train, train)
        held_out = validation or (0 if test else spare)
        if held_out and not 0 < held_out < train:
            raise UserError(f"--validation {held_out}: expected 0 to {train - 1} of {name}'s {train} images")
        check(train - held_out, test or held_out)

    wanted = Wanted(shape, time_steps, input_shape is None, frames, store, subset, check_sizes)
    with _naming(name):
        raw = reader.read(name.partition(":")[2], wanted)
    names = _classes(raw, name, every_class)
    check_sizes(len(raw.train[1]), len(raw.test[1]))
    raw = _shortened(raw, wanted)
    if reader.as_is:
        shape = _as_they_are(raw, shape if input_shape is not None else None, name)
    fitted: list[str] = []
    parts = []
    if reader.recordings and cache:
        # its reader only returns Recordings
        train_frames, test_frames = cache.frames(name.partition(":")[0], raw.train[0], raw.test[0])  # type: ignore[arg-type]
        raw = replace(raw, train=(train_frames, raw.train[1]), test=(test_frames, raw.test[1]))
    for images, labels in (raw.train, raw.test):
        with _naming(name):
            parts.append(_split((images, labels), shape, len(names), name, fitted))
    train, test = parts
    images = (train if len(train.labels) else test).images
    entry = pixels_of(images, raw.floats)
    notes = [*raw.notes, *fitted, *scale_note(images, entry.scale, name.partition("@")[0])]
    tested = len(test.labels) > 0
    train, held_out = _held_out(train, validation or (0 if tested else spare))
    if not tested:
        test = _in_place_of_test(held_out, len(train.labels), name)
        notes.append(f"{name}: has no test images; the final accuracy is measured on the held-out images")
    said, changed = (tuple(dict.fromkeys(some)) for some in (notes, fitted))
    return Dataset(name, train, held_out, test, names, entry, said, changed, "test" if tested else "validation")


def _classes(raw: Raw, name: str, every_class: bool) -> tuple[str, ...]:
    """The names of the classes. Without names, their numbers up to the highest label, see `load`."""
    for _, labels in (raw.train, raw.test):
        if labels.dtype.kind not in "iu":
            raise UserError(f"--dataset {name}: labels of type {labels.dtype}, expected whole numbers")
    trains = len(raw.train[1]) > 0
    labels = (raw.train if trains else raw.test)[1]
    if not raw.names and (top := int(labels.max())) >= MOST_CLASSES:
        raise UserError(f"--dataset {name}: has label {top}, expected labels below {MOST_CLASSES}")
    names = raw.names or tuple(map(str, range(int(labels.max()) + 1)))
    if len(names) < 2 and trains:
        raise UserError(f"--dataset {name}: one class, expected two or more")
    if every_class and not raw.names:
        there = np.unique(labels[labels > 0])  # labels may also start at 1, as those of EMNIST's letters do
        if len(there) != len(names) - 1:
            gap = next(number for number, label in enumerate(there, 1) if label != number)
            every = f"every label up to the highest, {len(names) - 1}, with at least one training image"
            raise UserError(f"--dataset {name}: no training image has label {gap}, expected {every}")
    return names


def _held_out(train: Split, validation: int) -> tuple[Split, Split | None]:
    """Splits off the last `validation` training images; None instead of them if it's 0."""
    if not validation:
        return train, None
    first, last = slice(None, -validation), slice(-validation, None)
    return Split(train.images[first], train.labels[first]), Split(train.images[last], train.labels[last])


def _in_place_of_test(held_out: Split | None, count: int, name: str) -> Split:
    """The held-out images, on which the final accuracy is measured if there are no test images."""
    if held_out is None:
        expected = f"expected --validation with the number of its {count} training images to hold out instead"
        raise UserError(f"--dataset {name}: has no test images, {expected}")
    return held_out


def _as_they_are(raw: Raw, wanted: Shape | None, name: str) -> Shape:
    """The shape of images that aren't resized, after checking it against the requested one."""
    height, width, channels = raw.test[0].shape[-3:]
    if wanted is not None and wanted != (height, width, channels):
        sizes = f"{height} {width} {channels}, because the images of {name} aren't resized"
        raise UserError(f"--input-shape {' '.join(map(str, wanted))}: expected {sizes}")
    return height, width, channels


def _shape(given: Shape) -> Shape:
    """Checks a caller's shape, which may be a list or contain NumPy integers."""
    try:
        height, width, channels = map(operator.index, given)
    except (TypeError, ValueError):
        height = width = channels = 0
    if min(height, width, channels) < 1:
        raise UserError(f"input_shape {given!r}: expected three positive whole numbers: height, width, channels")
    return height, width, channels


def reader_of(name: str) -> Reader | None:
    """The reader of a data set called, e.g., `mnist` or `idx:DIR`; None if its kind is unknown."""
    kind, _, where = name.partition(":")
    for form, reader in READERS.items():
        of, colon, _ = form.partition(":")
        if kind == of and bool(where) == bool(colon) and (colon or name == of):
            module, _, constant = reader.rpartition(".")
            return vars(importlib.import_module(f"csnn_jax.data.{module}"))[constant]
    return None


def takes_as_is(name: str) -> bool:
    """Whether a data set's images are used unchanged, because they're already in the network's units."""
    reader = reader_of(name)
    return reader is not None and reader.as_is


def is_recorded(name: str) -> bool:
    """Whether a data set consists of event recordings, so its images are frames."""
    reader = reader_of(name)
    return reader is not None and reader.recordings


def _unknown(name: str) -> UserError:
    if name == ARRAYS:
        held = "the run has no data set to load: its images were passed in Python, or it was converted"
        return UserError(f"--dataset {ARRAYS}: {held}; expected --dataset arrays:FILE.npz, with images and labels")
    plain = "mnist" in name.lower() and len(name) > len("mnist")  # such as fashion_mnist, which isn't built in
    near = [] if plain else difflib.get_close_matches(name.lower(), READERS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "; expected one of"
    kinds = tuple(form.partition(":")[0] for form in READERS)
    if not near and not name.startswith(kinds) and name.isidentifier():
        hint = f"; did you mean 'tfds:{name}'?"
    return UserError(f"--dataset {name!r}: unknown{hint} ({', '.join(READERS)})")


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Adds --dataset to messages that name no flag; they start with the data set, its folder or a file."""
    try:
        yield
    except UserError as error:
        message, where = error.args[0], name.partition(":")[2]
        starts = (f"{start}: " for start in (name, name.partition("@")[0], where, Path(where), one_line(where)))
        if not message.startswith("--"):
            problem = message.removeprefix(next(filter(message.startswith, starts), ""))
            error.args = (f"--dataset {name}: {problem}",)
        raise


def _shortened(raw: Raw, wanted: Wanted) -> Raw:
    """The first images of both parts, limited to the number needed."""
    count = len(raw.train[1])
    train, test = (
        (images[:size], labels[:size])
        for images, labels in (raw.train, raw.test)
        for size in [wanted.of(len(labels), count)]
    )
    return replace(raw, train=train, test=test)


def _split(pair: Pair, shape: Shape, num_classes: int, name: str, notes: list[str]) -> Split:
    """Checks the labels, fits the images and adds the changes to `notes`."""
    images, labels = pair
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if outside.size:
        raise UserError(f"{name}: labels outside the classes: {outside[0]}, expected 0 to {num_classes - 1}")
    if isinstance(images, np.ndarray):
        images, changes = fit(images, shape, name)
        notes += changes
    return Split(images, labels.astype(np.int32))


def load_to_train(
    config: Config,
    given: Container[str] = (),
    check: Callable[[int, int], None] = lambda train, test: None,
) -> Dataset:
    """Loads the data set of a training job, including its held-out images.

    Args:
        config: the job.
        given: names of options that are set even if they have their default value.
        check: checks the numbers of images, see `load`.

    Raises:
        UserError: see `load`; a cache is requested for a data set of images, or an encoding for recordings.
    """
    name, cache = config.data.dataset, config.data.cache
    if is_recorded(name) and config.model.encoding != "direct":
        raise UserError(f"--encoding {config.model.encoding}: {name} already has a time axis, expected direct")
    if cache is not None and not is_recorded(name) and reader_of(name):
        raise UserError(f"--cache {cache}: expected a data set of recordings, but {name} has images")
    dataset = _load(config, name, config.data.validation, cache=cache, trains=True, given=given, check=check)
    return require_training(dataset)


def load_for(config: Config, name: str | None = None) -> Dataset:
    """Loads a data set for a trained network: its own or another one. Test images replace held-out ones.

    Frames of recordings are cached in the user's cache folder, because a downloaded run must not choose the folder.

    Raises:
        UserError: it can't be loaded, has more classes than the network or classes with other names, or has arrays
            that don't fit the network.
    """
    if name not in (None, config.data.dataset):
        config = replace(config, data=replace(config.data, subset=None))  # it only limits the run's own data
    model, dataset = config.model, _load(config, name or config.data.dataset, spare=config.data.validation)
    if takes_as_is(dataset.name):
        for split in (dataset.train, dataset.test)[not len(dataset.train.labels) :]:
            try:
                check_split(split, model)
            except ValueError as error:
                raise UserError(f"--dataset {dataset.name}: {error}") from None
    try:
        if model.scale is not None:
            check_kind(dataset.test.images, model)
    except ValueError as error:
        raise UserError(f"--dataset {dataset.name}: {error}") from None
    dataset = learned(dataset, model)
    if dataset.num_classes > model.num_classes:
        raise UserError(
            f"--dataset {dataset.name}: has {dataset.num_classes} classes, expected at most the network's "
            f"{model.num_classes}"
        )
    check_names(dataset.name, named(dataset), config.data.classes)
    return dataset


def _load(
    config: Config,
    name: str,
    validation: int = 0,
    spare: int = 0,
    cache: str | None = None,
    trains: bool = False,
    given: Container[str] = (),
    check: Callable[[int, int], None] = lambda train, test: None,
) -> Dataset:
    model, settings, kept = config.model, config.data, None
    arrays = takes_as_is(name) and not trains  # the run's flags don't describe other arrays
    shape = model.input_shape if is_set(model, "input_shape", given) and not arrays else None  # None: the data's
    if is_recorded(name):
        from csnn_jax.data.events.cache import Cache

        kept = Cache(None if cache == "off" else Path(cache or user_cache("events")))
    own = not arrays or name == settings.dataset
    frames, subset = (settings.frames, settings.subset) if own else ("time", None)
    steps = model.time_steps
    how: Any = {"time_steps": steps, "frames": frames, "cache": kept, "subset": subset, "spare": spare, "check": check}
    with naming_arguments(dataset="dataset"):
        return load(name, shape, validation, every_class=trains, **how)
