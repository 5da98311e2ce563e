import gzip
import shutil
import struct
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from idx_files import IMAGES, idx, write_folder

from csnn_jax.data.idx import MNIST_SHA256, read_folder, read_idx, read_mnist
from csnn_jax.errors import UserError

uses_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_mnist_is_mnist():
    raw = read_mnist()
    (train_images, train_labels), (test_images, test_labels) = raw.train, raw.test
    assert train_images.shape == (60_000, 28, 28, 1) and test_images.shape == (10_000, 28, 28, 1)
    assert np.bincount(train_labels).tolist() == TRAIN_COUNTS
    assert np.bincount(test_labels).tolist() == TEST_COUNTS
    assert train_labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert test_labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert train_images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train_images.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    assert train_images.flags.writeable, "torch.from_numpy warns about read-only arrays"


@pytest.mark.parametrize("name", MNIST_SHA256)
def test_one_flipped_bit_of_mnist_is_refused(tmp_path, name):
    shutil.copytree(str(files("csnn_jax.data") / "mnist"), tmp_path, dirs_exist_ok=True)
    data = bytearray((tmp_path / name).read_bytes())
    data[4] ^= 1  # gzip's time stamp: the images would still unpack
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=rf"{name}: SHA-256 \w{{64}}, expected {MNIST_SHA256[name]}"):
        read_mnist(tmp_path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (2, 3, 4, 3)])
def test_idx_reads_any_name_packed_or_not(tmp_path, pack, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    file = tmp_path / "anything"
    file.write_bytes(pack(idx(array)))
    np.testing.assert_array_equal(read_idx(file), array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n", "magic 0x89504e47, expected 0x00000801"),
        (struct.pack(">I", 0x0D03) + bytes(12), "magic 0x00000d03"),
        (idx(IMAGES)[:10], "truncated, 10 bytes, expected a header of 16"),
        (idx(IMAGES)[:-1], r"truncated, 23 bytes of data, expected 24 for shape \(2, 3, 4\)"),
        (idx(IMAGES) + b"\0", "trailing bytes, 25 bytes of data, expected 24"),
        (struct.pack(">I3I", 0x0803, *[2**32 - 1] * 3), "truncated, 0 bytes of data, expected 79228"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-9], "corrupt gzip"),
    ],
)
def test_bad_idx_is_refused_in_one_line(tmp_path, data, message):
    file = tmp_path / "some-file"
    file.write_bytes(data)
    with pytest.raises(UserError, match=f"^{file}: {message}.*$"):
        read_idx(file)


@uses_folder
@given(data=st.data(), packed=st.booleans())
def test_truncated_idx_is_refused(tmp_path, data, packed):
    whole = gzip.compress(idx(IMAGES), mtime=0) if packed else idx(IMAGES)
    file = tmp_path / "file"
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(UserError, match=str(file)):
        read_idx(file)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("name", ["{}-idx{}-ubyte", "{}.idx{}-ubyte", "{}-idx{}-ubyte.gz", "{}.idx{}-ubyte.gz"])
def test_folder_in_every_spelling(tmp_path, name, pack):
    raw = read_folder(write_folder(tmp_path, name=name, pack=pack))
    (train_images, train_labels), (test_images, test_labels) = raw.train, raw.test
    np.testing.assert_array_equal(train_images, IMAGES[..., None])
    np.testing.assert_array_equal(test_images, IMAGES[..., None])
    assert train_labels.tolist() == [0, 1] and test_labels.tolist() == [1, 0]


def test_folder_of_unequal_counts_names_both_files(tmp_path):
    write_folder(tmp_path, test=(IMAGES, [1, 0, 1]))
    with pytest.raises(UserError, match=r"images-idx3-ubyte has 2 images but .*labels-idx1-ubyte has 3 labels"):
        read_folder(tmp_path)


def test_empty_folder_and_empty_set(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has no train-images-idx3-ubyte\[.gz\]"):
        read_folder(tmp_path)
    write_folder(tmp_path, train=(IMAGES[:0], []))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte: shape \(0, 3, 4\), expected at least one image"):
        read_folder(tmp_path)
