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
from csnn_jax.files import (
    Scratch,
    append_line,
    remove_folder,
    rename,
    replace_folder,
    write_atomic,
    write_folder,
    write_new,
)


@pytest.mark.parametrize(
    ("write", "mode", "versions"),
    [
        (write_atomic, 0o644, (b"old", b"new and longer")),
        (write_folder, 0o755, ({"a": b"1", "b": b"2"}, {"c": b"3"})),
    ],
)
def test_files_and_folders_are_written_and_replaced_readable_by_all(write, mode, versions, tmp_path):
    path = tmp_path / "weights"
    for data in versions:
        write(path, data)
        expected = {"weights": data} if isinstance(data, bytes) else {f"weights/{name}": data[name] for name in data}
        assert files(tmp_path) == expected and [entry.name for entry in tmp_path.iterdir()] == ["weights"]
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("write", "old", "new", "named"),
    [
        (write_atomic, b"old", bytes(2000), "weights"),
        (write_folder, {"a": b"old"}, {"a": b"fits", "b": bytes(2000)}, "weights/b"),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_the_old_and_nothing_temporary(write, old, new, named, exists, tmp_path):
    if exists:
        write(tmp_path / "weights", old)
    with largest_file(1000), refusing(UserError, tmp_path / named, os.strerror(errno.EFBIG), unchanged=tmp_path):
        write(tmp_path / "weights", new)


@pytest.mark.parametrize("room", [0, 3])
def test_a_line_that_does_not_fit_is_removed(tmp_path, room):
    path = tmp_path / "log"
    append_line(path, "the first line")
    before = path.read_bytes()
    with largest_file(len(before) + room), refusing(UserError, path, unchanged=tmp_path):
        append_line(path, "the second line")
    append_line(path, "more")
    assert path.read_bytes() == before + b"more\n" and path.stat().st_mode & 0o777 == 0o644
    with largest_file(room), refusing(UserError, tmp_path / "new", unchanged=tmp_path):
        append_line(tmp_path / "new", "the first line")


def test_files_are_on_disk_before_they_get_their_names(tmp_path, monkeypatch):
    """After a power failure, a renamed file would otherwise be empty. Folders that are opened for that are closed."""
    flushed, flush, opened = [], os.fsync, len(os.listdir("/proc/self/fd"))

    def record(descriptor: int) -> None:
        flushed.append((flush(descriptor), os.fstat(descriptor), (tmp_path / "new").exists()))

    monkeypatch.setattr(os, "fsync", record)
    write_folder(tmp_path / "new", {"a": b"12345"})
    places = (tmp_path / "new" / "a", tmp_path / "new", tmp_path)
    assert [status.st_ino for _, status, _ in flushed] == [path.stat().st_ino for path in places]
    assert [there for *_, there in flushed] == [False, False, True] and flushed[0][1].st_size == 5
    assert len(os.listdir("/proc/self/fd")) == opened


@pytest.mark.parametrize(("act", "name"), [(replace_folder, "old"), (rename, "new")])
def test_a_folder_that_cannot_be_renamed_leaves_the_old(act, name, tmp_path):
    write_folder(tmp_path / "old", {"a": b"1"})
    with refusing(FileNotFoundError, unchanged=tmp_path):
        act(tmp_path / "missing", tmp_path / name)


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
            assert folder.stat().st_mode & 0o777 == 0o700
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
