"""The batches of a job, and the thread that makes them: its order, its limit and its end."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest
from refusals import refusing

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.training import plan
from csnn_jax.training.feed import AHEAD, Feed

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
AUGMENT = (2.0, 30.0, 0.2)


LABELS = np.arange(40, dtype=np.int32) % 10


def config(augment=AUGMENT, encoding="direct") -> Config:
    model = ModelConfig(input_shape=(8, 8, 1), conv_channels=(4,), time_steps=6, encoding=encoding)
    return Config(model, DataConfig(augment=augment), TrainConfig(batch_size=4, epochs=3, seed=5))


def feed(images=IMAGES, settings=None, **more) -> Feed:
    return Feed(settings or config(), data.Split(images, LABELS), **more)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("feed")]


class Watched(data.MadeImages):
    """Images that record the batches taken in `taken`, and fail after `last` batches."""

    dtype, ndim, shape, highest = IMAGES.dtype, 4, IMAGES.shape, 255

    def __init__(self, last: int = 10**6):
        self.taken, self.last = [], last

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        if len(self.taken) == self.last:
            raise MemoryError("no more")
        self.taken.append(index)
        return IMAGES[index]

    def digest(self):
        return b""


@pytest.mark.parametrize("encoding", ["direct", "rate"])
@pytest.mark.parametrize("augment", [None, AUGMENT])
@pytest.mark.parametrize("begin", [0, 13, 29])
def test_batches_come_in_order_augmented_and_encoded(begin, augment, encoding):
    settings = config(augment, encoding)
    augmentation = data.Augmentation.of(settings, IMAGES)
    planned = list(plan.batches(settings.train, 40))
    made = list(feed(settings=settings).batches(begin))
    assert [batch.iteration for batch in made] == list(range(begin, 30))
    for iteration, images, labels in made:
        index = planned[iteration][1]
        pixels = IMAGES[index] if augmentation is None else augmentation.batch(iteration, index)
        np.testing.assert_array_equal(images, data.as_input(pixels, settings.model, (5, 0, iteration)))
        np.testing.assert_array_equal(labels, LABELS[index])
    assert not threads()


@pytest.mark.parametrize("encoding", ["direct", "rate"])
def test_a_process_gets_its_rows_of_the_whole_batch(encoding):
    settings, index = config(encoding=encoding), np.array([3, 9, 4, 1])
    whole = feed(settings=settings).batch(2, index)
    part = feed(settings=settings, rows=lambda size: slice(size // 2, size)).batch(2, index)
    axis = whole.images.ndim - 4
    np.testing.assert_array_equal(part.images, whole.images.swapaxes(0, axis)[2:].swapaxes(0, axis))
    np.testing.assert_array_equal(part.labels, LABELS[index[2:]])


def test_it_works_ahead_by_a_limited_number_of_batches():
    images = Watched()
    with closing(feed(images).batches()) as batches:
        for learnt in range(1, 6):
            next(batches)
            deadline = time.monotonic() + 30
            while len(images.taken) < learnt + AHEAD and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.05)
            assert len(images.taken) == learnt + AHEAD and threads() == ["feed_0"]
    assert not threads() and len(images.taken) == 5 + AHEAD


def test_an_error_in_the_thread_is_raised_at_its_iteration():
    done = []
    with refusing(MemoryError, "no more"), closing(feed(Watched(7)).batches()) as batches:
        for batch in batches:
            done.append(batch.iteration)
    assert done == list(range(7)) and not threads()
