import numpy as np
import pytest
import torch
from refusals import refusing

from csnn_jax.config import ModelConfig
from csnn_jax.data import Split, as_parts, as_split, check_counts
from csnn_jax.data.split import check_alike, class_names
from csnn_jax.errors import UserError

IMAGES = np.random.default_rng(0).integers(2, 256, (6, 4, 5, 1), np.uint8)
LABELS = np.arange(6) % 3


@pytest.mark.parametrize("labels", [LABELS, LABELS.tolist(), torch.tensor(LABELS), LABELS.astype(np.uint8)])
def test_pairs_and_splits_are_splits(labels):
    for given in ((IMAGES, labels), [IMAGES.tolist(), labels], Split(torch.tensor(IMAGES), labels)):
        split = as_split(given, "train")
        np.testing.assert_array_equal(split.images, IMAGES)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int32)
        assert split.labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        (None, ("train", "NoneType")),
        ((IMAGES, LABELS, 1), ("train", "3 parts")),
        ((IMAGES[..., 0], LABELS), ("[6, 4, 5]",)),
        (Split(IMAGES[:0], np.arange(0)), ("[0, 4, 5, 1]",)),
        ((IMAGES, LABELS[:5]), ("5 labels", "6 images")),
        ((IMAGES, LABELS / 2), ("float64",)),
        ((IMAGES, ["a"] * 6), ("<U1",)),
        ((IMAGES, LABELS + 2**32), ("4294967296", "4294967298")),
    ],
)
def test_invalid_splits_are_refused(given, facts):
    with refusing(ValueError, *facts):
        as_split(given, "train")


def test_an_expected_shape():
    assert as_split((IMAGES, LABELS), "test", (4, 5, 1)).images is IMAGES
    with refusing(ValueError, "[6, 4, 5, 1]", "[N, 4, 4, 1]"):
        as_split(Split(IMAGES, LABELS), "test", (4, 4, 1), ", as I say")


def test_classes_are_counted_or_named():
    assert class_names(LABELS) == ("0", "1", "2")
    assert class_names(LABELS, 2) == ("0", "1") and len(class_names(LABELS, 2**16)) == 2**16
    assert class_names(LABELS, 4) == class_names(LABELS, np.int64(4)) == ("0", "1", "2", "3")
    assert class_names(LABELS, ["cat", "dog", "owl"]) == class_names(LABELS, np.array(["cat", "dog", "owl"]))


@pytest.mark.parametrize(
    ("labels", "classes", "facts"),
    [
        ([0, 100000, 200000], None, (0, 100000, 200000, 2)),
        ([0, 1, 2, 4, 5], None, (0, 1, 2, 4)),
        ([0, 0], None, ("all 0",)),
        ([0, 1], 1, (1, 2, "65,536")),
        ([0, 1], "ab", ("'ab'",)),
        *(([0, 1], classes, ("classes",)) for classes in (["a", "a"], ["a"], [0, 1], True, 2**16 + 1)),
    ],
)
def test_invalid_classes(labels, classes, facts):
    with refusing(ValueError, *facts):
        class_names(np.array(labels), classes)


BINARY, FRAMES = IMAGES % 2, np.tile(IMAGES[:, None] % 5, (1, 3, 1, 1, 1))


@pytest.mark.parametrize(
    ("train", "test", "facts"),
    [
        (BINARY, BINARY / 1.0, ("bytes", "floats")),
        (BINARY, IMAGES, ("up to 1", "up to 248")),
        (IMAGES, BINARY, ("up to 248", "up to 1")),
        (FRAMES, FRAMES[:, :2], ("3 frames", "2 frames")),
    ],
)
def test_images_of_another_kind_are_refused(train, test, facts):
    with refusing(ValueError, *facts):
        check_alike(Split(train, LABELS), Split(test, LABELS))


def test_floats_of_counts_need_their_scale():
    counts = {"train": (IMAGES / 1.0, LABELS), "test": (IMAGES / 1.0, LABELS)}
    assert as_parts(counts, None, scale=1.0)[0].images.max() == IMAGES.max()
    with refusing(ValueError, "train images", int(IMAGES.max()), "floats from 0 to 1"):
        as_parts(counts, None)


def test_images_of_one_kind():
    for images in (IMAGES, BINARY, FRAMES, IMAGES / 255, FRAMES / 1.0):
        check_alike(Split(images, LABELS), Split(images[:2], LABELS[:2]))
    check_alike(Split(BINARY, LABELS), Split(IMAGES, LABELS), scale=256.0)


def test_frames_that_go_beyond_counts_need_a_scale():
    frames, model = np.tile(IMAGES[:, None], (1, 3, 1, 1, 1)), ModelConfig(conv_channels=())
    frames.flat[0] = 255
    with refusing(UserError, "scale", 255):
        check_counts(frames, model)
    check_counts(frames // 16, model)
    check_counts(frames, ModelConfig(conv_channels=(), scale=256.0))
    check_counts(frames / np.float32(255), model)
    check_counts(IMAGES, model)
