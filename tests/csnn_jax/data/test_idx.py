import gzip
import shutil
from functools import partial
from importlib.resources import files

import numpy as np
import pytest
from idx_files import IMAGES, idx, write_folder
from refusals import refusing

from csnn_jax.data.idx import MNIST_SHA256, read_folder, read_idx, read_mnist
from csnn_jax.errors import UserError

COMPRESS = partial(gzip.compress, mtime=0)  # the same bytes, so the same name of a test, in every worker
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
    with refusing(UserError, name, MNIST_SHA256[name], "SHA-256"):
        read_mnist(tmp_path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (2, 3, 4, 3)])
def test_idx_reads_any_name_packed_or_not(tmp_path, pack, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    file = tmp_path / "anything"
    file.write_bytes(pack(idx(array)))
    np.testing.assert_array_equal(read_idx(file), array)


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (b"\x89PNG\r\n", ("0x89504e47", "0x00000801")),
        *((pack(idx(IMAGES)[:-1]), ("truncated", 23, 24)) for pack in (bytes, COMPRESS)),
        (COMPRESS(idx(IMAGES) + b"1"), ("trailing", 24)),
        (b"\0\0\x08", ("0x000008",)),
        (b"\0\0\x08\1", ("truncated", 4, 8)),
    ],
)
def test_bad_idx_is_refused_in_one_line(tmp_path, data, facts):
    file = tmp_path / "some-file"
    file.write_bytes(data)
    with refusing(UserError, file, *facts):
        read_idx(file)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("name", ["{}-idx{}-ubyte", "{}.idx{}-ubyte", "{}-idx{}-ubyte.gz", "{}.idx{}-ubyte.gz"])
def test_folder_in_every_spelling(tmp_path, name, pack):
    raw = read_folder(write_folder(tmp_path, name=name, pack=pack))
    (train_images, train_labels), (test_images, test_labels) = raw.train, raw.test
    np.testing.assert_array_equal(train_images, IMAGES[..., None])
    np.testing.assert_array_equal(test_images, IMAGES[..., None])
    assert train_labels.tolist() == [0, 1] and test_labels.tolist() == [1, 0]


def test_empty_folder_and_empty_set(tmp_path):
    with refusing(UserError, "nowhere", "no such folder"):
        read_folder(tmp_path / "nowhere")
    with refusing(UserError, "train-images-idx3-ubyte", "[.gz]"):
        read_folder(tmp_path)
    for name, array in (("train-images-idx3-ubyte", np.zeros(2, np.uint8)), ("train-labels-idx1-ubyte", IMAGES)):
        (write_folder(tmp_path) / name).write_bytes(idx(array))
        with refusing(UserError, name, "0x00000801", "0x00000803"):
            read_folder(tmp_path)
    write_folder(tmp_path, train=(IMAGES[:0], []))
    with refusing(UserError, "train-images-idx3-ubyte", "(0, 3, 4)"):
        read_folder(tmp_path)
