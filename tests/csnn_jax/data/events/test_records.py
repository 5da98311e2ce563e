"""Stored records are what was made, and nothing else in their place is removed or followed."""

import os
import subprocess
import sys

import pytest
from disk import files
from refusals import refusing

from csnn_jax.data.events.cache import Records, stored
from csnn_jax.errors import UserError

MADE = [b"first", b"", b"third" * 100]


@pytest.fixture
def lines() -> list[str]:
    return []


def test_records_are_made_once_and_read_back(tmp_path, lines):
    for _ in range(2):
        records = stored(tmp_path / "a" / "set", lambda: iter(MADE), lines.append)
        assert records is not None and [records[number] for number in range(len(records))] == MADE
    size = sum(map(len, MADE)) + 16 * len(MADE)
    assert lines == [f"Data: cached in {tmp_path / 'a' / 'set'} ({size / 1e6:.1f} MB)"] * 2
    stored(tmp_path / "a" / "set", lambda: pytest.fail("made again"), lines.append)


def test_a_failure_leaves_nothing(tmp_path, lines):
    def failing():
        yield b"first"
        raise UserError("a recording is damaged")

    with refusing(UserError, "damaged", unchanged=tmp_path):
        stored(tmp_path / "set", failing, lines.append)


def test_leftovers_of_killed_processes_are_removed_and_those_of_living_ones_stay(tmp_path, lines):
    code = f"""
import os, pathlib, signal
from csnn_jax.data.events.cache import stored

def killed():
    yield b"first"
    os.kill(os.getpid(), signal.SIGKILL)

stored(pathlib.Path({str(tmp_path / "set")!r}), killed, print)"""
    subprocess.run([sys.executable, "-c", code])
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".set.") and (left / "records").exists()
    (other := tmp_path / ".set.0123abcd").mkdir()
    (other / "thesis.txt").write_text("years of work")

    def meanwhile():
        assert not left.exists() and len([*tmp_path.glob(".set.*")]) == 2
        stored(tmp_path / "set", lambda: MADE, lines.append)
        assert len([*tmp_path.glob(".set.*")]) == 2, "this process still writes one of them"
        yield from MADE

    stored(tmp_path / "set", meanwhile, lines.append)
    assert {*tmp_path.iterdir()} == {tmp_path / "set", other}


def cut(folder):
    (folder / "records").write_bytes((folder / "records").read_bytes()[:-1])


def without_index(folder):
    (folder / "index").unlink()


def odd_index(folder):
    (folder / "index").write_bytes((folder / "index").read_bytes()[:-1])


def negative(folder):
    (folder / "index").write_bytes(b"\xff" * 48)


def link_inside(folder):
    outside = folder.parent / "outside"
    outside.write_text("years of work")
    (folder / "records").unlink()
    (folder / "records").symlink_to(outside)


@pytest.mark.parametrize("damage", [cut, without_index, odd_index, negative, link_inside])
def test_a_damaged_folder_is_replaced(tmp_path, lines, damage):
    stored(tmp_path / "set", lambda: MADE, lines.append)
    damage(tmp_path / "set")
    records = stored(tmp_path / "set", lambda: MADE, lines.append)
    assert records is not None and records[2] == MADE[2] and "is damaged and is made again" in lines[1]
    assert damage is not link_inside or (tmp_path / "outside").read_text() == "years of work"


@pytest.mark.parametrize("place", [0, 5, 400])
def test_a_changed_byte_is_reported_when_its_record_is_read(tmp_path, lines, place):
    stored(tmp_path / "set", lambda: MADE, lines.append)
    content = bytearray((tmp_path / "set/records").read_bytes())
    content[place] ^= 1
    (tmp_path / "set/records").write_bytes(content)
    with refusing(UserError, tmp_path / "set", "damaged", "remove the folder"):
        records = Records(tmp_path / "set")
        print([records[number] for number in range(len(records))])


def test_what_someone_else_put_there_stays(tmp_path, lines):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("years of work")
    stored(tmp_path / "other", lambda: MADE, lines.append)
    cut(tmp_path / "other")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "pipe")
    before = files(tmp_path)
    for name in ("folder", "file", "link", "pipe"):
        del lines[:]
        assert stored(tmp_path / name, lambda: MADE, lines.append) is None
        assert str(tmp_path / name) in lines[0] and "continuing without a cache" in lines[0] and len(lines) == 1
    assert files(tmp_path) == before


def test_an_unwritable_folder(tmp_path, lines):
    (tmp_path / "file").write_text("no folder")
    assert stored(tmp_path / "file/set", lambda: MADE, lines.append) is None
    assert lines[0].startswith(f"Data: {tmp_path / 'file/set'} can't be written (")
