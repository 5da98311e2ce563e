"""The weights of 8 bits of a bundle are the trained ones, rounded, and the program prints what it printed."""

import shutil
import subprocess

import pytest

from export import manifest
from export.parts import c_int8
from export.verification import open_bundle


@pytest.fixture
def bundle(small_bundle, tmp_path):
    return shutil.copytree(small_bundle, tmp_path / "bundle")


def test_a_change_is_named(bundle):
    subject = open_bundle(bundle, manifest.read(bundle), "quick").subject
    found = c_int8.check(subject, c_int8.NAME)
    assert found.problems == [] and 0 < found.proof["accuracy"] <= 1
    expected, header = bundle / c_int8.EXPECTED, bundle / c_int8.NAME
    expected.write_text("class 7\n")
    assert c_int8.check(subject, c_int8.NAME).problems == ["golden/c/expected_int8.txt is not what the program prints"]
    header.write_text(header.read_text().replace("127", "126", 1))
    assert c_int8.check(subject, c_int8.NAME).problems == ["not what this version writes for the trained parameters"]


def test_make_check_int8_tells_a_right_port_from_a_wrong_one(bundle, tmp_path):
    (tmp_path / "build").mkdir()
    command = ["make", "-s", "-C", bundle / "c", f"BUILD={tmp_path / 'build'}", "check-int8"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "csnn_int8 prints what is expected\n"), done.stderr
    expected = bundle / c_int8.EXPECTED
    expected.write_text(expected.read_text().replace("counts 0", "counts 1", 1))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "differ" in done.stdout + done.stderr
