"""Opens everything in an HDF5 file, to find out whether the library does so without crashing or looping forever.

`csnn_torch.foreign.hdf5` has it run in a child process, see `csnn_jax.reading.child_main`.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import h5py

sys.path.append(str(Path(__file__).parents[2]))  # in case the package isn't installed

from csnn_torch.foreign import hdf5


def answer(asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Opens whatever it can; other errors are left to those who read the file."""
    with suppress(Exception), h5py.File(asked["path"]) as file:
        groups, seen = [file], set[int]()
        while groups:
            for item in _members(groups.pop(), asked["most"]):
                with suppress(Exception):
                    dict(item.attrs)
                with suppress(Exception):
                    if isinstance(item, h5py.Dataset):
                        _ = item[()] if hdf5.is_stored(item) else None
                    elif (place := h5py.h5o.get_info(item.id).addr) not in seen:
                        seen.add(place)
                        groups.append(item)
    return {}, b""


def _members(group: h5py.Group, most: int) -> Iterator[Any]:
    with suppress(Exception):
        for name in islice(group, most):
            with suppress(Exception):
                item, problem = hdf5.member(group, name)
                if not problem:
                    yield item
