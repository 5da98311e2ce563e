import numpy as np
import pytest
import torch

from csnn_jax.config import ModelConfig
from csnn_jax.data import Split, as_split, check_alike, check_counts, class_names
from csnn_jax.errors import UserError

IMAGES = np.random.default_rng(0).integers(2, 256, (6, 4, 5, 1), np.uint8)
LABELS = np.arange(6) % 3


@pytest.mark.parametrize("labels", [LABELS, LABELS.tolist(), torch.tensor(LABELS), LABELS.astype(np.uint8)])
def test_pairs_and_splits_are_splits(labels):
    for given in ((IMAGES, labels), [IMAGES.tolist(), labels], Split(torch.tensor(IMAGES), labels)):
        found = as_split(given, "train")
        np.testing.assert_array_equal(found.images, IMAGES)
        assert (found.images.dtype, found.labels.dtype) == (np.uint8, np.int32)
        assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, r"train is of type NoneType, expected \(images, labels\) or a Split"),
        ((IMAGES, LABELS, 1), "train is 3 parts, expected"),
        ((IMAGES[..., 0], LABELS), r"train images are \[6, 4, 5\], expected .* a channel axis is missing"),
        (Split(IMAGES[:0], np.arange(0)), r"train images are \[0, 4, 5, 1\], expected"),
        ((IMAGES, LABELS[:5]), "train 5 labels for 6 images"),
        ((IMAGES, LABELS / 2), "train labels are float64"),
        ((IMAGES, ["a"] * 6), "train labels are of type list of <U1, expected an array of numbers"),
        ((IMAGES, LABELS + 2**32), "train labels go from 4294967296 to 4294967298, expected classes"),
    ],
)
def test_invalid_splits_are_refused(given, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        as_split(given, "train")


def test_an_expected_shape():
    assert as_split((IMAGES, LABELS), "test", (4, 5, 1)).images is IMAGES
    with pytest.raises(ValueError, match=r"test images are \[6, 4, 5, 1\], expected \[N, 4, 4, 1\] .*, as I say"):
        as_split(Split(IMAGES, LABELS), "test", (4, 4, 1), ", as I say")


def test_classes_are_counted_or_named():
    assert class_names(LABELS) == ("0", "1", "2")
    assert class_names(LABELS, 4) == class_names(LABELS, np.int64(4)) == ("0", "1", "2", "3")
    assert class_names(LABELS, ["cat", "dog", "owl"]) == class_names(LABELS, np.array(["cat", "dog", "owl"]))


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ([0, 100000, 200000], None, "train labels are 0, 100000, 200000, expected every class from 0 to 2"),
        ([0, 1, 2, 4, 5], None, "train labels are 0, 1, 2, ..., expected every class from 0 to 4"),
        ([0, 0], None, "train labels are all 0, expected two classes or more"),
        ([0, 1], 1, "classes is 1, expected an integer from 2 to 65,536, or 2 to 65,536 different names"),
        ([0, 1], "ab", "classes is 'ab', expected"),
        ([0, 1], ["a", "a"], "classes is .*, expected"),
    ],
)
def test_invalid_classes(labels, classes, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        class_names(np.array(labels), classes)


BINARY, FRAMES = IMAGES % 2, np.tile(IMAGES[:, None] % 5, (1, 3, 1, 1, 1))


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (BINARY, BINARY / 1.0, "train images are bytes, test images are floats; expected the same kind"),
        (BINARY, IMAGES, "train images are bytes up to 1, test images are bytes up to 2"),
        (IMAGES, BINARY, "train images are bytes up to 2.., test images are bytes up to 1;"),
        (FRAMES, FRAMES[:, :2], "train images are bytes, in 3 frames, test images are bytes, in 2 frames"),
    ],
)
def test_images_of_another_kind_are_refused(train, test, said):
    with pytest.raises(ValueError, match=said):
        check_alike(Split(train, LABELS), Split(test, LABELS))


def test_images_of_one_kind():
    for images in (IMAGES, BINARY, FRAMES, IMAGES / 255, FRAMES / 1.0):
        check_alike(Split(images, LABELS), Split(images[:2], LABELS[:2]))
    check_alike(Split(BINARY, LABELS), Split(IMAGES, LABELS), scale=256.0)


def test_frames_that_go_beyond_counts_need_a_scale():
    frames, model = np.tile(IMAGES[:, None], (1, 3, 1, 1, 1)), ModelConfig(conv_channels=())
    frames.flat[0] = 255
    with pytest.raises(UserError, match=r"^scale: frames of whole numbers are event counts, but these go up to 255"):
        check_counts(frames, model)
    check_counts(frames // 16, model)
    check_counts(frames, ModelConfig(conv_channels=(), scale=256.0))
    check_counts(frames / np.float32(255), model)
    check_counts(IMAGES, model)
