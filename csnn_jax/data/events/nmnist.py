"""N-MNIST's original files: a folder for each digit in Train and in Test, with one recording per file."""

import re
from pathlib import Path

from csnn_jax.data.events.frames import Recordings, Window, fitted
from csnn_jax.data.events.recording import read_bin
from csnn_jax.data.folders import in_turn
from csnn_jax.data.source import Pair, Raw, Reader, Wanted
from csnn_jax.errors import UserError

SENSOR = (34, 34)


def read_nmnist(where: str, wanted: Wanted) -> Raw:
    """Reads N-MNIST (Orchard et al. 2015) as published by its authors: `Train/0/00002.bin` and so on.

    Args:
        where: the folder with `Train` and `Test`, each with the folders 0 to 9; use `events:` for fewer classes.
        wanted: the network's input.

    Raises:
        UserError: a folder is missing or empty, or the sensor's size isn't a multiple of the shape.
    """
    window = Window(wanted.time_steps, SENSOR, fitted(wanted, SENSOR), wanted.frames)
    train, test = (_split(Path(where) / part, window) for part in ("Train", "Test"))
    return Raw(train, test, tuple("0123456789"), notes=window.summary(where))


def _split(folder: Path, window: Window) -> Pair:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected one with a folder for each digit, 0 to 9")
    folders = sorted((one for one in folder.iterdir() if re.fullmatch(r"\d", one.name)), key=lambda one: one.name)
    if missing := set("0123456789") - {one.name for one in folders}:
        raise UserError(f"{folder}: has no folder {min(missing)}, expected one for each digit, 0 to 9")
    places = {one.name: sorted(one.glob("*.bin")) for one in folders}
    for one, files in zip(folders, places.values(), strict=True):
        if not files:
            raise UserError(f"{one}: has no recordings, expected files such as 00002.bin")
    paths, labels = in_turn(places)
    return Recordings(paths, read_bin, window), labels


READER = Reader(read_nmnist, recordings=True, sensor=SENSOR)
