"""A cache removes what it made, and nothing else, whatever lies where it is to be kept."""

import shutil

import pytest
from disk import files

from csnn_jax.data.events.shelf import MARK, Shelf, Unkept, is_set

SET, LARGER = [b"x" * 400], [b"x" * 1400]
ROOM = 2000
"""Bytes for two of them with what belongs to them."""


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    """One that is full: the next set takes the place of `first`."""
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
    """Elsewhere, with the name and the mark that it would have here."""
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
def test_nothing_is_removed_where_something_else_lies(shelf, tmp_path, other):
    other(shelf)
    before = files(tmp_path)
    with pytest.raises(Unkept, match=r"sets is full, but nothing is removed next to \w+, which isn't part of"):
        shelf.put("third", LARGER)
    (shelf.sets / "second" / "records").write_bytes(b"cut short")
    with pytest.raises(Unkept, match="second is damaged, but nothing is removed next to "):
        shelf.find("second")
    assert files(tmp_path) == before | {"cache/sets/second/records": b"cut short"}


@pytest.mark.parametrize("other", [folder, file, link_to_a_set, marked_folder])
def test_what_has_the_name_of_a_set_stays(shelf, tmp_path, other):
    other(shelf)
    before = files(tmp_path)
    assert shelf.find("mine") is None
    with pytest.raises(Unkept, match="mine already exists and isn't a set of this cache"):
        shelf.put("mine", SET)
    assert files(tmp_path) == before


def test_a_link_inside_of_a_set_is_removed_and_not_followed(shelf, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("years of work")
    (shelf.sets / "first" / "records").unlink()
    (shelf.sets / "first" / "records").symlink_to(outside)
    assert is_set(shelf.sets / "first")
    shelf.put("third", LARGER)
    assert outside.read_text() == "years of work" and not (shelf.sets / "first").exists()
