"""ONNX Runtime Web: the few files of its npm package that the page needs, in a tested version.

This is the WebAssembly-only build, without WebGPU. It runs on one thread, so servers needn't send special headers.
"""

import json
from pathlib import Path
from typing import NamedTuple

from csnn_jax import reading
from csnn_jax.errors import UserError
from export.demo import npm

PACKAGE = npm.Package("onnxruntime-web", "1.30.0", "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71")
ABOUT, MOST_BYTES = "package.json", 2**27
FILES = {
    "dist/ort.wasm.bundle.min.mjs": "ort.js",
    "dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
"""The library and its WebAssembly, with their names in the page's folder: not every server supports .mjs."""


class Runtime(NamedTuple):
    """A version and its files, by their names in the page's folder."""

    version: str
    files: dict[str, bytes]


def load(unpacked: Path | None) -> Runtime:
    """Loads the package from a folder, or from npm if `unpacked` is None.

    Raises:
        UserError: the folder doesn't contain the package, or npm can't fetch it.
    """
    if unpacked is None:
        try:
            contents = npm.read(npm.fetch(PACKAGE), [ABOUT, *FILES])
        except UserError as error:
            raise UserError(f"{error}; or use --ort-web with the folder of the unpacked package") from None
    else:
        contents = {name: _read(unpacked, name) for name in (ABOUT, *FILES)}
    return Runtime(_version(contents.pop(ABOUT), unpacked), {FILES[name]: data for name, data in contents.items()})


def _read(folder: Path, name: str) -> bytes:
    try:
        return reading.read(folder / name, "a file of the package", MOST_BYTES)
    except UserError as error:
        raise UserError(f"--ort-web {folder}: expected an unpacked package {PACKAGE.name}; {error}") from None


def _version(about: bytes, folder: Path | None) -> str:
    try:
        facts = json.loads(about)
        if facts["name"] != PACKAGE.name:
            raise ValueError
        return str(facts["version"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"--ort-web {folder}: {ABOUT} isn't from {PACKAGE.name}") from None
