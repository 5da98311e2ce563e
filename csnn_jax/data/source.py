"""What a data reader takes and returns: the contract of csnn_jax.data.datasets.READERS."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from csnn_jax.data.images import Images, Shape

if TYPE_CHECKING:
    from csnn_jax.data.pictures import Picture

Pair = tuple[Images, np.ndarray]
"""Images and their labels, integers [N]."""


class StoredRecords(Protocol):
    """Records on disk, read one by one."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> bytes: ...


@dataclass(frozen=True)
class Wanted:
    """The data that a network needs.

    Attributes:
        shape: (H, W, C) of its input. A reader may return other sizes, because images are resized afterwards.
        time_steps: its number of steps.
        shape_is_default: whether the shape is only the default, so event recordings keep their sensor's size.
        frames: how events become frames, by "time" or by "count".
        store: (name, function that makes records) -> the records, made on first use and stored; None instead of them
            if they can't be stored.
        subset: number of training images needed, the first ones; None: all. A reader may return more.
    """

    shape: Shape
    time_steps: int
    shape_is_default: bool = False
    frames: str = "time"
    store: Callable[[str, Callable[[], Iterable[bytes]]], StoredRecords | None] = lambda name, make: None
    subset: int | None = None

    def of(self, count: int, train: int) -> int:
        """How many images of a part are needed, out of `count`, given the number of training images."""
        return count if self.subset is None else min(count, max(1, count * self.subset // train))


@dataclass(frozen=True)
class Raw:
    """The data that a reader returns, before it's fitted to a network.

    Attributes:
        train: training data; without images if there are none to train on.
        test: test data, for the accuracy; without images if some of `train` have to be held out for it.
        names: names of the classes; by default the numbers from 0 to the highest training label.
        floats: whether the images were floats from 0 to 1 that were scaled to 0 .. 255.
        notes: what was changed on reading, one printed line each; duplicates are allowed.
    """

    train: Pair
    test: Pair
    names: tuple[str, ...] = ()
    floats: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reader:
    """Reads the data sets of one kind.

    Attributes:
        read: called with the text after the colon and the network's needs. It reports user mistakes with `UserError`,
            in one line with the file, what was found and what was expected.
        recordings: whether it reads event recordings and turns them into frames; other readers return images.
        as_is: whether its images are used unchanged: never resized, and floats stay floats.
        picture: reads one file as training reads it, in the shape of a network's input; None: the data aren't pictures.
        sensor: height and width of the camera (pixels), if all of these recordings come from the same camera.
    """

    read: Callable[[str, Wanted], Raw]
    recordings: bool = False
    sensor: tuple[int, int] | None = None
    as_is: bool = False
    picture: "Callable[[str, Shape], Picture] | None" = None
