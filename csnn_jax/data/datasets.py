"""The data sets that a run can use, and how a job and its data set are fitted to each other."""

import difflib
import importlib
import math
import operator
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from csnn_jax.config.grid import FEW
from csnn_jax.config.job import Config
from csnn_jax.config.network import MOST_CLASSES, ModelConfig
from csnn_jax.config.pixels import Pixels
from csnn_jax.data.images import FLOAT_BITS, Shape, as_learned, fit, pixels_of, scale_note
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.data.split import ARRAYS, Dataset, Split, check_kind, check_split, require_training
from csnn_jax.errors import UserError, naming_arguments, one_line
from csnn_jax.files import user_cache
from csnn_jax.options import show

if TYPE_CHECKING:
    from csnn_jax.data.events.cache import Cache


def fit_config(config: Config, dataset: Dataset, given: Container[str] = ()) -> Config:
    """Fills in what the data set determines: the model's part (see `fit_model`) and the class names.

    Raises:
        UserError: see `fit_model`.
    """
    return replace(
        config, model=fit_model(config.model, dataset, given), data=replace(config.data, classes=named(dataset))
    )


def named(dataset: Dataset) -> tuple[str, ...] | None:
    """The names of a data set's classes; None if they're just numbers."""
    return None if dataset.names == tuple(map(str, range(len(dataset.names)))) else dataset.names


def check_names(dataset: str, names: tuple[str, ...] | None, learned: tuple[str, ...] | None) -> None:
    """Raises UserError unless a data set's classes are those that a network learned, in the same order.

    Args:
        dataset: name of the data set, for errors.
        names: names of its classes; None: they're numbers, or the data hasn't been read yet.
        learned: names of the network's classes; None: they're numbers, or unknown.
    """
    for number, (found, expected) in enumerate(zip(names or (), learned or (), strict=False)):
        if found != expected:
            raise UserError(
                f"--dataset {dataset}: its class {number} is {show(found)}, expected {show(expected)}, as in the "
                "network's training"
            )


def fit_model(model: ModelConfig, dataset: Dataset, given: Container[str] = ()) -> ModelConfig:
    """Fills in what the data set determines: shape, classes, how pixels enter, and the steps of its time axis.

    Flags that gave more classes, or a scale, take precedence.

    Args:
        model: the network.
        dataset: the data set.
        given: names of options that are set even if they have their default value.

    Raises:
        UserError: the flags gave fewer classes, an encoding for floats or images with a time axis, or a number of steps
            that differs from that axis.
    """
    if dataset.frames not in (None, model.time_steps) and is_set(model, "time_steps", given):
        steps = f"{dataset.name} has {dataset.frames} frames per example"
        raise UserError(f"--time-steps {model.time_steps}: {steps}, expected the same number, or no --time-steps")
    if dataset.frames and model.encoding != "direct":
        raise UserError(f"--encoding {model.encoding}: {dataset.name} already has a time axis, expected direct")
    if model.encoding != "direct" and dataset.train.images.dtype != np.uint8:
        raise UserError(f"--encoding {model.encoding}: {dataset.name} contains floats, expected direct, or bytes")
    model = _fit_classes(model, dataset, given)
    height, width, channels = dataset.train.images.shape[-3:]
    model = replace(model, input_shape=(height, width, channels), time_steps=dataset.frames or model.time_steps)
    scale, bits = _pixels(model, dataset)
    return replace(model, scale=scale, input_bits=bits)


def _pixels(model: ModelConfig, dataset: Dataset) -> Pixels:
    """How a data set's images enter a model, with the flag's scale or else their own.

    Floats get fewer bits if the first layer's weights would otherwise have fewer than 8.
    """
    scale, bits = dataset.pixels
    if dataset.train.images.dtype == np.uint8:
        return Pixels(model.scale or scale, bits)
    if model.scale is None:
        if bits == FLOAT_BITS:
            spare = replace(model.graph.weighted[0].grid, input_bits=0).room - FEW
            bits = min(bits, max(8, spare))
        return Pixels(scale * 2.0 ** (bits - dataset.pixels.bits), bits)
    needed = max(0, bits + math.frexp(model.scale / scale)[1] - 1)
    if needed > FLOAT_BITS:
        most = scale * 2.0 ** (FLOAT_BITS - bits)
        raise UserError(f"--scale {model.scale:g}: expected at most {most:g} for the floats of {dataset.name}")
    return Pixels(model.scale, needed)


def learned(dataset: Dataset, model: ModelConfig) -> Dataset:
    """Converts a data set's images to the form that the network takes, see `as_learned`.

    Raises:
        UserError: values larger than the network's training data allows.
    """

    def part(split: Split, name: str) -> Split:
        try:
            images = as_learned(split.images, model, f"{name} images") if len(split.labels) else split.images
        except ValueError as error:
            raise UserError(f"--dataset {dataset.name}: {error}") from None
        return replace(split, images=images)

    held_out = None if dataset.validation is None else part(dataset.validation, "held-out")
    return replace(dataset, train=part(dataset.train, "train"), validation=held_out, test=part(dataset.test, "test"))


def is_set(model: ModelConfig, name: str, given: Container[str]) -> bool:
    """Whether an option of a network was given, or isn't the default."""
    return name in given or getattr(model, name) != getattr(ModelConfig, name)


def _fit_classes(model: ModelConfig, dataset: Dataset, given: Container[str]) -> ModelConfig:
    if not is_set(model, "num_classes", given):
        return replace(model, num_classes=max(2, dataset.num_classes))
    if model.num_classes < dataset.num_classes:
        raise UserError(
            f"--num-classes {model.num_classes}: {dataset.name} has labels up to {dataset.num_classes - 1}, "
            f"expected at least {dataset.num_classes}"
        )
    return model


READERS: dict[str, str] = {
    "mnist": "idx.MNIST",
    "idx:DIR": "idx.FOLDER",
    "tfds:NAME": "tfds_source.READER",
    "nmnist:DIR": "events.nmnist.READER",
    "dvsgesture:DIR": "events.dvsgesture.READER",
    "events:DIR": "events.folder.READER",
    "saccades": "events.saccades.READER",
    "images:DIR": "folders.READER",
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
    wanted = Wanted(shape, time_steps, input_shape is None, frames, store, subset)
    with _naming(name):
        raw = reader.read(name.partition(":")[2], wanted)
    names = _classes(raw, name, every_class)
    raw = _shortened(raw, wanted, name)
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
    train, held_out = _held_out(train, validation or (0 if tested else spare), name)
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


def _held_out(train: Split, validation: int, name: str) -> tuple[Split, Split | None]:
    """Splits off the last `validation` training images; None instead of them if it's 0."""
    count = len(train.labels)
    if not validation:
        return train, None
    if not 0 < validation < count:
        raise UserError(f"--validation {validation}: expected 0 to {count - 1} of {name}'s {count} images")
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


def _shortened(raw: Raw, wanted: Wanted, name: str) -> Raw:
    """The first images of both parts, limited to the number needed."""
    count = len(raw.train[1])
    if wanted.subset is not None and wanted.subset > count:
        raise UserError(f"--subset {wanted.subset}: expected 1 to {count}, the training images of {name}")
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


def load_to_train(config: Config, cache: str | None = None, given: Container[str] = ()) -> Dataset:
    """Loads the data set of a training job, including its held-out images.

    Args:
        config: the job.
        cache: folder in which frames of recordings are cached; "off": no caching; None: in the user's cache folder.
        given: names of options that are set even if they have their default value.

    Raises:
        UserError: see `load`; `cache` is given for a data set of images.
    """
    name = config.data.dataset
    if cache is not None and not is_recorded(name) and reader_of(name):
        raise UserError(f"--cache {cache}: expected a data set of recordings, but {name} has images")
    return require_training(_load(config, name, config.data.validation, cache=cache, trains=True, given=given))


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
    how: Any = {"time_steps": steps, "frames": frames, "cache": kept, "subset": subset, "spare": spare}
    with naming_arguments(dataset="dataset"):
        return load(name, shape, validation, every_class=trains, **how)
