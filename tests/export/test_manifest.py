"""The manifest lists every file and detects any change."""

from pathlib import Path

import pytest
from refusals import refusing

from csnn_jax.errors import UserError
from export import manifest


def test_one_flipped_bit_in_any_file_is_detected(copy):
    names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    recorded = manifest.read(copy)
    assert names == {*recorded["hashes"], "manifest.json", "SHA256SUMS"} and len(names) > 600
    for name in ("manifest.json", "SHA256SUMS"):
        whole = _flip_a_byte(copy / name)
        assert list(manifest.file_problems(copy, recorded)) == ["SHA256SUMS"]
        (copy / name).write_bytes(whole)
    assert manifest.file_problems(copy, recorded) == {}
    others = set(recorded["hashes"]) - {"config.json"}  # which is read to limit their sizes
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
    path.write_text(path.read_text().replace('"schema_version": 3,', '"schema_version": 2,', 1))
    with refusing(UserError, path, "schema_version 2", 3):
        manifest.read(copy)


def test_differences_are_located():
    recorded = {"a": {"b": [1, 2.0], "c": "x"}, "left": 1, "whole": 1}
    found = {"a": {"b": [1, 2.1], "c": "y"}, "new": 1, "whole": True}
    assert [*manifest.differences(recorded, found, "results")] == [
        "results.a.b[1] is 2.1, manifest.json says 2.0",
        'results.a.c is "y", manifest.json says "x"',
        "results.left is unexpected in manifest.json",
        "results.whole is true, manifest.json says 1",
        "results.new is missing in manifest.json",
    ]


FOUND = {"images": 4, "spikes": 90, "different_spikes": 0, "accuracy": 0.5, "first": {"counts": [1, 2]}, "bytes": 7}


def of_other_images(changes: dict) -> list[str]:
    return [*manifest.differences(*map(manifest.without_images, (FOUND | changes, FOUND)), "")]


def test_counts_of_other_images_may_vary_but_differences_may_not():
    assert of_other_images({"images": 32, "spikes": 720, "accuracy": 0.97}) == []
    assert of_other_images({"different_spikes": 1}) == ["different_spikes is 0, manifest.json says 1"]
    assert of_other_images({"bytes": 8}) == ["bytes is 7, manifest.json says 8"]
    assert of_other_images({"first": {"counts": [1, 3]}}) == ["first.counts[1] is 2, manifest.json says 3"]


@pytest.mark.parametrize("value", ["many", None, True, -1, float("nan"), "a number", ["..."]])
def test_values_that_are_no_figures_are_reported(value):
    (line,) = of_other_images({"spikes": value})
    assert line.startswith('spikes is "a number", manifest.json says ')


def _flip_a_byte(path: Path) -> bytes:
    """Changes one bit somewhere in a file; returns the previous content."""
    whole = path.read_bytes()
    at, bit = len(whole) * 2 // 3, len(whole) % 8
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    return whole
