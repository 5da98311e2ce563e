"""The data sets that a run can use, and how a job and its data set are fitted to each other."""

import difflib
import importlib
import math
import operator
import os
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from csnn_jax.config.grid import FEW
from csnn_jax.config.job import Config
from csnn_jax.config.names import MOST_CLASSES
from csnn_jax.config.network import ModelConfig
from csnn_jax.config.pixels import Pixels
from csnn_jax.data.images import FLOAT_BITS, Images, Shape, as_learned, fit, image_notes, pixels_of
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.data.split import ARRAYS, Dataset, Split, check_kind, check_split, require_training
from csnn_jax.errors import UserError, naming_arguments, one_line
from csnn_jax.files import user_cache
from csnn_jax.options import show

if TYPE_CHECKING:
    from csnn_jax.data.events.cache import Cache


READERS: dict[str, str] = {
    "mnist": "idx.MNIST",
    "idx:DIR": "idx.FOLDER",
    "tfds:NAME": "tfds_source.READER",
    "nmnist:DIR": "events.folder.NMNIST",
    "dvsgesture:DIR": "events.dvsgesture.READER",
    "events:DIR": "events.folder.READER",
    "saccades": "events.saccades.READER",
    "images:DIR": "folders.READER",
    "arrays:FILE.npz": "arrays.READER",
}
"""The `Reader` of each kind of data set, by the form of its names; its module is imported on first use."""
TFDS = ("cifar10", "cifar100", "emnist", "fashion_mnist", "kmnist", "svhn_cropped")
"""Popular data sets of TFDS, for suggestions."""


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
    fallback_validation: int = 0,
    every_class: bool = False,
    trains: bool = True,
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
        fallback_validation: number of training images to use as test images if there are no others and `validation` is
            0.
        every_class: whether training images must have every label up to the highest, for classes without names.
        trains: whether many training images will be used; otherwise training recordings that aren't cached are read,
            and checked, only on use.
        check: called with the numbers of training images (without held-out ones) and test images before frames of
            recordings are made; raises UserError if they're too few.

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
        if not train:
            return  # `require_training` explains it
        if subset is not None and subset > train:
            raise UserError(f"--subset {subset}: expected 1 to {train}, the training images of {name}")
        test, train = wanted.of(test, train), wanted.of(train, train)
        held_out = validation or (0 if test else fallback_validation)
        if held_out and not 0 < held_out < train:
            raise UserError(f"--validation {held_out}: expected 0 to {train - 1} of {name}'s {train} images")
        check(train - held_out, test or held_out)

    wanted = Wanted(shape, time_steps, input_shape is None, frames, store, subset)
    kind, _, where = name.partition(":")
    with _naming(name):
        raw = reader.read(where, wanted)
        names = _classes(raw, every_class)
        check_sizes(len(raw.train[1]), len(raw.test[1]))
        raw = _limited(raw, wanted)
        if reader.as_is:
            shape = _as_they_are(raw, None if input_shape is None else shape, name)
        if reader.recordings and cache:
            raw = _framed(raw, kind, cache, trains)
        fitted: list[str] = []
        train, test = (_split(pair, shape, len(names), name, fitted) for pair in (raw.train, raw.test))
        tests = len(test.labels) > 0
        images = (train if len(train.labels) else test).images
        pixels = pixels_of(images, raw.floats)
        notes = [*raw.notes, *fitted, *image_notes(images, pixels.scale, name.partition("@")[0])]
        held_out = None
        if hold := validation or (0 if tests else fallback_validation):
            train, held_out = train.part(slice(None, -hold)), train.part(slice(-hold, None))
        if not tests:
            if held_out is None:
                expected = f"--validation with the number of its {len(train.labels)} training images to hold out"
                raise UserError(f"has no test images, expected {expected} instead")
            test = held_out
            notes.append(f"{name}: has no test images; the final accuracy is measured on the held-out images")
    lines, changes = (tuple(dict.fromkeys(some)) for some in (notes, fitted))
    return Dataset(name, train, held_out, test, names, pixels, lines, changes, "test" if tests else "validation")


def _classes(raw: Raw, every_class: bool) -> tuple[str, ...]:
    """The names of the classes. Without names, their numbers up to the highest label, see `load`."""
    for _, labels in (raw.train, raw.test):
        if labels.dtype.kind not in "iu":
            raise UserError(f"labels of type {labels.dtype}, expected whole numbers")
    trains = len(raw.train[1]) > 0
    labels = (raw.train if trains else raw.test)[1]
    if not raw.names and (top := int(labels.max())) >= MOST_CLASSES:
        raise UserError(f"has label {top}, expected labels below {MOST_CLASSES}")
    names = raw.names or tuple(map(str, range(int(labels.max()) + 1)))
    if len(names) < 2 and trains:
        raise UserError("one class, expected two or more")
    if every_class and not raw.names:
        positive = np.unique(labels[labels > 0])  # labels may also start at 1, as those of EMNIST's letters do
        if len(positive) != len(names) - 1:
            gap = next(number for number, label in enumerate(positive, 1) if label != number)
            every = f"every label up to the highest, {len(names) - 1}, with at least one training image"
            raise UserError(f"no training image has label {gap}, expected {every}")
    return names


def _limited(raw: Raw, wanted: Wanted) -> Raw:
    """The first images of both parts, limited to the number needed."""
    count = len(raw.train[1])
    if wanted.subset is None or not count:
        return raw

    def first(images: Images, labels: np.ndarray) -> Pair:
        size = wanted.of(len(labels), count)
        return images[:size], labels[:size]

    return replace(raw, train=first(*raw.train), test=first(*raw.test))


def _as_they_are(raw: Raw, wanted: Shape | None, name: str) -> Shape:
    """The shape of images that aren't resized, after checking it against the requested one."""
    height, width, channels = raw.test[0].shape[-3:]
    if wanted is not None and wanted != (height, width, channels):
        sizes = f"{height} {width} {channels}, because the images of {name} aren't resized"
        raise UserError(f"--input-shape {' '.join(map(str, wanted))}: expected {sizes}")
    return height, width, channels


def _framed(raw: Raw, kind: str, cache: "Cache", trains: bool) -> Raw:
    """Recordings as frames from the cache; their readers only return `Recordings`."""
    train = cache.frames(f"{kind}-train", raw.train[0], trains)  # type: ignore[arg-type]
    test = cache.frames(f"{kind}-test", raw.test[0])  # type: ignore[arg-type]
    return replace(raw, train=(train, raw.train[1]), test=(test, raw.test[1]))


def _split(pair: Pair, shape: Shape, num_classes: int, name: str, notes: list[str]) -> Split:
    """Checks the labels, fits the images and adds the changes to `notes`."""
    images, labels = pair
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if outside.size:
        raise UserError(f"labels outside the classes: {outside[0]}, expected 0 to {num_classes - 1}")
    if isinstance(images, np.ndarray):
        images, changes = fit(images, shape, name)
        notes += changes
    return Split(images, labels.astype(np.int32))


def _shape(value: Shape) -> Shape:
    """Checks a caller's shape, which may be a list or contain NumPy integers."""
    try:
        height, width, channels = map(operator.index, value)
    except (TypeError, ValueError):
        height = width = channels = 0
    if min(height, width, channels) < 1:
        raise UserError(f"input_shape {value!r}: expected three positive whole numbers: height, width, channels")
    return height, width, channels


def reader_of(name: str) -> Reader | None:
    """The reader of a data set; None if its kind is unknown.

    Args:
        name: a value of --dataset, such as `mnist` or `idx:DIR`.
    """
    kind, _, where = name.partition(":")
    for form, reader in READERS.items():
        of, colon, _ = form.partition(":")
        if kind == of and bool(where) == bool(colon) and (colon or name == of):
            module, _, constant = reader.rpartition(".")
            return vars(importlib.import_module(f"csnn_jax.data.{module}"))[constant]
    return None


def takes_as_is(name: str) -> bool:
    """Whether a data set's images are used unchanged, because they're already in the network's units.

    Args:
        name: a value of --dataset.
    """
    reader = reader_of(name)
    return reader is not None and reader.as_is


def is_recorded(name: str) -> bool:
    """Whether a data set consists of event recordings, so its images are frames.

    Args:
        name: a value of --dataset.
    """
    reader = reader_of(name)
    return reader is not None and reader.recordings


def _unknown(name: str) -> UserError:
    if name == ARRAYS:
        return UserError(
            f"--dataset {ARRAYS}: expected --dataset arrays:FILE.npz, with images and labels; a run that was "
            "converted, or trained on arrays in Python, has no file of its own"
        )
    near = difflib.get_close_matches(name.lower(), [*READERS, *TFDS], n=1)
    suggested = [f"tfds:{one}" if one in TFDS else one for one in near]
    hint = f"; did you mean {suggested[0]!r}?" if suggested else ""
    return UserError(f"--dataset {name!r}: expected one of {', '.join(READERS)}{hint}")


@contextmanager
def _naming(name: str, kind: type[Exception] = UserError) -> Iterator[None]:
    """Turns errors of a kind into UserErrors that name --dataset, unless they name a flag.

    Their messages may start with the data set, its folder or a file.
    """
    try:
        yield
    except kind as error:
        message, where = str(error.args[0]), name.partition(":")[2]
        if message.startswith("--"):
            raise
        starts = (f"{start}: " for start in (name, name.partition("@")[0], where, Path(where), one_line(where)))
        problem = message.removeprefix(next(filter(message.startswith, starts), ""))
        raise UserError(f"--dataset {name}: {problem}") from error


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
        UserError: see `load`; there's a cache for images, or one that isn't a folder, or an encoding for recordings.
    """
    name, cache = config.data.dataset, config.data.cache
    if is_recorded(name) and config.model.encoding != "direct":
        raise UserError(f"--encoding {config.model.encoding}: {name} already has a time axis, expected direct")
    if cache is not None and not is_recorded(name) and reader_of(name):
        raise UserError(f"--cache {cache}: expected a data set of recordings, but {name} has images")
    if cache not in (None, "off"):
        folder = Path(cache)
        nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not nearest.is_dir():
            raise UserError(f"--cache {cache}: {nearest} isn't a folder, expected one or a path to create it at")
    dataset = _load(config, name, config.data.validation, cache=cache, trains=True, given=given, check=check)
    return require_training(dataset)


def load_for(config: Config, name: str | None = None, held_out: bool = False) -> Dataset:
    """Loads a data set for a trained network: its own or another one.

    Frames of recordings are cached in the user's cache folder, because a downloaded run must not choose the folder.
    Training recordings that aren't cached are read only on use.

    Args:
        config: the network's job.
        name: the data set; None: the job's.
        held_out: whether to hold out as many training images as the job; otherwise test images replace them.

    Raises:
        UserError: it can't be loaded, has more classes than the network or classes with other names, or has arrays
            that don't fit the network.
    """
    if name not in (None, config.data.dataset):
        config = replace(config, data=replace(config.data, subset=None))  # it only limits the run's own data
    model, count = config.model, config.data.validation
    dataset = _load(config, name or config.data.dataset, count if held_out else 0, fallback_validation=count)
    with _naming(dataset.name, ValueError):
        if takes_as_is(dataset.name):
            for split in (dataset.train, dataset.test)[not len(dataset.train.labels) :]:
                check_split(split, model)
        if model.scale is not None:
            check_kind(dataset.test.images, model)
    dataset = learned(dataset, model)
    if dataset.num_classes > model.num_classes:
        has = f"has {dataset.num_classes} classes, expected at most the network's {model.num_classes}"
        raise UserError(f"--dataset {dataset.name}: {has}")
    check_names(dataset.name, named(dataset), config.data.classes)
    return dataset


def _load(
    config: Config,
    name: str,
    validation: int = 0,
    fallback_validation: int = 0,
    cache: str | None = None,
    trains: bool = False,
    given: Container[str] = (),
    check: Callable[[int, int], None] = lambda train, test: None,
) -> Dataset:
    """`load` with a job's settings, and with a cache in a folder, see `load_to_train`."""
    model, settings, frames_cache = config.model, config.data, None
    arrays = takes_as_is(name) and not trains  # the run's flags don't describe other arrays
    shape = model.input_shape if is_set(model, "input_shape", given) and not arrays else None  # None: the data's
    if is_recorded(name):
        from csnn_jax.data.events.cache import Cache

        frames_cache = Cache(None if cache == "off" else Path(cache or user_cache("events")))
    is_own = not arrays or name == settings.dataset
    frames, subset = (settings.frames, settings.subset) if is_own else ("time", None)
    how: Any = {"time_steps": model.time_steps, "frames": frames, "cache": frames_cache, "subset": subset}
    how |= {"fallback_validation": fallback_validation, "every_class": trains, "trains": trains, "check": check}
    with naming_arguments(dataset="dataset"):
        return load(name, shape, validation, **how)


def named(dataset: Dataset) -> tuple[str, ...] | None:
    """The names of a data set's classes; None if they're just numbers.

    Args:
        dataset: the data set.
    """
    return None if dataset.names == tuple(map(str, range(len(dataset.names)))) else dataset.names


def check_names(dataset: str, names: tuple[str, ...] | None, learned: tuple[str, ...] | None) -> None:
    """Raises UserError unless a data set's classes are those that a network learned, in the same order.

    Args:
        dataset: name of the data set, for errors.
        names: names of its classes; None: they're numbers, or the data hasn't been read yet.
        learned: names of the network's classes; None: they're numbers, or unknown.
    """
    for number, (name, expected) in enumerate(zip(names or (), learned or (), strict=False)):
        if name != expected:
            raise UserError(
                f"--dataset {dataset}: its class {number} is {show(name)}, expected {show(expected)}, as in the "
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

    Args:
        dataset: the data set.
        model: the network.

    Raises:
        UserError: values larger than the network's training data allows.
    """

    def part(split: Split, name: str) -> Split:
        with _naming(dataset.name, ValueError):
            return replace(split, images=as_learned(split.images, model, f"{name} images"))

    held_out = None if dataset.validation is None else part(dataset.validation, "held-out")
    return replace(dataset, train=part(dataset.train, "train"), validation=held_out, test=part(dataset.test, "test"))


def is_set(model: ModelConfig, name: str, given: Container[str]) -> bool:
    """Whether an option of a network was given, or isn't the default."""
    return name in given or getattr(model, name) != getattr(ModelConfig, name)


def _fit_classes(model: ModelConfig, dataset: Dataset, given: Container[str]) -> ModelConfig:
    if model.network is not None and model.num_classes < dataset.num_classes:
        last = f"{model.graph.neurons[-1].name} has {model.num_classes} neurons"
        few = f"{dataset.name} has labels up to {dataset.num_classes - 1}"
        raise UserError(f"--network: {last}, but {few}; expected at least {dataset.num_classes}")
    if model.network is None and not is_set(model, "num_classes", given):
        return replace(model, num_classes=max(2, dataset.num_classes))
    if model.num_classes < dataset.num_classes:
        raise UserError(
            f"--num-classes {model.num_classes}: {dataset.name} has labels up to {dataset.num_classes - 1}, "
            f"expected at least {dataset.num_classes}"
        )
    return model
