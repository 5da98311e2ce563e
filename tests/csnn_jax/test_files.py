"""Writing files: completely or not at all, even if the disk is full."""

import errno
import os
import shutil
import signal
import tempfile

import pytest
from disk import files, largest_file
from refusals import refusing
from signals import interrupted_everywhere, lost_files

from csnn_jax.errors import UserError
from csnn_jax.files import Scratch, append_line, remove_folder, write_atomic, write_folder, write_new


def test_files_are_written_and_replaced_readable_by_all(tmp_path):
    path = tmp_path / "weights"
    for data in (b"old", b"new and longer"):
        write_atomic(path, data)
        assert files(tmp_path) == {"weights": data}
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("old", [{}, {"weights": b"old"}], ids=["new file", "file there"])
def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path, old):
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)
    with largest_file(1000), refusing(UserError, tmp_path / "weights", os.strerror(errno.EFBIG), unchanged=tmp_path):
        write_atomic(tmp_path / "weights", bytes(2000))


@pytest.mark.parametrize("room", [0, 3])
def test_a_line_that_does_not_fit_is_removed(tmp_path, room):
    path = tmp_path / "log"
    append_line(path, "the first line")
    before = path.read_bytes()
    with largest_file(len(before) + room), refusing(UserError, path, unchanged=tmp_path):
        append_line(path, "the second line")
    append_line(path, "more")
    assert path.read_bytes() == before + b"more\n"


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_new_file_is_never_written_over_another(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "weights"
    write_new(path, b"first")
    with pytest.raises(FileExistsError):
        write_new(path, b"second")
    assert files(tmp_path) == {"weights": b"first"}


def test_a_folder_is_written_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder"
    for expected in ({"a": b"1", "b": b"2"}, {"c": b"3"}):
        write_folder(path, expected)
        assert files(path) == expected and [p.name for p in path.parent.iterdir()] == ["folder"]
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("old", [None, {"a": b"old"}], ids=["new folder", "folder there"])
def test_a_full_disk_leaves_the_old_folder_and_no_temporary_one(old, tmp_path):
    path = tmp_path / "folder"
    if old is not None:
        write_folder(path, old)
    with largest_file(1000), refusing(UserError, path / "b", os.strerror(errno.EFBIG), unchanged=tmp_path):
        write_folder(path, {"a": b"fits", "b": bytes(2000)})


@lost_files
@pytest.mark.parametrize(
    "act, calls",
    [
        (lambda folder: write_atomic(folder / "file", b"new"), ["open", "replace"]),
        (lambda folder: write_new(folder / "other", b"new"), ["open", "link", "unlink"]),
        (lambda folder: write_folder(folder / "folder", {"b": b"new"}), ["mkdir", "open", "rename", "rename"]),
        (lambda folder: write_folder(folder / "another", {"b": b"new"}), ["mkdir", "open", "rename"]),
        (lambda folder: remove_folder(folder / "folder"), ["rename", "unlink", "rmdir"]),
    ],
    ids=["file", "new file", "folder over another", "folder", "removal"],
)
def test_a_signal_at_any_call_leaves_the_old_or_the_new_and_nothing_else(act, calls, tmp_path):
    place = tmp_path / "place"
    old = {"file": b"old", "folder/a": b"old"}

    def prepare() -> None:
        shutil.rmtree(place, ignore_errors=True)
        (place / "folder").mkdir(parents=True)
        for name, data in old.items():
            (place / name).write_bytes(data)

    prepare()
    act(place)
    new = files(place)
    met = []
    for call in interrupted_everywhere(signal.SIGTERM, prepare, lambda: act(place)):
        met.append(call)
        assert files(place) in (old, new)
        assert not [path for path in place.iterdir() if path.is_dir() and not any(path.iterdir())]
    wanted = iter(met)
    assert all(call in wanted for call in calls), met


@lost_files
def test_a_signal_leaves_no_scratch_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def act() -> None:
        with Scratch() as folder:
            (folder / "file").write_text("")
            (folder / "folder").mkdir()
            tempfile.mkdtemp()  # like a library that is interrupted before it knows the path

    for _ in interrupted_everywhere(signal.SIGTERM, lambda: None, act):
        assert list(tmp_path.iterdir()) == [] and tempfile.tempdir == str(tmp_path)


def test_nothing_is_appended_through_a_link_or_to_a_pipe(tmp_path):
    """A run from someone else must not determine where something is written."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with refusing(UserError, tmp_path / name):
            append_line(tmp_path / name, "more")
    assert (tmp_path / "secret").read_text() == "secret"
