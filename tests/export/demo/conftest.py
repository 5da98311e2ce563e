"""Demonstrations with the real ONNX Runtime Web."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from export.demo import facts, folder, ort_web


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory) -> Callable[..., Path]:
    """`demonstration(bundle, names)`: the folder that is made of a bundle."""
    if shutil.which("npm") is None:
        pytest.skip("no npm: apt-get install npm")
    runtime = ort_web.load(None)

    def make(bundle: Path, names: list[str] | None = None) -> Path:
        out = tmp_path_factory.mktemp("demo")
        folder.write(out, facts.read(bundle, names), runtime)
        return out

    return make
