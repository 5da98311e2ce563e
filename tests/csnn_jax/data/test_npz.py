"""NumPy archives: what `np.savez` writes comes back, and anything else is one error."""

import io
import zipfile

import numpy as np
import pytest
from refusals import refusing

from csnn_jax.data.npz import read_npz
from csnn_jax.errors import UserError

MOST = 1_000_000
ARRAYS = {
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
    save(tmp_path / "a.npz", **ARRAYS)
    found = read_npz(tmp_path / "a.npz", MOST)
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].flags.writeable
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


def test_unreadable_files(tmp_path):
    check_refusal(tmp_path, "directory")
    check_refusal(tmp_path / "missing.npz", "no such file")
    check_refusal(tmp_path / ("long" * 2000), "too long")


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
