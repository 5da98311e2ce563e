"""npm packages are downloaded once, and only in the pinned versions; ONNX Runtime Web may also be unpacked already."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from demos import unpacked
from refusals import refusing

from csnn_jax.errors import UserError
from export.demo import npm, ort_web


def archive(**files: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as opened:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
    return made.getvalue()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A separate cache, and a PATH without npm."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(folder: Path, script: str) -> None:
    """An npm that runs `script` instead."""
    path = folder / "bin" / "npm"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_intact_packages_in_the_cache_need_no_npm(home):
    data = archive(readme=b"hello", licence=b"free")
    package = npm.Package("thing", "1.0.0", hashlib.sha256(data).hexdigest())
    npm.cache().mkdir(parents=True)
    path = npm.cache() / "thing-1.0.0.tgz"
    path.write_bytes(data)
    assert npm.fetch(package) == path
    assert npm.read(path, ["licence", "readme"]) == {"licence": b"free", "readme": b"hello"}
    with refusing(UserError, path, "index.js"):
        npm.read(path, ["index.js"])
    path.write_bytes(data[:-1])
    with refusing(UserError, "thing@1.0.0", "npm"):
        npm.fetch(package)


def test_an_archive_that_is_not_pinned_is_refused_and_a_failing_npm_is_reported(home):
    data = archive(readme=b"evil")
    (home / "other.tgz").write_bytes(data)
    program(home, f'/bin/cp {home}/other.tgz "$5"')
    with refusing(UserError, "thing@1.0.0", hashlib.sha256(data).hexdigest(), "00ff"):
        npm.fetch(npm.Package("thing", "1.0.0", "00ff"))
    assert list(npm.cache().iterdir()) == []
    program(home, "echo first >&2; echo no network >&2; exit 1")
    with refusing(UserError, "thing@1.0.0", "no network"):
        npm.fetch(npm.Package("thing", "1.0.0", "00ff"))


def test_packages_other_than_onnxruntime_web_and_missing_files_are_refused(tmp_path):
    folder = unpacked(tmp_path / "package")
    for about in ("{", "[]", '{"name": "onnxruntime-node", "version": "1"}', '{"name": "onnxruntime-web"}'):
        (folder / ort_web.ABOUT).write_text(about)
        with refusing(UserError, "ort_web", folder, "package.json", "onnxruntime-web"):
            ort_web.load(folder)
    (folder / "dist" / "ort-wasm-simd-threaded.wasm").unlink()
    with refusing(UserError, folder / "dist" / "ort-wasm-simd-threaded.wasm"):
        ort_web.load(folder)
