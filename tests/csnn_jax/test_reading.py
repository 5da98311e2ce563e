"""Only regular files of a limited size are opened, and never through links inside a folder from someone else."""

import os
import socket

import pytest

from csnn_jax import reading
from csnn_jax.errors import UserError


def refused(path, most=100, inside=None) -> str:
    with pytest.raises(UserError) as error:
        reading.read(path, "a list", most, inside)
    said = str(error.value)
    assert said.startswith(f"{path}: ") and "expected a list" in said and said.isprintable()
    return said


def test_a_regular_file_and_a_link_to_one_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        assert reading.read(tmp_path / name, "a list", 3) == b"abc"
        with reading.opened(str(tmp_path / name), "a list") as file:
            assert file.read() == b"abc"
    assert reading.read("/proc/self/stat", "a list", 100), "its size is stated as 0"


def test_other_kinds_of_files_are_refused_without_waiting(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "is a named pipe" in refused(tmp_path / "pipe")
    assert "is a device" in refused(tmp_path / "zero")
    assert "is a directory" in refused(tmp_path)
    for name in ("socket", "loop", "n" * 300):
        assert "can't be read (" in refused(tmp_path / name)
    assert "no such file" in refused(tmp_path / "absent")
    with pytest.raises(UserError, match="null byte"):
        reading.read("a\0b", "a list")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 2**40)
    assert "has 1,099,511,627,776 bytes" in refused(path)
    assert "has 1,099,511,627,776 bytes" in refused(path, None), "the limit is the memory"
    os.truncate(path, 100)
    reading.check(path, "a list", 100)


def test_links_inside_a_folder_are_refused_but_not_in_its_own_path(tmp_path):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "real" / "inner" / "file").write_bytes(b"abc")
    bundle = tmp_path / "bundle"
    bundle.symlink_to(tmp_path / "real")
    assert reading.read(bundle / "inner" / "file", "a list", inside=bundle) == b"abc"
    (bundle / "link").symlink_to("inner/file")
    (bundle / "folder").symlink_to("inner")
    assert "is a link" in refused(bundle / "link", inside=bundle)
    assert "is a link" in refused(bundle / "folder" / "file", inside=bundle)
    assert "no such file" in refused(bundle / "inner" / "other", inside=bundle)
