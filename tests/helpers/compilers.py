"""C compilers and their flags, and the memory that a program states."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

CLANG = ["clang"] if shutil.which("clang") else [sys.executable, "-m", "ziglang", "cc"]  # a package with clang
NO_CLANG = CLANG != ["clang"] and importlib.util.find_spec("ziglang") is None
COMPILERS = [
    pytest.param(["gcc"], id="gcc", marks=pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc")),
    pytest.param(
        CLANG, id="clang", marks=[pytest.mark.slow, pytest.mark.skipif(NO_CLANG, reason="neither clang nor ziglang")]
    ),
]


def stated_memory(folder: Path) -> list[int]:
    """The bytes of constants, of a state and of the neurons' states that network.h states."""
    return [int(count) for count in re.findall(r"(\d+) (?:bytes|of them)", (folder / "network.h").read_text())]


def constants(folder: Path) -> int:
    """The words in all constant arrays."""
    text = "".join((folder / name).read_text() for name in ("weights.h", "neurons.h"))
    return sum(map(int, re.findall(r"static const \w+ \w+\[(\d+)\] =", text)))
