"""The bundle directory: built under a temporary name and then renamed, so a partial bundle is never visible.

Demo folders are made the same way. Nothing here needs torch or ONNX.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from csnn_jax import reading
from csnn_jax.data import Split
from csnn_jax.errors import UserError
from csnn_jax.files import BUNDLE as MANIFEST
from csnn_jax.files import Temporary, check_folder, replace_folder, sync
from export.hashes import SUMS

T = TypeVar("T")

REPORT, PAGE = "report.md", "report.html"
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
"""Copied from the run. Code that reads only these two files can treat a bundle as a run."""

GOLDEN = "golden"
IMAGES = f"{GOLDEN}/images.safetensors"
"""The test images in a bundle."""
STEP_SETS, SEQUENCE_SETS = 100, 10
"""Number of golden steps and of whole windows in a bundle."""

Manifest = dict[str, Any]
"""The contents of manifest.json, or in reports its entries, merged: the maker's statements, the results and hashes."""


class Kind(NamedTuple):
    """A kind of folder.

    Attributes:
        name: its name in messages.
        mark: the JSON file that identifies it.
        files: the field of that file that lists the other files.
    """

    name: str
    mark: str
    files: str

    def names(self, path: Path) -> set[str]:
        """The names at the top of a folder of this kind; empty if it isn't one."""
        if path.is_symlink() or not (path / self.mark).is_file():
            return set()
        try:
            facts = json.loads(reading.read(path / self.mark, "a JSON file", MOST_BYTES, path))
            return {PurePosixPath(name).parts[0] for name in facts[self.files]} | {self.mark, SUMS}
        except (UserError, ValueError, RecursionError, LookupError, TypeError):
            return set()


MOST_BYTES = 2**26
"""Maximum size of the file that identifies a folder."""
BUNDLE = Kind("bundle", MANIFEST, "hashes")


def check_is(path: Path) -> None:
    """Raises UserError if `path` isn't a bundle."""
    if not (path / MANIFEST).is_file():
        raise UserError(f"{path}: isn't a bundle, expected a directory with {MANIFEST}")


def check_free(path: Path, overwrite: bool, kind: Kind = BUNDLE) -> None:
    """Checks that a bundle, or a folder of another kind, can be created at `path`.

    Raises:
        UserError: `path` already exists (with `overwrite`: and isn't of this kind, or has other files), or it can't be
            created.
    """
    if os.path.lexists(path):
        if not path.is_dir():
            check_folder(path)
        names = kind.names(path)
        if not overwrite:
            way = ", or --overwrite" if names else ""
            raise UserError(f"--out {path}: already exists; expected another path{way}")
        if not names:
            raise UserError(f"--out {path}: isn't a {kind.name}, which --overwrite replaces; expected another path")
        if others := sorted(set(os.listdir(path)) - names):
            mine = f"{others[0]!a}, which isn't the {kind.name}'s and which --overwrite would delete"
            raise UserError(f"--out {path}: contains {mine}; expected another path")
    check_folder(path.parent, path)


def make(path: Path, fill: Callable[[Path], T], overwrite: bool = False, kind: Kind = BUNDLE) -> T:
    """Creates a folder of some kind atomically; `fill` fills the empty folder that it's called with.

    Returns:
        The result of `fill`.

    Raises:
        UserError: see `check_free`; or the folder can't be created or filled (a full disk, no permission).
    """
    check_free(path, overwrite, kind)
    with Temporary(path) as temporary:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            filled = fill(temporary)
            for each in temporary.rglob("*"):  # otherwise, a power outage may leave empty files
                sync(each)
            check_free(path, overwrite, kind)  # again, because filling took minutes
            replace_folder(temporary, path)
        except OSError as error:
            raise UserError(f"--out {path}: can't be created: {error.strerror or error}") from None
    return filled


def golden_count(time_steps: int) -> int:
    """Number of images for the golden sets, if the test set has that many."""
    return max(SEQUENCE_SETS, -(-STEP_SETS // time_steps))


def golden_images(folder: Path) -> Split:
    """The test images and labels of the golden sets.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / IMAGES
    try:
        arrays = safetensors.numpy.load(reading.read(path, "images and labels", reading.PROTOBUF, folder))
        split = Split(arrays["images"], arrays["labels"])
    except (KeyError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: expected a safetensors file with images and labels: {error}") from None
    if split.images.dtype != np.uint8 or split.images.ndim not in (4, 5):
        raise UserError(f"{path}: expected images uint8 [N, H, W, C] or [N, T, H, W, C] and N labels")
    return split
