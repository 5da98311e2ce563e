"""C compilers and their flags."""

import importlib.util
import shutil
import sys

import pytest

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

CLANG = ["clang"] if shutil.which("clang") else [sys.executable, "-m", "ziglang", "cc"]  # a package with clang
NO_CLANG = CLANG != ["clang"] and importlib.util.find_spec("ziglang") is None
COMPILERS = [
    pytest.param(["gcc"], id="gcc", marks=pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc")),
    pytest.param(CLANG, id="clang", marks=pytest.mark.skipif(NO_CLANG, reason="neither clang nor ziglang")),
]
