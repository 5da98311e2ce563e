"""Only regular files of a limited size are opened, and never through links inside a folder from someone else."""

import os
import socket

from refusals import refusing

from csnn_jax import reading
from csnn_jax.errors import UserError


def refused(path, fact, most=100, inside=None) -> None:
    with refusing(UserError, path, fact, "a list"):
        reading.read(path, "a list", most, inside)


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
    refused(tmp_path / "pipe", "named pipe")
    refused(tmp_path / "zero", "device")
    refused(tmp_path, "directory")
    for name in ("socket", "loop", "n" * 300):
        refused(tmp_path / name, "read")
    refused(tmp_path / "absent", "no such file")
    with refusing(UserError, r"a\x00b", "embedded null"):
        reading.read("a\0b", "a list")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 2**40)
    refused(path, 2**40)
    refused(path, 2**40, most=None)  # the limit is the memory
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
    refused(bundle / "link", "link", inside=bundle)
    refused(bundle / "folder" / "file", "link", inside=bundle)
    refused(bundle / "inner" / "other", "no such file", inside=bundle)
