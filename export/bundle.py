"""The bundle directory: made under a temporary name beside its own and renamed, so that no half bundle is ever seen.

The folder of a demonstration is made in the same way. What stands here needs neither torch nor ONNX.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import safetensors
import safetensors.numpy

from csnn_jax.data import Split
from csnn_jax.errors import UserError
from csnn_jax.files import BUNDLE as MANIFEST
from csnn_jax.files import Temporary, replace_folder, sync

T = TypeVar("T")

REPORT, PAGE = "report.md", "report.html"
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
"""The run's own files, by which a bundle is a run to whoever reads those two only."""

GOLDEN = "golden"
IMAGES = f"{GOLDEN}/images.safetensors"
"""The test images that a bundle holds."""
STEP_SETS, SEQUENCE_SETS = 100, 10
"""How many golden steps and whole windows a bundle holds."""

Manifest = dict[str, Any]
"""What manifest.json holds."""


class Kind(NamedTuple):
    """A kind of folder: its name for a reader, and the file by which it is known."""

    name: str
    mark: str


BUNDLE = Kind("bundle", MANIFEST)


def check_is(path: Path) -> None:
    """Raises UserError where there is no bundle."""
    if not (path / MANIFEST).is_file():
        raise UserError(f"{path}: isn't a bundle, expected a directory with {MANIFEST}")


def check_free(path: Path, overwrite: bool, kind: Kind = BUNDLE) -> None:
    """Refuses a place that a bundle, or a folder of another kind, can't be made at.

    Raises:
        UserError: something is there already (with `overwrite`: something of another kind), or there is no folder
            to make it in.
    """
    if os.path.lexists(path):
        mine = not path.is_symlink() and (path / kind.mark).is_file()
        if not overwrite:
            way = ", or --overwrite" if mine else ""
            raise UserError(f"--out {path}: already exists; expected another path{way}")
        if not mine:
            raise UserError(f"--out {path}: isn't a {kind.name}, --overwrite only replaces folders with a {kind.mark}")
    for parent in path.absolute().parents:
        if os.path.lexists(parent):
            if not parent.is_dir():
                raise UserError(f"--out {path}: {parent} isn't a directory")
            break


def make(path: Path, fill: Callable[[Path], T], overwrite: bool = False, kind: Kind = BUNDLE) -> T:
    """Makes the folder `path`, whole or not at all.

    Args:
        path: where it is to be.
        fill: is given an empty folder to fill.
        overwrite: whether an older one is replaced.
        kind: what it is.

    Returns:
        What `fill` gave.

    Raises:
        UserError: see `check_free`; or the folder can't be made or filled (a full disk, no permission).
    """
    check_free(path, overwrite, kind)
    with Temporary(path) as temporary:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            filled = fill(temporary)
            for each in temporary.rglob("*"):  # or a power cut may leave empty files under the name
                sync(each)
            check_free(path, overwrite, kind)  # again, for it took minutes to fill
            replace_folder(temporary, path)
        except OSError as error:
            raise UserError(f"--out {path}: can't be created: {error.strerror or error}") from None
    return filled


def golden_count(time_steps: int) -> int:
    """How many images the golden sets are made of, where the test set has as many."""
    return max(SEQUENCE_SETS, -(-STEP_SETS // time_steps))


def golden_images(folder: Path) -> Split:
    """The test images that the golden sets are made of, and their labels.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / IMAGES
    try:
        arrays = safetensors.numpy.load(path.read_bytes())
        split = Split(arrays["images"], arrays["labels"])
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: expected a safetensors file with images and labels: {error}") from None
    if split.images.dtype != np.uint8 or split.images.ndim not in (4, 5):
        raise UserError(f"{path}: expected images uint8 [N, H, W, C] or [N, T, H, W, C] and as many labels")
    return split
