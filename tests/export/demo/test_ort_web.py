"""ONNX Runtime Web comes from an unpacked package, or from npm."""

import shutil

import pytest
from demos import unpacked

from csnn_jax.errors import UserError
from export.demo import ort_web


def test_the_files_of_an_unpacked_package_are_taken(tmp_path):
    found = ort_web.load(unpacked(tmp_path / "package"))
    assert found.version == "0.0.1"
    assert found.files == {beside: name.encode() for name, beside in ort_web.FILES.items()}


def test_another_package_and_a_missing_file_are_refused(tmp_path):
    folder = unpacked(tmp_path / "package")
    for about in ("{", "[]", '{"name": "onnxruntime-node", "version": "1"}', '{"name": "onnxruntime-web"}'):
        (folder / ort_web.ABOUT).write_text(about)
        with pytest.raises(UserError, match=r"^--ort-web .*package: package\.json is not that of onnxruntime-web$"):
            ort_web.load(folder)
    (folder / "dist" / "ort-wasm-simd-threaded.wasm").unlink()
    with pytest.raises(UserError, match=r"ort-wasm-simd-threaded\.wasm: No such file"):
        ort_web.load(folder)


@pytest.mark.slow
def test_the_pinned_package_has_the_files():
    if shutil.which("npm") is None:
        pytest.skip("no npm: apt-get install npm")
    found = ort_web.load(None)
    assert found.version == ort_web.PACKAGE.version
    assert found.files["ort-wasm-simd-threaded.wasm"].startswith(b"\0asm")
