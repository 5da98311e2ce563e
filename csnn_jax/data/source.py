"""What a reader of data is told, and what it gives: the contract of csnn_jax.data.datasets.READERS."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from csnn_jax.data.images import Images, Shape

if TYPE_CHECKING:
    from csnn_jax.data.events.shelf import Shelf
    from csnn_jax.data.pictures import Picture

Pair = tuple[Images, np.ndarray]
"""Images and their labels, whole numbers [N]."""


@dataclass(frozen=True)
class Wanted:
    """What the network that asks for data takes in.

    Attributes:
        shape: (H, W, C) of its input. A reader may leave images as they are, for they are fitted afterwards.
        time_steps: of its window.
        own: nobody asked for this shape, so recordings of events keep that of their sensor.
        frames: how they are made of events, by "time" or by "count".
        cache: for what is made on first use; None: nothing is kept.
        subset: images to learn from that are wanted, the first ones; None: all. A reader may give more.
    """

    shape: Shape
    time_steps: int
    own: bool = False
    frames: str = "time"
    cache: "Shelf | None" = None
    subset: int | None = None

    def of(self, count: int, train: int) -> int:
        """How many of a part's images are wanted, where there are so many of the part and so many to learn from."""
        return count if self.subset is None else min(count, max(1, count * self.subset // train))


@dataclass(frozen=True)
class Raw:
    """What a reader found, before it is fitted to a network.

    Attributes:
        train: what to learn from; without images where there are none to learn from.
        test: what to report accuracy on; without images where some of `train` have to be held out for that.
        names: of the classes; without them they are the numbers from 0 to the highest label to learn from.
        floats: the images were floats from 0 to 1, which were scaled to 0 .. 255.
        notes: what was changed on reading, to be printed, one line each; they may repeat themselves.
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
        read: takes what a user has written behind the colon, and what the network wants. A mistake of the user's is a
            `UserError`, in one line with the file, what was found and what was expected.
        recordings: it reads recordings of events and makes frames of them; others read images.
        as_is: its images are taken as they are: they are never resized, and floats stay floats.
        picture: reads a file as the pictures of these data sets are read, in the shape of a network's input; None: the
            data aren't files of pictures.
        sensor: height and width of the camera (pixels), where all of these recordings come from the same.
    """

    read: Callable[[str, Wanted], Raw]
    recordings: bool = False
    sensor: tuple[int, int] | None = None
    as_is: bool = False
    picture: "Callable[[str, Shape], Picture] | None" = None
