"""With a bundle and Python, anyone can find out whether a file was changed."""

import subprocess
import sys

from export import hashes

ALONE = (sys.executable, "-I", "-S", hashes.__file__)
"""Python with only its standard library."""


def alone(folder) -> tuple[int, str, str]:
    done = subprocess.run([*ALONE, folder], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_an_unchanged_bundle_is_complete(small_bundle):
    count = sum(path.is_file() for path in small_bundle.rglob("*")) - 1
    said = f"all ok ({count} files; not checked: what they compute, and who made them)\n"
    assert alone(small_bundle) == (0, said, "")


def test_every_difference_has_a_line(copy):
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    (copy / "step.onnx").unlink()
    (copy / "step.onnx").symlink_to(copy / "step_b1.onnx")
    (copy / "manifest.json").unlink()
    (copy / "c" / "more.c").write_text("")
    (copy / "empty").mkdir()
    (copy / "\x1b[31mred").write_text("")
    code, said, _ = alone(copy)
    *lines, last = said.splitlines()
    assert code == 1 and last == "NOT OK: 6 files differ"
    assert [line.split(maxsplit=1)[0] for line in lines] == [
        *(r"\x1b[31mred", "c/more.c", "empty", "manifest.json", "step.onnx", "weights.safetensors"),
    ]
    assert all("is not listed in SHA256SUMS" in line for line in lines[:2])
    assert "is an empty folder" in lines[2] and "is missing" in lines[3] and "is a link" in lines[4]
    assert "was changed" in lines[5]


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
    for text in (None, "", "no hashes\n", "\xff", *(f"{'0' * 64}  {name}\n" for name in ("/etc/passwd", "c/../../x"))):
        if text is not None:
            (tmp_path / "SHA256SUMS").write_text(text, encoding="latin-1")
        code, said, error = alone(tmp_path)
        assert (code, said) == (2, "") and error.startswith("error: ") and "expected" in error, text
