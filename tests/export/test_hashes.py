"""With a bundle and Python, anyone can find out whether a file was changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import call
from refusals import refusing

from csnn_jax.errors import UserError
from export import hashes, manifest


def checked(folder) -> tuple[int, str, str]:
    done = call("export.verify", folder, "--hashes")
    return done.returncode, done.stdout, done.stderr


def test_an_unchanged_bundle_is_complete(small_bundle):
    count = sum(path.is_file() for path in small_bundle.rglob("*")) - 1
    said = f"all ok ({count} files; not checked: what they compute, and who made them)\n"
    assert checked(small_bundle) == (0, said, "")


def test_every_difference_has_a_line(copy):
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    (copy / "step.onnx").unlink()
    (copy / "step.onnx").symlink_to(copy / "step_b1.onnx")
    (copy / "config.json").unlink()
    (copy / "c" / "more.c").write_text("")
    (copy / "empty").mkdir()
    os.mkfifo(copy / "pipe")
    (copy / "\x1b[31mred").write_text("")
    (copy / "report.md").chmod(0o755)
    (copy / "report.html").chmod(0o4644)
    code, said, _ = checked(copy)
    *lines, last = said.splitlines()
    assert code == 1 and last == "NOT OK: 9 files differ"
    assert {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1].partition(",")[0] for line in lines} == {
        r"\x1b[31mred": "is not listed in SHA256SUMS",
        "c/more.c": "is not listed in SHA256SUMS",
        "config.json": "is missing",
        "empty": "is an empty folder",
        "pipe": "is a device",
        "report.html": "has special permissions",
        "report.md": "is executable",
        "step.onnx": "is a link",
        "weights.safetensors": lines[-1].split(maxsplit=1)[1].partition(",")[0],
    }
    assert "was changed" in lines[-1]


def test_a_folder_without_its_files_has_one_line(copy):
    for path in (copy / "golden").rglob("*"):
        if path.is_file():
            path.unlink()
    shutil.rmtree(copy / "c")
    (copy / "golden" / "link").symlink_to(copy)
    names = manifest.read(copy)["hashes"]
    golden, c = (sum(name.startswith(folder) for name in names) for folder in ("golden/", "c/"))
    code, lines, _ = checked(copy)
    assert code == 1 and [line.split(maxsplit=1) for line in lines.splitlines()[:-1]] == [
        ["c/", f"is missing, {c} files"],
        ["golden/", f"is missing, {golden} files"],
        ["golden/link", "is a link, expected a plain file or nothing"],
    ]


def test_a_file_system_on_which_every_file_is_executable_is_no_difference(copy):
    for path in copy.rglob("*"):
        path.chmod(0o777)
    assert checked(copy)[0] == 0
    (copy / "step.onnx").chmod(0o2777)
    assert "step.onnx" in checked(copy)[1]


def test_large_files_and_deep_folders_end_in_a_line(copy):
    deepest = copy
    for _ in range(1100):
        deepest /= "a"
        deepest.mkdir()
    assert "is an empty folder" in checked(copy)[1]
    os.removedirs(deepest)
    os.truncate(copy / "step.onnx", 2**40)
    code, said, error = checked(copy)
    assert (code, said) == (2, "") and f"expected at most {hashes.MOST_BYTES:,}" in error


MISSING = """
import sys

class Missing:
    @staticmethod
    def find_spec(name, path, target=None):
        if name.partition(".")[0] in ("torch", "snntorch", "onnx", "onnxruntime", "nir", "jax"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing)
from export import verify
sys.exit(verify.main(sys.argv[1:]))
"""


def test_no_export_package_is_needed(small_bundle):
    done = subprocess.run([sys.executable, "-c", MISSING, small_bundle, "--hashes"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done


def test_a_missing_list_and_paths_out_of_the_bundle_are_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    for text in (None, "", "no hashes\n", "\xff", *(f"{'0' * 64}  {name}\n" for name in ("/etc/passwd", "c/../../x"))):
        if text is not None:
            (tmp_path / "SHA256SUMS").write_text(text, encoding="latin-1")
        code, said, error = checked(tmp_path)
        assert (code, said) == (2, "") and error.startswith("error: ") and "expected" in error, text


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


def test_a_manifest_of_an_earlier_format_is_refused_and_both_versions_are_named(copy):
    path = copy / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 3,', '"schema_version": 2,', 1))
    with refusing(UserError, path, "schema_version 2", 3):
        manifest.read(copy)


def test_differences_are_located():
    recorded = {"a": {"b": [1, 2.0], "c": "x"}, "left": 1, "whole": 1}
    computed = {"a": {"b": [1, 2.1], "c": "y"}, "new": 1, "whole": True}
    assert [*manifest.differences(recorded, computed, "results")] == [
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
