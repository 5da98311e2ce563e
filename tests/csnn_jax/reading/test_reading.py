"""Only regular files of a limited size are opened, and never through links inside a folder from someone else."""

import os
import socket

import pytest
from refusals import refusing

from csnn_jax import reading
from csnn_jax.config import nodes
from csnn_jax.data import pictures
from csnn_jax.data.events import dvsgesture, folder
from csnn_jax.errors import UserError
from csnn_jax.machine import available_memory
from csnn_jax.runs.rundir import RunDir


def refused(path, fact, most=100, inside=None) -> None:
    opened = len(os.listdir("/proc/self/fd"))
    with refusing(UserError, path, fact, "a list"):
        reading.read(path, "a list", most, inside)
    assert len(os.listdir("/proc/self/fd")) == opened


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
    for size in (2**40, available_memory() * 3 // 4):  # the limit is half of the memory
        os.truncate(path, size)
        with refusing(UserError, path, "a list"):
            reading.check(path, "a list")
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


LIMITS = {
    "config.json": (lambda path: RunDir(path.parent).config(), 2**24),
    "network.json": (lambda path: nodes.read(str(path)), 2**20),
    "picture.png": (pictures.opened, 2**30),
    "recording.es": (folder.open_recording, 2**30),
    "nmnist.bin": (folder.read_bin, 5 * (2**24 + 10**7)),
    "gestures.aedat": (dvsgesture.index, 2**32),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_file_beyond_its_limit_is_refused(name, tmp_path):
    read, most = LIMITS[name]
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, most + 1)
    with refusing(UserError, tmp_path / name, most):
        read(tmp_path / name)
