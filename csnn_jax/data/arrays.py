"""Your own arrays in a NumPy archive: images and labels to evaluate on, and optionally others to train on."""

import math
from collections.abc import Mapping
from pathlib import Path

from csnn_jax.config.names import MOST_CLASSES
from csnn_jax.data.images import check_shape
from csnn_jax.data.npz import Header, read_npz
from csnn_jax.data.source import Raw, Reader, Wanted
from csnn_jax.data.split import as_parts, check_form
from csnn_jax.errors import UserError
from csnn_jax.machine import available_memory

PARTS = {"train": ("train_images", "train_labels"), "test": ("images", "labels")}
"""The arrays of each part. The test part is required."""
KEYS = (*PARTS["test"], *PARTS["train"], "classes")
COPIES = {"i": 2, "f": 6}
"""How many times as much memory as their size whole numbers and floats take until they're converted."""
LONGEST_NAME = 1000
"""Maximum length of a class name, in characters."""


def read_arrays(where: str, wanted: Wanted) -> Raw:
    """Reads a file written by `numpy.savez` without running code from it.

    Args:
        where: the file. `images` and `labels` are for evaluation, `train_images` and `train_labels` for training, and
            `classes` holds the names of the classes. Images and labels are as in `csnn_jax.fit`.
        wanted: not used.

    Raises:
        UserError: the file is missing or damaged, or its arrays are unknown or don't match.
    """
    try:
        arrays = read_npz(Path(where), available_memory(), check=_check)
        parts = {part: tuple(arrays[key] for key in keys) for part, keys in PARTS.items() if keys[0] in arrays}
        classes = arrays["classes"].tolist() if "classes" in arrays else None
        train, test, names = as_parts(parts, classes)
        return Raw((train.images, train.labels), (test.images, test.labels), names)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _check(headers: Mapping[str, Header]) -> None:
    """Raises ValueError if arrays are unknown or missing, don't match, or don't fit into memory."""
    unknown, missing = sorted(headers.keys() - set(KEYS)), [key for key in KEYS[:2] if key not in headers]
    missing += [key for key in KEYS[2:4] if key not in headers and headers.keys() & set(KEYS[2:4])]
    if unknown or missing:
        problem = f"holds {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise ValueError(f"{problem}, expected {', '.join(KEYS[:2])} and optionally {', '.join(KEYS[2:])}")
    for part, (images, labels) in PARTS.items():
        if images in headers:
            check_shape(headers[images], f"{part} images")
            if (dtype := headers[images].dtype).kind not in "buif":
                raise ValueError(f"{part} images are {dtype}, expected numbers")
            check_form(headers[labels], headers[images].shape[0], f"{part} labels")
    if "classes" in headers:
        names = headers["classes"]
        if math.prod(names.shape) > MOST_CLASSES or names.dtype.itemsize > 4 * LONGEST_NAME:
            kind = f"{names.dtype} {list(names.shape)}"
            raise ValueError(f"classes is {kind}, expected at most {MOST_CLASSES:,} names of {LONGEST_NAME} characters")
    needed = sum(one.nbytes * COPIES["f" if one.dtype.kind == "f" else "i"] for one in headers.values())
    if needed > (free := available_memory()):
        raise ValueError(f"its arrays take {needed:,} bytes with the copies made of them, expected at most {free:,}")


READER = Reader(read_arrays, as_is=True)
