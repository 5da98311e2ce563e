"""A bundle appears completely or not at all."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from disk import largest_file
from refusals import refusing
from signals import interrupted_everywhere, lost_files

from csnn_jax.errors import UserError
from export import bundle


def fill(path: Path, text: str, overwrite: bool = False) -> None:
    def files(folder: Path) -> None:
        (folder / "manifest.json").write_text(json.dumps({"hashes": {"golden/tensor": {}}, "text": text}))
        (folder / "golden").mkdir()
        (folder / "golden" / "tensor").write_text(text)

    bundle.make(path, files, overwrite)


def text_of(path: Path) -> str:
    return json.loads((path / "manifest.json").read_text())["text"]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_a_bundle_appears_with_its_folder_and_replaces_an_older_one_only_on_request(tmp_path):
    path = tmp_path / "deep" / "bundle"
    fill(path, "old")
    assert path.stat().st_mode & 0o777 == 0o755
    with refusing(UserError, path, "overwrite", unchanged=path):
        fill(path, "new")
    fill(path, "new", overwrite=True)
    assert text_of(path) == (path / "golden" / "tensor").read_text() == "new"
    assert names(path.parent) == ["bundle"]


def test_overwrite_only_removes_bundles(tmp_path):
    fill(tmp_path / "elsewhere", "mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "pipe"):
        for overwrite in (False, True):
            with refusing(UserError, f"out {tmp_path / name}", "directory", unchanged=tmp_path):
                fill(tmp_path / name, "new", overwrite=overwrite)
    for name in ("folder", "link"):
        with refusing(UserError, tmp_path / name, "overwrite", unchanged=tmp_path):
            fill(tmp_path / name, "new", overwrite=True)
        with refusing(UserError, tmp_path / name, "another path", unchanged=tmp_path) as caught:
            fill(tmp_path / name, "new")
        assert "overwrite" not in str(caught.value).rpartition(": ")[2]
    with refusing(UserError, tmp_path / "file", "directory", unchanged=tmp_path):
        fill(tmp_path / "file" / "bundle", "new")


@pytest.mark.parametrize("text", ['{"name": "a web app"}', "[]", '{"hashes": 3}', "{", ""])
def test_a_folder_with_another_programs_manifest_is_not_a_bundle(tmp_path, text):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text(text)
    with refusing(UserError, tmp_path / "app", "isn't a bundle", unchanged=tmp_path):
        fill(tmp_path / "app", "new", overwrite=True)


def test_overwrite_refuses_a_bundle_with_other_files(tmp_path):
    fill(path := tmp_path / "bundle", "old")
    (path / "notes.txt").write_text("mine")
    with refusing(UserError, path, "'notes.txt'", unchanged=tmp_path):
        fill(path, "new", overwrite=True)
    (path / "notes.txt").rename(path / "golden" / "notes.txt")  # programs are built in folders of the bundle
    fill(path, "new", overwrite=True)
    assert text_of(path) == "new" and names(path / "golden") == ["tensor"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("no"), OSError(errno.ENOSPC, "No space left")])
def test_an_error_leaves_existing_files_unchanged(tmp_path, error):
    def files(folder: Path) -> None:
        (folder / "manifest.json").write_text("new")
        raise error

    for there in ([], ["bundle"]):
        with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else UserError):
            bundle.make(tmp_path / "bundle", files, overwrite=True)
        assert names(tmp_path) == there
        assert not there or text_of(tmp_path / "bundle") == "old"
        fill(tmp_path / "bundle", "old", overwrite=True)


def test_a_bundle_that_appears_in_the_meantime_is_kept(tmp_path):
    def files(folder: Path) -> None:
        (folder / "manifest.json").write_text("late")
        fill(tmp_path / "bundle", "early")

    with refusing(UserError, tmp_path / "bundle", "exists"):
        bundle.make(tmp_path / "bundle", files)
    assert names(tmp_path) == ["bundle"]
    assert text_of(tmp_path / "bundle") == "early"


def test_a_full_disk_is_one_line(tmp_path):
    with largest_file(1000), refusing(UserError, "out", tmp_path / "bundle", "too large", unchanged=tmp_path):
        fill(tmp_path / "bundle", "x" * 2000)


@lost_files
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("old", [False, True], ids=["new", "overwrite"])
def test_a_signal_at_any_call_leaves_a_whole_bundle_or_none(number, old, tmp_path):
    place = tmp_path / "place"

    def prepare() -> None:
        shutil.rmtree(place, ignore_errors=True)
        if old:
            fill(place / "bundle", "old")

    met = []
    for call in interrupted_everywhere(number, prepare, lambda: fill(place / "bundle", "new", overwrite=True)):
        met.append(call)
        assert [path for path in names(place) if path != "bundle"] == []
        if old or names(place):
            text = text_of(place / "bundle")
            assert text in ("old", "new") and (place / "bundle" / "golden" / "tensor").read_text() == text
    assert met.count("rename") == 1 + old and met.count("mkdir") == 2 + (not old)


LABELS = np.zeros(2, np.int32)


@pytest.mark.parametrize(
    ("arrays", "facts"),
    [
        (None, ["no such file"]),
        ({"labels": LABELS}, ["images", "labels"]),
        ({"labels": LABELS, "images": np.ones((2, 4, 5, 1))}, ["uint8", "[N, H, W, C]"]),
        ({"labels": LABELS, "images": np.ones((2, 4, 5), np.uint8)}, ["uint8", "[N, H, W, C]"]),
        ({"labels": LABELS, "images": np.ones((3, 4, 5, 1), np.uint8)}, ["2 labels", "3 images"]),
    ],
)
def test_missing_and_damaged_images_are_named_by_their_path(arrays, facts, tmp_path):
    (tmp_path / bundle.IMAGES).parent.mkdir()
    if arrays is not None:
        safetensors.numpy.save_file(arrays, tmp_path / bundle.IMAGES)
    with refusing(UserError, tmp_path / bundle.IMAGES, *facts):
        bundle.golden_images(tmp_path)
