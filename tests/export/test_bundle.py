"""The bundle appears whole or not at all."""

import errno
import os
from pathlib import Path

import pytest
from disk import content, largest_file

from csnn_jax.errors import UserError
from export import bundle


def fill(path: Path, text: str, overwrite: bool = False) -> None:
    with bundle.new(path, overwrite) as folder:
        (folder / "manifest.json").write_text(text)
        (folder / "golden").mkdir()
        (folder / "golden" / "tensor").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_bundle_appears_whole_with_its_folder(tmp_path):
    with bundle.new(tmp_path / "deep" / "bundle") as folder:
        (folder / "manifest.json").write_text("{}")
        assert not (tmp_path / "deep" / "bundle").exists()
    assert content(tmp_path / "deep" / "bundle") == {"manifest.json": b"{}"}
    assert names(tmp_path / "deep") == ["bundle"]
    assert (tmp_path / "deep" / "bundle").stat().st_mode & 0o777 == 0o755


def test_an_older_bundle_is_replaced_only_if_asked(tmp_path):
    path = tmp_path / "bundle"
    fill(path, "old")
    with pytest.raises(UserError, match="exists already; expected another path, or --overwrite"):
        fill(path, "new")
    assert (path / "manifest.json").read_text() == "old"
    fill(path, "new", overwrite=True)
    assert (path / "manifest.json").read_text() == (path / "golden" / "tensor").read_text() == "new"
    assert names(tmp_path) == ["bundle"]


def test_overwrite_never_removes_what_is_no_bundle(tmp_path):
    fill(tmp_path / "elsewhere", "mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    before = names(tmp_path)
    for name in ("folder", "file", "link"):
        with pytest.raises(UserError, match=f"{name}: is no bundle, --overwrite replaces only"):
            fill(tmp_path / name, "new", overwrite=True)
        with pytest.raises(UserError, match=f"{name}: exists already; expected another path$"):
            fill(tmp_path / name, "new")
    with pytest.raises(UserError, match="file is no directory"):
        fill(tmp_path / "file" / "bundle", "new")
    assert names(tmp_path) == before
    assert (tmp_path / "elsewhere" / "manifest.json").read_text() == "mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("no"), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("old", [False, True], ids=["new", "overwrite"])
def test_an_error_leaves_what_was_there(tmp_path, error, old):
    if old:
        fill(tmp_path / "bundle", "old")
    expected = KeyboardInterrupt if error is KeyboardInterrupt else UserError
    with pytest.raises(expected), bundle.new(tmp_path / "bundle", overwrite=True) as folder:
        (folder / "manifest.json").write_text("new")
        raise error
    assert names(tmp_path) == (["bundle"] if old else [])
    if old:
        assert (tmp_path / "bundle" / "manifest.json").read_text() == "old"


def test_a_bundle_that_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(UserError, match="exists already"), bundle.new(tmp_path / "bundle") as folder:
        (folder / "manifest.json").write_text("late")
        fill(tmp_path / "bundle", "early")
    assert names(tmp_path) == ["bundle"]
    assert (tmp_path / "bundle" / "manifest.json").read_text() == "early"


def test_a_full_disk_is_one_line(tmp_path):
    with largest_file(1000), pytest.raises(UserError, match=r"--out .*bundle: can't be made: File too large"):
        fill(tmp_path / "bundle", "x" * 2000)
    assert names(tmp_path) == []
