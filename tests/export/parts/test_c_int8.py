"""The C program with weights in 8 bits prints what it printed."""

import shutil
import subprocess

import pytest

from export.parts import c_int8


@pytest.fixture
def bundle(small_bundle, tmp_path):
    return shutil.copytree(small_bundle, tmp_path / "bundle")


def test_make_check_int8_tells_a_right_port_from_a_wrong_one(bundle, tmp_path):
    (tmp_path / "build").mkdir()
    command = ["make", "-s", "-C", bundle / "c", f"BUILD={tmp_path / 'build'}", "check-int8"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "csnn_int8 prints what is expected\n"), done.stderr
    expected = bundle / c_int8.EXPECTED
    expected.write_text(expected.read_text().replace("counts 0", "counts 1", 1))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "differ" in done.stdout + done.stderr
