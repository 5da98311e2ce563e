"""Opens only objects that are in an HDF5 file itself: links and data sets can refer to any other file."""

from typing import Any

import h5py

_NUMBERS_AND_TEXT = "biufS"
"""Kinds of data types; text of any length has kind O, like references to other objects."""


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
