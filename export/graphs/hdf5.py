"""Compares two HDF5 files, object by object. Shapes and types are compared before any values are read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from csnn_jax.errors import first_line
from csnn_torch.foreign import hdf5

MOST_OBJECTS = 10_000
"""How many objects of a group are tried."""
Item = Any
"""A group or a dataset; h5py has no type hints."""


def in_folders(expected: Path, found: Path) -> Callable[[str], Iterator[str]]:
    """Returns a function from a file's name to the differences between the two folders' files, one line each."""
    return lambda name: file_differences(expected / name, found / name)


def file_differences(expected: Path, found: Path) -> Iterator[str]:
    """How a received file differs from `expected`, one line for each difference."""
    most = 2 * expected.stat().st_size
    if (size := found.stat().st_size) > most:
        yield f"has {size:,} bytes, expected at most {most:,}"
        return
    if problem := hdf5.damage(found, MOST_OBJECTS):
        yield f"isn't an HDF5 file: {problem}"
        return
    try:
        with h5py.File(expected) as one, h5py.File(found) as other:
            if one.userblock_size != other.userblock_size:
                yield "doesn't begin with HDF5's signature"
            yield from differences(one, other)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        yield f"isn't an HDF5 file: {first_line(error)}"


def differences(expected: h5py.Group, found: h5py.Group) -> Iterator[str]:
    """How a group's objects, attributes or values differ from `expected`, one line for each difference.

    Only objects that `expected` has are opened, so links to other places, extra objects and compressed or external
    data are reported but never followed.
    """
    yield from _attributes(expected, found)
    for name in sorted(expected.keys() | found.keys()):
        place = f"{expected.name.rstrip('/')}/{name}"
        if name not in expected or name not in found:
            yield f"{place} is {'missing' if name in expected else 'unexpected'}"
            continue
        item, problem = hdf5.member(found, name)
        if problem:
            yield f"{place} {problem}"
        else:
            yield from _items(expected[name], item, place)


def _items(expected: Item, found: Item, place: str) -> Iterator[str]:
    if isinstance(expected, h5py.Group) and isinstance(found, h5py.Group):
        yield from differences(expected, found)
    elif isinstance(expected, h5py.Dataset) and isinstance(found, h5py.Dataset):
        forms = [(one.shape, one.dtype, *_storage(one)) for one in (expected, found)]
        if forms[0] != forms[1]:
            yield f"{place} has a different shape, type or storage"
            return
        yield from _attributes(expected, found)
        if not _equal(expected[()], found[()]):
            yield f"{place} doesn't match what this version makes from the weights"
    else:
        yield f"{place} is a {type(found).__name__}, expected a {type(expected).__name__}"


def _storage(data: h5py.Dataset) -> tuple[int, int, int]:
    """How values are stored: layout, number of filters, number of external files."""
    how = data.id.get_create_plist()
    return how.get_layout(), how.get_nfilters(), how.get_external_count()


def _attributes(expected: Item, found: Item) -> Iterator[str]:
    for name in sorted(expected.attrs.keys() | found.attrs.keys()):
        if name not in expected.attrs or name not in found.attrs:
            yield f"{expected.name}: attribute {name} is {'missing' if name in expected.attrs else 'unexpected'}"
        elif not _equal(expected.attrs[name], found.attrs[name]):
            yield f"{expected.name}: attribute {name} differs"


def _equal(expected: object, found: object) -> bool:
    one, two = np.asarray(expected), np.asarray(found)
    return one.dtype == two.dtype and one.shape == two.shape and bool(np.array_equal(one, two))
