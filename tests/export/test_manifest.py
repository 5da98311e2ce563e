"""The manifest lists every file, and sees a change of any of them."""

import shutil
from pathlib import Path

from export import manifest


def test_one_flipped_byte_in_any_file_is_seen(small_bundle, tmp_path):
    copy = Path(shutil.copytree(small_bundle, tmp_path / "bundle"))
    names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    recorded = manifest.read(copy)
    assert names == {*recorded["files"], "manifest.json", "SHA256SUMS"} and len(names) > 600
    for name in ("manifest.json", "SHA256SUMS"):
        whole = _flip_a_byte(copy / name)
        assert list(manifest.file_problems(copy, recorded)) == ["SHA256SUMS"]
        (copy / name).write_bytes(whole)
    assert manifest.file_problems(copy, recorded) == {}
    for name in recorded["files"]:
        _flip_a_byte(copy / name)
    problems = manifest.file_problems(copy, recorded)
    assert set(problems) == set(recorded["files"])
    assert all(problem.startswith("was changed") for problem in problems.values())


def test_differences_are_told_by_their_place():
    recorded = {"a": {"b": [1, 2.0], "c": "x"}, "left": 1}
    found = {"a": {"b": [1, 2.1], "c": "y"}, "new": 1}
    assert [*manifest.differences(recorded, found)] == [
        "a.b[1] is 2.1, manifest.json says 2.0",
        'a.c is "y", manifest.json says "x"',
        "left is left over in manifest.json",
        "new is missing in manifest.json",
    ]
    assert [*manifest.differences({"a": 1}, {"a": True})] == ["a is true, manifest.json says 1"]


def test_a_rule_decides_on_the_entries_that_it_knows():
    def rule(name, recorded, found):
        return ([] if abs(recorded - found) < 1 else ["is far off"]) if name == "near" else None

    recorded, found = {"a": {"near": 2.0, "equal": 1}}, {"a": {"near": 2.5, "equal": 1}}
    assert [*manifest.differences(recorded, found, rule=rule)] == []
    found["a"] |= {"near": 9.0, "equal": 2}
    assert [*manifest.differences(recorded, found, rule=rule)] == [
        "a.near: is far off",
        "a.equal is 2, manifest.json says 1",
    ]


def _flip_a_byte(path: Path) -> bytes:
    """Changes one bit somewhere in a file; returns what it held before."""
    whole = path.read_bytes()
    at, bit = len(whole) * 2 // 3, len(whole) % 8
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    return whole
