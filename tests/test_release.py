"""Requirements of `.ci/release` are checked before it starts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RELEASE = Path(__file__).parents[1] / ".ci" / "release"
LOADER = "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1"


@pytest.mark.skipif(Path(LOADER).exists(), reason="the C library of aarch64 is installed")
def test_an_emulator_without_its_c_library_is_reported_immediately(tmp_path):
    emulator = Path(shutil.copy(shutil.which("true") or "/bin/true", tmp_path / "qemu-aarch64"))
    path = f"{emulator.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [RELEASE, tmp_path / "dist"], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    expected = f"qemu-aarch64 needs {LOADER} for the last step: apt-get install libc6-arm64-cross\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)
    assert not (tmp_path / "dist").exists()
