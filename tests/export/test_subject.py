"""What a bundle is checked against: batches as csnn_jax evaluates them, T as the data have it."""

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from export_networks import OTHER, case

from csnn_jax.config import Config
from csnn_jax.data import Split
from csnn_jax.runs.metrics import BATCH
from export.subject import Subject, accuracy


def subject(images: np.ndarray, compared: int, **changes) -> Subject:
    config = Config(replace(OTHER, **changes))
    labels = np.arange(len(images)) % OTHER.num_classes
    return Subject(Path("nowhere"), config, case("other").tensors, Split(images, labels), compared, images)


def test_every_image_is_in_one_batch_and_the_compared_ones_are_the_first():
    images = np.random.default_rng(0).integers(0, 256, (BATCH + 3, *OTHER.input_shape), np.uint8)
    made = subject(images, BATCH + 1)
    xs, labels = zip(*made.batches(), strict=True)
    expected = torch.from_numpy(images).moveaxis(-1, -3) / OTHER.input_scale
    assert torch.equal(torch.cat(xs), expected) and np.array_equal(np.concatenate(labels), made.split.labels)
    assert torch.equal(torch.cat([one.x for one in made.compared]), expected[: BATCH + 1])
    assert torch.equal(made.few(2), expected[:2])
    assert not made.frames and not made.sequence


def test_encoded_images_are_sequences_whose_first_ones_do_not_depend_on_how_many_are_compared():
    images = np.random.default_rng(0).integers(0, 256, (7, *OTHER.input_shape), np.uint8)
    made = subject(images, 5, encoding="rate")
    (few, _), ((whole, _),) = next(made.compared)[1:], [*made.batches()]
    assert few.shape == (OTHER.time_steps, 5, 2, 12, 10) and torch.equal(few, whole[:, :5])
    assert made.sequence and not made.frames


def test_accuracy_takes_the_lowest_class_on_ties():
    spikes = np.array([[0, 2, 2], [1, 0, 0], [0, 0, 0]], np.float32)
    batches = [(torch.zeros(3, 1), np.array([1, 0, 2])), (torch.zeros(3, 1), np.array([2, 0, 0]))]
    assert accuracy(lambda x: spikes, batches) == pytest.approx(4 / 6)


def test_what_is_made_once_is_kept_and_torchs_windows_are():
    images = np.random.default_rng(0).integers(0, 256, (3, *OTHER.input_shape), np.uint8)
    made, calls = subject(images, 3), []
    assert [made.once("a", lambda: calls.append(1)) for _ in range(2)] == [None, None] and calls == [1]
    first, again = [*made.compared], [*made.compared]
    assert all(a is b for a, b in zip(first, again, strict=True))
    folder = made.workshop
    assert folder.is_dir() and made.workshop == folder
    del made
    gc.collect()
    assert not folder.exists()
