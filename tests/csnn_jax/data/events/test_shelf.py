"""A cache removes only what it made, whatever else is in its folder."""

import shutil

import pytest
from disk import files
from refusals import refusing

from csnn_jax.data.events.shelf import MARK, Shelf, Unkept, is_set

SET, LARGER = [b"x" * 400], [b"x" * 1400]
ROOM = 2000
"""Bytes for two sets and their metadata."""


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    """A full shelf: the next set replaces `first`."""
    made = Shelf(tmp_path / "cache", ROOM, tell=id)
    made.put("first", SET)
    made.put("second", SET)
    return made


def test_the_oldest_set_makes_room(shelf):
    shelf.put("third", SET)
    assert sorted(one.name for one in shelf.sets.iterdir()) == ["second", "third"]
    assert shelf.find("first") is None and shelf.find("second")[0] == SET[0]


def folder(shelf: Shelf):
    (shelf.sets / "mine").mkdir()
    (shelf.sets / "mine" / "thesis.txt").write_text("years of work")


def file(shelf: Shelf):
    (shelf.sets / "mine").write_text("years of work")


def link_to_a_set(shelf: Shelf):
    """The set is elsewhere, but its name and mark are right."""
    Shelf(shelf.sets.parent.parent / "other", tell=id).put("mine", SET)
    (shelf.sets / "mine").symlink_to(shelf.sets.parent.parent / "other/sets/mine")


def copied_set(shelf: Shelf):
    shutil.copytree(shelf.sets / "first", shelf.sets / "mine")


def set_with_a_file(shelf: Shelf):
    (shelf.sets / "first" / "thesis.txt").write_text("years of work")


def marked_folder(shelf: Shelf):
    folder(shelf)
    (shelf.sets / "mine" / MARK).write_text("mine")


@pytest.mark.parametrize("other", [folder, file, link_to_a_set, copied_set, set_with_a_file, marked_folder])
def test_nothing_is_removed_next_to_other_files(shelf, tmp_path, other):
    other(shelf)
    before = files(tmp_path)
    with refusing(Unkept, "sets", "full"):
        shelf.put("third", LARGER)
    (shelf.sets / "second" / "records").write_bytes(b"cut short")
    with refusing(Unkept, "second", "damaged"):
        shelf.find("second")
    assert files(tmp_path) == before | {"cache/sets/second/records": b"cut short"}


@pytest.mark.parametrize("other", [folder, file, link_to_a_set, marked_folder])
def test_other_files_named_like_a_set_stay(shelf, tmp_path, other):
    other(shelf)
    before = files(tmp_path)
    assert shelf.find("mine") is None
    with refusing(Unkept, "mine"):
        shelf.put("mine", SET)
    assert files(tmp_path) == before


def test_a_link_inside_a_set_is_removed_but_not_followed(shelf, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("years of work")
    (shelf.sets / "first" / "records").unlink()
    (shelf.sets / "first" / "records").symlink_to(outside)
    assert is_set(shelf.sets / "first")
    shelf.put("third", LARGER)
    assert outside.read_text() == "years of work" and not (shelf.sets / "first").exists()
