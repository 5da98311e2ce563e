"""Opens HDF5 files from anyone: links and data sets may refer to any file, and damage can make the library loop."""

from pathlib import Path
from typing import Any

import h5py

from csnn_jax.machine import available_memory
from csnn_jax.reading.child import Child

_NUMBERS_AND_TEXT = "biufS"
"""Kinds of data types; text of any length has kind O, like references to other objects."""
_PACKED = 1100
"""Maximum bytes of values per stored byte: more than HDF5's compression achieves, so small files can't fill memory."""
_SECONDS = 5
"""CPU seconds for opening everything in a file, plus as many per MB of the file."""
_CHILD = Child(Path(__file__).with_name("hdf5_child.py"))


def damage(path: str | Path, most: int) -> str:
    """Has a child process open everything in a file, because one changed byte can make HDF5 read forever.

    Args:
        path: the file.
        most: how many objects of a group to open.

    Returns:
        Why the child couldn't, or an empty string. The file may still be damaged in other ways.
    """
    seconds = _SECONDS * (1 + Path(path).stat().st_size // 1_000_000)
    answer, _ = _CHILD.ask(Path(path), 2**30 + available_memory() // 4, seconds, most=most)
    return answer.get("error") or answer.get("missing", "")


def is_stored(data: h5py.Dataset) -> bool:
    """Whether a data set states no more values than its stored bytes can hold."""
    return data.nbytes <= max(2**20, _PACKED * data.id.get_storage_size())


def member(group: h5py.Group, name: str) -> tuple[Any, str]:
    """An object of a group, and an empty string; or None, and why it isn't wholly in the file or isn't data.

    Only hard links are followed.

    Raises:
        KeyError: the group has no such object.
    """
    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        return None, "is a link, expected an object in the file itself"
    item = group[name]
    if isinstance(item, h5py.Group):
        return item, ""
    if not isinstance(item, h5py.Dataset):
        return None, "is a named type, expected a group or a data set"
    how = item.id.get_create_plist()
    if how.get_external_count():
        return None, "has its values in another file, expected them in the file itself"
    if how.get_layout() == h5py.h5d.VIRTUAL:
        return None, "is a virtual data set, expected its values in the file itself"
    if (dtype := item.dtype).kind not in _NUMBERS_AND_TEXT and h5py.check_string_dtype(dtype) is None:
        return None, "has another type, expected numbers or text"
    return item, ""
