"""The data set of simulated recordings: made on first use, and kept where there is a cache."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from csnn_jax.data.events import saccades
from csnn_jax.data.events.frames import Window
from csnn_jax.data.events.nmnist import decoded, encoded
from csnn_jax.data.events.recording import Events
from csnn_jax.data.events.recordings import Recordings
from csnn_jax.data.events.sensor import fitted
from csnn_jax.data.idx import read_mnist
from csnn_jax.data.source import Pair, Raw, Wanted
from csnn_jax.errors import UserError
from csnn_jax.files import Temporary, rename
from csnn_jax.progress import followed

FORMAT = 1
"""Changes whenever the simulation does, so that recordings which were kept before are no longer found."""
BATCH = 250
"""Digits that a thread simulates at once."""


class Place(NamedTuple):
    """A recording: the file that its digit is in, its part and number there, and where it is kept, if it is."""

    path: Path
    part: int
    number: int
    kept: Path | None
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.path}, digit {self.number} of part {self.part}, simulated (format {FORMAT})"


def read_saccades(where: str, wanted: Wanted) -> Raw:
    """Simulates recordings of MNIST's digits, see `csnn_jax.data.events.saccades`; only once where there is a cache.

    Args:
        where: nothing.
        wanted: what the network takes in; its `subset` bounds the recordings that are made.

    Raises:
        UserError: a shape that is no whole fraction of the sensor's.
    """
    window = Window(wanted.time_steps, saccades.SENSOR, fitted(wanted, saccades.SENSOR), wanted.rules)
    mnist = read_mnist()
    sizes = [wanted.of(len(labels), len(mnist.train[1])) for _, labels in (mnist.train, mnist.test)]
    parts = zip((mnist.train, mnist.test), sizes, strict=True)
    train, test = (_pair(part, pair, count, window, wanted) for part, (pair, count) in enumerate(parts))
    return Raw(train, test, mnist.names, notes=window.told("saccades (simulated)"))


def read_place(place: Place) -> Events:
    """The events of a recording: as they are kept, or simulated once more.

    Raises:
        UserError: the file that keeps it can't be read.
    """
    if place.kept is None:
        digits = np.asarray(_digits(place.part)[place.number : place.number + 1])
        return next(saccades.simulate(digits, place.part, place.number))
    try:
        with place.kept.open("rb") as file:
            file.seek(place.start)
            return decoded(file.read(place.stop - place.start))
    except OSError as error:
        raise UserError(f"{place.kept}: cannot be read ({error.strerror}), expected simulated recordings") from error


def _pair(part: int, pair: Pair, count: int, window: Window, wanted: Wanted) -> Pair:
    images, labels = pair
    kept, offsets = None, np.zeros(count + 1, np.int64)
    if wanted.cache is not None:
        folder = wanted.cache / f"saccades-{FORMAT}-{part}-{count}"
        try:
            if not folder.is_dir():
                _make(folder, np.asarray(images[:count])[..., 0], part)
            kept, offsets = folder / "events", np.load(folder / "offsets.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            print(f"Data: {folder} can't be written or read ({error}); simulates each recording as it is needed")
    path = Path(str(files("csnn_jax.data"))) / "mnist" / f"{('train', 't10k')[part]}-images-idx3-ubyte.gz"
    bounds = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    places = [Place(path, part, number, kept, *bound) for number, bound in enumerate(bounds)]
    return Recordings(places, read_place, window), labels[:count]


def _make(folder: Path, digits: np.ndarray, part: int) -> None:
    """Simulates all recordings of a part, in batches, and writes them one after another."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    offsets = [0]
    with Temporary(folder) as unfinished, ThreadPoolExecutor() as pool:
        unfinished.mkdir()
        starts = range(0, len(digits), BATCH)
        made = pool.map(lambda start: _simulated(digits[start : start + BATCH], part, start), starts)
        told = f"Data: simulates {len(digits):,} recordings, to be kept in {folder.parent}"
        with (unfinished / "events").open("wb") as file:
            for batch in followed(made, told, len(starts)):
                for recording in batch:
                    offsets.append(offsets[-1] + file.write(recording))
        np.save(unfinished / "offsets.npy", np.array(offsets, np.int64))
        rename(unfinished, folder)


def _simulated(digits: np.ndarray, part: int, first: int) -> list[bytes]:
    return [encoded(events) for events in saccades.simulate(digits, part, first)]


@cache
def _digits(part: int) -> np.ndarray:
    return np.asarray((read_mnist().train if part == 0 else read_mnist().test)[0])[..., 0]
