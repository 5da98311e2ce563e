"""The data set of simulated recordings, made on first use and stored if there is a cache."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from csnn_jax.data.events import saccades
from csnn_jax.data.events.five_bytes import decoded, encoded
from csnn_jax.data.events.frames import Window, fitted
from csnn_jax.data.events.recording import Events
from csnn_jax.data.events.recordings import Recordings
from csnn_jax.data.idx import read_mnist
from csnn_jax.data.source import Pair, Raw, Reader, StoredRecords, Wanted
from csnn_jax.progress import followed

FORMAT = 3
"""Changes whenever the simulation changes, so older stored recordings are no longer found."""
BATCH = 250
"""Number of digits that a thread simulates at once."""


class Place(NamedTuple):
    """A recording: the file with its digit, its part and number there, and what stores it, if anything does."""

    path: Path
    part: int
    number: int
    stored: StoredRecords | None

    def __str__(self) -> str:
        return f"{self.path}, digit {self.number} of part {self.part}, simulated (format {FORMAT})"


def read_saccades(where: str, wanted: Wanted) -> Raw:
    """Simulates recordings of MNIST's digits, only once with a cache; see `csnn_jax.data.events.saccades`.

    Args:
        where: unused.
        wanted: the network's input; its `subset` limits how many recordings are made.

    Raises:
        UserError: the sensor's size isn't a multiple of the shape.
    """
    window = Window(wanted.time_steps, saccades.SENSOR, fitted(wanted, saccades.SENSOR), wanted.frames)
    mnist = read_mnist()
    wanted.check(len(mnist.train[1]), len(mnist.test[1]))
    sizes = [wanted.of(len(labels), len(mnist.train[1])) for _, labels in (mnist.train, mnist.test)]
    parts = zip((mnist.train, mnist.test), sizes, strict=True)
    train, test = (_pair(part, pair, count, window, wanted) for part, (pair, count) in enumerate(parts))
    return Raw(train, test, mnist.names, notes=window.summary("saccades (simulated)"))


def read_place(place: Place) -> Events:
    """Returns the events of a recording, stored or simulated again."""
    if place.stored is not None:
        return decoded(place.stored[place.number])
    digits = np.asarray(_digits(place.part)[place.number : place.number + 1])
    return next(saccades.simulate(digits, place.part, place.number))


def _pair(part: int, pair: Pair, count: int, window: Window, wanted: Wanted) -> Pair:
    images, labels = pair
    records = _stored(wanted, np.asarray(images[:count])[..., 0], part)
    path = Path(str(files("csnn_jax.data"))) / "mnist" / f"{('train', 't10k')[part]}-images-idx3-ubyte.gz"
    places = [Place(path, part, number, records) for number in range(count)]
    return Recordings(places, read_place, window, made=True), labels[:count]


def _stored(wanted: Wanted, digits: np.ndarray, part: int) -> StoredRecords | None:
    """All recordings of a part, simulated in batches if missing; None if they can't be stored."""
    starts = range(0, len(digits), BATCH)

    def simulated() -> Iterator[bytes]:
        with ThreadPoolExecutor() as pool:
            made = pool.map(lambda start: _simulated(digits[start : start + BATCH], part, start), starts)
            for batch in followed(made, f"Data: simulating {len(digits):,} recordings", len(starts)):
                yield from batch

    return wanted.store(f"saccades-{FORMAT}-{('train', 'test')[part]}-{len(digits)}", simulated)


def _simulated(digits: np.ndarray, part: int, first: int) -> list[bytes]:
    return [encoded(events) for events in saccades.simulate(digits, part, first)]


@cache
def _digits(part: int) -> np.ndarray:
    return np.asarray((read_mnist().train if part == 0 else read_mnist().test)[0])[..., 0]


READER = Reader(read_saccades, recordings=True, sensor=saccades.SENSOR)
