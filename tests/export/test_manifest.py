"""The manifest lists every file and detects any change."""

from pathlib import Path

from refusals import refusing

from csnn_jax.errors import UserError
from export import manifest


def test_one_flipped_bit_in_any_file_is_detected(copy):
    names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    recorded = manifest.read(copy)
    assert names == {*recorded["files"], "manifest.json", "SHA256SUMS"} and len(names) > 600
    for name in ("manifest.json", "SHA256SUMS"):
        whole = _flip_a_byte(copy / name)
        assert list(manifest.file_problems(copy, recorded)) == ["SHA256SUMS"]
        (copy / name).write_bytes(whole)
    assert manifest.file_problems(copy, recorded) == {}
    others = set(recorded["files"]) - {"config.json"}  # which is read to limit their sizes
    for name in others:
        _flip_a_byte(copy / name)
    problems = manifest.file_problems(copy, recorded)
    assert set(problems) == others
    assert all(problem.startswith("was changed") for problem in problems.values())


def test_a_file_that_is_too_large_is_not_read(copy):
    recorded = manifest.read(copy)
    with open(copy / "step.onnx", "r+b") as file:
        file.truncate(2**32)
    assert [*manifest.file_problems(copy, recorded)] == ["step.onnx"]
    for name, expected in (("weights.safetensors", "weights"), ("config.json", 2**20)):
        with open(copy / name, "r+b") as file:
            file.truncate(2**32)
        with refusing(UserError, copy / name, 2**32, expected):
            manifest.file_problems(copy, recorded)
    (copy / "config.json").unlink()
    (copy / "config.json").symlink_to("/etc/passwd")
    with refusing(UserError, copy / "config.json", "link"):
        manifest.file_problems(copy, recorded)


def test_a_manifest_of_an_earlier_format_is_refused_and_both_versions_are_named(copy):
    path = copy / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 2,', '"schema_version": 1,', 1))
    with refusing(UserError, path, "schema_version 1", 2):
        manifest.read(copy)


def test_differences_are_located_and_a_rule_can_decide_about_some():
    recorded = {"a": {"b": [1, 2.0], "c": "x", "near": 2.0, "far": 2.0}, "left": 1, "whole": 1}
    found = {"a": {"b": [1, 2.1], "c": "y", "near": 2.5, "far": 9.0}, "new": 1, "whole": True}

    def rule(name, recorded, found):
        return ([] if abs(recorded - found) < 1 else ["is far off"]) if name in ("near", "far") else None

    assert [*manifest.differences(recorded, found, rule=rule)] == [
        "a.b[1] is 2.1, manifest.json says 2.0",
        'a.c is "y", manifest.json says "x"',
        "a.far: is far off",
        "left is unexpected in manifest.json",
        "whole is true, manifest.json says 1",
        "new is missing in manifest.json",
    ]


def _flip_a_byte(path: Path) -> bytes:
    """Changes one bit somewhere in a file; returns the previous content."""
    whole = path.read_bytes()
    at, bit = len(whole) * 2 // 3, len(whole) % 8
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    return whole
