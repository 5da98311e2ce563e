"""Class folders: which files they hold, in which order, and which folders are refused."""

from pathlib import Path

import numpy as np
import pytest
from refusals import refusing

from csnn_jax.data.folders import in_turn, read_parts, skipped
from csnn_jax.errors import UserError


def made(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return str(folder)


def test_classes_and_files_are_in_the_order_of_their_names(tmp_path):
    where = made(
        tmp_path, "Train/b/2.x", "Train/b/10.X", "Train/b/deep/er/1.x", "Train/a/1.x", "test/a/1.x", "test/b/1.x"
    )
    made(tmp_path, "Train/a/.1.x", "Train/a/.cache/2.x", "Train/.hidden/1.x", "Train/a/notes.txt", "Train/list.x")
    train, test = read_parts(where, (".x",), "things")
    assert [*train] == [*test] == ["a", "b"]
    assert [str(path.relative_to(tmp_path / "Train")) for files in train.values() for path in files] == [
        "a/1.x",
        "b/10.X",
        "b/2.x",
        "b/deep/er/1.x",
    ]


def test_files_that_are_skipped_are_listed(tmp_path):
    where = made(tmp_path, "Train/a/1.x", "Train/a/deep/notes.txt", "test/b/2.y", "list.y", "other/a/1.y", "Train/3.y")
    made(tmp_path, "Train/a/.DS_Store", "Train/.cache/a/1.y")
    (tmp_path / "Train/a/linked").symlink_to(tmp_path / "other")
    first = tmp_path / "Train/a/deep/notes.txt", tmp_path / "Train/a/linked"
    files, links = skipped(where, (".x",), "an x")
    assert files == f"skipped 2 without an x, such as {first[0]}"
    assert links == f"skipped links to folders (1), such as {first[1]}"


def test_the_test_folder_may_be_optional(tmp_path):
    where = made(tmp_path, "train/a/1.x", "train/b/1.x")
    train, test = read_parts(where, (".x",), "things", needs_test=False)
    assert [*train] == ["a", "b"] and test == {}
    with refusing(UserError, "test/CLASS/FILE"):
        read_parts(where, (".x",), "things")


def test_the_first_and_last_files_have_all_classes_in_proportion():
    part = {"few": [Path(f"few/{n}") for n in range(3)], "many": [Path(f"many/{n}") for n in range(12)]}
    files, labels = in_turn(part)
    assert sorted(files) == sorted([*part["few"], *part["many"]])
    for label, name in enumerate(part):
        assert [path for path in files if path.parent.name == name] == part[name]
        so_far = np.cumsum(labels == label)
        share = len(part[name]) / 15 * np.arange(1, 16)
        assert np.abs(so_far - share).max() <= 1
    assert [path.parent.name for path in files] == [tuple(part)[label] for label in labels]


@pytest.mark.parametrize(
    ("names", "facts"),
    [
        ((), ("no such folder",)),
        (("a/1.x",), ("no folder train",)),
        (("train/1.x",), ("train", "no folders")),
        (("train/a/1.x", "train/b/1.y"), ("train/b",)),
        (("train/a/1.x", "train/b/1.x", "test/a/1.x", "test/c/1.x"), ("class b in train but not in test",)),
        (("train/a/1.x", "test/a/1.x", "test/c/1.x"), ("class c in test but not in train",)),
        (("train/a\nb/1.x",), (r"train/a\nb",)),
        (("train/\udcff/1.x",), (r"train/\udcff",)),
        (("train/-/1.x",), ("train/-",)),
    ],
)
def test_errors_take_one_line(tmp_path, names, facts):
    with refusing(UserError, *facts) as caught:
        where = made(tmp_path / "data", *names) if names else str(tmp_path / "data")
        read_parts(where, (".x",), "things", needs_test=False)
    assert str(caught.value).isprintable()
