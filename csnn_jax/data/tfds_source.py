"""Data sets prepared on disk by tensorflow-datasets (TFDS), read without TensorFlow and offline."""

import contextlib
import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from csnn_jax.data.images import Shape, fit, to_uint8
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.errors import UserError, first_line


def read_tfds(where: str, wanted: Wanted) -> Raw:
    """Reads a prepared data set from its `array_record` files.

    The files are self-describing, so your own data sets can be read by name, without their code. Nothing is ever
    downloaded (`tfds.data_source` would do that without asking).

    Args:
        where: "NAME" or "NAME@DATA_DIR", with NAME in TFDS's form, `name[/config][:version]`. DATA_DIR defaults to
            $TFDS_DATA_DIR or ~/tensorflow_datasets.
        wanted: each image is resized to its shape while reading, because sizes may vary.

    Raises:
        UserError: not installed, not prepared, in another format, corrupt, or without images or labels.
    """
    name, _, data_dir = where.partition("@")
    if not re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        raise UserError(f"--dataset 'tfds:{name}': expected a name of the form tfds:NAME[/CONFIG][:VERSION]")
    folder = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    prepared = _Prepared(name, folder, _import_tfds(f"tfds:{name}"))
    with _quiet():
        return prepared.read(wanted.shape)


@dataclass(frozen=True)
class _Prepared:
    """A data set `name` that may be prepared in `folder`, read with the module `tfds`."""

    name: str
    folder: Path
    tfds: Any

    @property
    def source(self) -> str:
        return f"tfds:{self.name}"

    def read(self, input_shape: Shape) -> Raw:
        builder = self.open()
        splits = list(builder.info.splits)
        test = "test" if "test" in splits else "validation"
        if "train" not in splits or test not in splits:
            raise UserError(f"{self.source}: splits {splits}, expected train and test (or validation)")
        notes = [] if test == "test" else [f"{self.source}: no test split, using its validation split"]
        image_key, names = self.features(builder.info.features)
        train, tested = (self.split(builder, split, image_key, input_shape, notes) for split in ("train", test))
        floats = np.issubdtype(builder.info.features[image_key].np_dtype, np.floating)
        return Raw(train, tested, names, floats, tuple(notes))

    def open(self) -> Any:
        try:
            # Not public, but TFDS's only way to find files by name that never downloads any.
            return self.tfds.core.read_only_builder.builder_from_files(self.name, data_dir=str(self.folder))
        except self.tfds.core.registered.DatasetNotFoundError as error:
            known = self.tfds.list_builders(with_community_datasets=False)
            base = self.name.replace(":", "/").split("/")[0]
            if base in known:
                raise UserError(f"{self.source}: not prepared in {self.folder}; {self.advice()}") from error
            near = difflib.get_close_matches(base, known, n=1)
            hint = f"; did you mean 'tfds:{near[0]}'?" if near else ""
            why = f"neither prepared in {self.folder} nor known to TFDS{hint}"
            raise UserError(f"{self.source}: {why}") from error
        except Exception as error:
            raise self.unreadable(error) from error

    def features(self, features: Any) -> tuple[str, tuple[str, ...]]:
        """Finds the image-like feature, and the names of the classes of the feature `label`."""
        ranks = {key: len(features[key].shape) for key in sorted(features) if isinstance(features[key].shape, tuple)}
        images = ["image"] if "image" in ranks else [key for key, rank in ranks.items() if rank in (3, 4)]
        if len(images) != 1 or ranks[images[0]] not in (3, 4):
            expected = "'image', or just one, of rank 3 [H, W, C] or 4 [T, H, W, C]"
            raise UserError(f"{self.source}: features of ranks {ranks}, expected {expected}")
        label = features["label"] if ranks.get("label") == 0 else None
        if label is None or not np.issubdtype(label.np_dtype, np.integer):
            raise UserError(f"{self.source}: features of ranks {ranks}, expected 'label', a whole number")
        return images[0], tuple(label.names) if isinstance(label, self.tfds.features.ClassLabel) else ()

    def split(self, builder: Any, split: str, image_key: str, input_shape: Shape, notes: list[str]) -> Pair:
        images, labels = [], []
        for example in self.examples(builder, split):
            image, scaled = to_uint8(np.asarray(example[image_key]), self.source)
            image, fitted = fit(image, input_shape, self.source)
            images.append(image)
            labels.append(example["label"])
            notes += scaled + fitted
        shapes = {image.shape for image in images}
        if len(shapes) != 1:
            raise UserError(f"{self.source}: {split} images of shapes {sorted(shapes)}, expected one shape")
        return np.stack(images), np.asarray(labels, np.int64)

    def examples(self, builder: Any, split: str) -> Iterator[dict[str, Any]]:
        try:
            data = builder.as_data_source(split)
            for index in range(len(data)):
                yield data[index]
        except NotImplementedError as error:
            problem = f"{builder.data_dir} contains {builder.info.file_format.value} files, expected array_record"
            raise UserError(f"{self.source}: {problem}; remove it, {self.advice()}") from error
        except Exception as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: Exception) -> UserError:
        """For what TFDS raises on bad files: OSError, RuntimeError, ValueError, ParseError, ..."""
        why = f"{type(error).__name__}: {first_line(error)}"
        problem = f"unreadable in {self.folder} ({why})"
        return UserError(f"{self.source}: {problem}; remove its folder there, {self.advice()}")

    def advice(self) -> str:
        arguments = f"{self.name!r}, data_dir={str(self.folder)!r}, file_format='array_record'"
        return (
            'prepare it with: pip install tensorflow && python -c "import tensorflow_datasets as tfds; '
            f'tfds.builder({arguments}).download_and_prepare()"'
        )


def _import_tfds(source: str) -> Any:
    # Imported lazily, because these are optional, and array_record only exists for Linux.
    try:
        import array_record.python.array_record_data_source  # noqa: F401
        import importlib_resources  # noqa: F401  tensorflow-datasets needs it, undeclared
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(f"--dataset {source}: {error}; expected `pip install 'csnn-jax[tfds]'`, on Linux") from error
    return tensorflow_datasets


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences TFDS's messages, such as the one that OpenCV would be faster than Pillow."""
    from absl import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


READER = Reader(read_tfds)
