"""NumPy archives: what `np.savez` writes comes back, anything else is one error; and as data sets."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from refusals import refused, refusing

from csnn_jax.config import Config, DataConfig, ModelConfig
from csnn_jax.data import load, load_for, load_to_train, shortened
from csnn_jax.data.npz import read_npz
from csnn_jax.errors import UserError

MOST = 1_000_000
SAVED = {
    "whole": np.arange(300),
    "bytes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "by_column": np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
    "other_end": np.arange(5, dtype=">u2"),
    "flag": np.array([True, False]),
    "single": np.array(7),
    "none": np.zeros((0, 3)),
    "names": np.array(["left", "right"]),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    save(tmp_path / "a.npz", **SAVED)
    arrays = read_npz(tmp_path / "a.npz", MOST)
    assert set(arrays) == set(SAVED)
    for name, array in SAVED.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
        assert arrays[name].flags.writeable
    assert set(read_npz(tmp_path / "a.npz", MOST, ("whole", "missing"))) == {"whole"}


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def claiming(shape: str, descr: str = "'<i8'") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n") + bytes(80)


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    "member",
    [
        b"no array",
        claiming("(1000000000000,)"),
        claiming("(" + "9" * 5000 + ",)"),
        claiming("(10,)", "__import__('os').abort()"),
        saved(np.array([{}, None])),
        saved(np.zeros(3, [("a", "<i4"), ("b", "<i4")])),
    ],
)
def test_invalid_members(tmp_path, member):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member)
    check_refusal(path, "damaged")


def test_a_single_array_is_not_an_archive(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    check_refusal(tmp_path / "a.npy", "numpy.savez")


def check_refusal(path, *facts):
    with refusing(UserError, path, *facts) as caught:
        read_npz(path, MOST)
    assert str(caught.value).isprintable()


def test_a_small_file_that_unpacks_to_a_large_one(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(1_000_000))
    assert path.stat().st_size < 20_000
    check_refusal(path, 8_000_000, 1_000_000)
    data = path.read_bytes()
    entry = data.index(b"PK\x01\x02")
    small = (1000).to_bytes(4, "little")  # the directory lies about the size
    path.write_bytes(data[: entry + 24] + small + data[entry + 28 :])
    check_refusal(path, "damaged")


def test_no_values_are_read_before_the_headers_are_checked(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(10_000), y=np.zeros((2, 3), np.uint8))
    data = bytearray(path.read_bytes())
    data[40_000] ^= 1  # a value of x
    path.write_bytes(data)
    seen = {}

    def check(headers):
        seen.update({name: (str(one.dtype), one.shape, one.nbytes) for name, one in headers.items()})
        raise ValueError("different")

    with refusing(ValueError, "different"):
        read_npz(path, MOST, check=check)
    assert seen == {"x": ("int64", (10_000,), 80_000), "y": ("uint8", (2, 3), 6)}
    check_refusal(path, "damaged", "CRC-32")


IMAGES = np.random.default_rng(0).integers(2, 256, (6, 4, 5, 1), np.uint8)
LABELS = np.arange(6) % 3
MODEL = ModelConfig(input_shape=(4, 5, 1), conv_channels=(), num_classes=3)


@pytest.fixture
def archive(tmp_path):
    def make(**arrays) -> str:
        np.savez(tmp_path / "own.npz", **({"images": IMAGES, "labels": LABELS} | arrays))
        return f"arrays:{tmp_path / 'own.npz'}"

    return make


def test_images_to_evaluate_on(archive):
    dataset = load_for(Config(MODEL), archive())
    np.testing.assert_array_equal(dataset.test.images, IMAGES)
    assert (
        dataset.test.labels.tolist() == LABELS.tolist()
        and dataset.pixels == (256, 8)
        and dataset.names == ("0", "1", "2")
    )
    assert len(dataset.train.labels) == 0 and dataset.notes == () and dataset.frames is None
    assert len(shortened(dataset, 2).test.labels) == 2


def test_images_to_train_on(archive):
    name = archive(train_images=IMAGES[:5], train_labels=LABELS[:5], classes=np.array(["a", "b", "c", "d"]))
    dataset = load_to_train(Config(data=DataConfig(name, validation=2)))
    assert dataset.validation is not None and dataset.names == ("a", "b", "c", "d")
    np.testing.assert_array_equal(dataset.train.images, IMAGES[:3])
    np.testing.assert_array_equal(dataset.validation.images, IMAGES[3:5])


def test_training_refuses_test_images_brighter_than_its_range(archive, tmp_path):
    name = archive(images=IMAGES / np.float32(256), train_images=IMAGES / np.float32(900), train_labels=LABELS)
    flags = ("--conv-channels", "--hidden", "--batch-size", 3, "--out", tmp_path / "run")
    refused("csnn_jax.train", "--dataset", name, *flags, names=(f"--dataset {name}", "test images", 0.5))


def test_training_needs_training_images(archive):
    for subset in (None, 2):
        with refusing(UserError, "own.npz", "only"):
            load_to_train(Config(data=DataConfig(archive(), subset=subset)))


def test_arrays_are_not_resized(archive):
    name = archive(train_images=IMAGES, train_labels=LABELS)
    with refusing(UserError, "input_shape 8 8 1", "4 5 1", name):
        load_to_train(Config(ModelConfig(input_shape=(8, 8, 1), conv_channels=()), DataConfig(name)))


@pytest.mark.parametrize(
    ("arrays", "facts"),
    [
        ({"x": IMAGES}, ("'x'", "train_images", "train_labels")),
        ({"train_images": IMAGES}, ("'train_labels'",)),
        ({"train_images": IMAGES / 255, "train_labels": LABELS}, ("train images", "floats", "test images", "bytes")),
        ({"classes": np.array(["a"])}, ("classes",)),
        ({"images": np.array([None] * 6)}, ("images.npy",)),
    ],
)
def test_other_arrays_are_refused(archive, arrays, facts):
    with refusing(UserError, *facts, "own.npz"):
        load(archive(**arrays), None)


@pytest.mark.parametrize("call", [load_to_train, load_for])
def test_a_run_that_was_trained_on_arrays_names_no_data(call):
    with refusing(UserError, "dataset arrays", "FILE.npz"):
        call(Config(data=DataConfig("arrays")))


@pytest.mark.parametrize(
    ("images", "scale", "facts"),
    [(IMAGES % 2, 256.0, ("0 and 1", 255)), (IMAGES, 1.0, ("bytes up to 255", "0 and 1"))],
)
def test_bits_for_a_network_of_bytes_are_refused_and_vice_versa(archive, images, scale, facts):
    with refusing(UserError, *facts, "own.npz"):
        load_for(Config(replace(MODEL, scale=scale)), archive(images=images))
