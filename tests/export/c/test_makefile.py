"""The Makefile of a bundle: its build folder may contain anything, have any name, or not exist yet."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from networks import RECIPES, Network, made

from export.c import program

NETWORKS = [made(RECIPES["dark half"], seed) for seed in (1, 2)]
"""Of equal shapes."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """`c` and `golden/c` of two bundles with equal shapes and different weights; all files have the same time stamp."""
    base = tmp_path_factory.mktemp("bundles")
    return [bundle(base / str(number), one) for number, one in enumerate(NETWORKS)]


def bundle(folder: Path, network: Network) -> Path:
    (folder / "golden/c").mkdir(parents=True)
    program.write_sources(folder / "c", network.config, network.tensors)
    built = program.build(folder / "c", folder / "built")
    (folder / "golden/c/expected.txt").write_text(program.printed(built.program, network.x))
    (folder / "golden/c/samples.bin").write_bytes(network.x.tobytes())
    for path in folder.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    return folder


def make(folder: Path, build: Path | str, *more: str) -> subprocess.CompletedProcess:
    command = ["make", "-s", "-C", folder / "c", "-f", "Makefile", f"BUILD={build}", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_bundle_is_tested_in_a_build_folder_that_others_used(bundles, tmp_path):
    for one in (*bundles, bundles[0]):
        done = make(one, tmp_path, "check")
        assert (done.returncode, done.stdout, done.stderr) == (0, "csnn prints what is expected\n", "")
    assert program.build(bundles[1] / "c", tmp_path) == (tmp_path / "csnn", tmp_path / "libcsnn.so")
    expected = (bundles[1] / "golden/c/expected.txt").read_text()
    assert program.printed(tmp_path / "csnn", NETWORKS[1].x) == expected


def test_another_bundles_program_is_not_accepted(bundles, tmp_path):
    """Weights were changed to disagree with the golden files, which the older program in the folder still matches."""
    forged = shutil.copytree(bundles[1], tmp_path / "forged")
    shutil.rmtree(forged / "golden")
    shutil.copytree(bundles[0] / "golden", forged / "golden")
    assert make(bundles[0], tmp_path / "built", "check").returncode == 0
    done = make(forged, tmp_path / "built", "check")
    assert done.returncode != 0 and "differ" in done.stdout + done.stderr


def test_the_build_folder_may_contain_a_space_and_need_not_exist(bundles, tmp_path):
    folder = shutil.copytree(bundles[0], tmp_path / "bundle")
    for where in ("with a space/not there", tmp_path / "with a space/and another"):
        done = make(folder, where, "all", "check")
        assert (done.returncode, done.stderr) == (0, "")
        found = {path.name for path in (folder / "c" / where).iterdir()}
        assert {"csnn", "libcsnn.so"} <= found
        assert make(folder, where, "clean").returncode == 0 and not list((folder / "c" / where).iterdir())
