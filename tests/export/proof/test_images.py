"""Files are checked on the batches with which csnn_jax evaluates, and on torch's results for them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from export_networks import OTHER, firing

from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.runs.metrics import BATCH
from export.network import Network
from export.proof.equality import PIECE, CheckImages


def drawn(count: int, compared: int, **changes) -> CheckImages:
    images = np.random.default_rng(0).integers(0, 256, (count, *OTHER.input_shape), np.uint8)
    network = Network(Config(replace(OTHER, **changes)), firing(OTHER).tensors)
    return CheckImages(network, Split(images, np.arange(count) % OTHER.num_classes), compared)


def test_every_image_is_in_one_batch_and_the_first_ones_are_compared():
    made = drawn(BATCH + 3, BATCH + 1)
    xs, labels = zip(*made.batches(), strict=True)
    expected = torch.from_numpy(made.test.images).moveaxis(-1, -3) / OTHER.entering.scale
    assert torch.equal(torch.cat(xs), expected) and np.array_equal(np.concatenate(labels), made.test.labels)
    first, again = [*made.compared], [*made.compared]
    assert torch.equal(torch.cat([one.x for one in first]), expected[: BATCH + 1])
    assert all(a is b for a, b in zip(first, again, strict=True)), "torch's windows are run once"
    assert torch.equal(made.few(2), expected[:2])


def test_encoded_images_are_sequences_and_the_first_do_not_depend_on_how_many_are_compared():
    made = drawn(7, 5, encoding="rate")
    few, ((whole, _),) = next(made.compared).x, [*made.batches()]
    assert few.shape == (OTHER.time_steps, 5, 2, 12, 10) and torch.equal(few, whole[:, :5])


def test_accuracy_takes_the_lowest_class_on_ties():
    scores = np.array([[0, 2, 2, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], np.float32)  # of classes 0, 1, 2
    made = drawn(BATCH + 3, 1)
    answers = np.resize([1, 0, 0], BATCH + 3)
    starts = iter(range(0, BATCH + 3, PIECE))

    def program(x):
        return np.resize(scores, (BATCH + 3, 6))[next(starts) :][: len(x)]

    assert made.accuracy(program) == pytest.approx((answers == made.test.labels).mean())
