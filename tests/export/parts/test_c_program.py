"""The C program of a bundle is built and run only where it is what this version writes."""

import shlex
import shutil
import subprocess

from export import manifest
from export.parts import c_program
from export.verification import open_bundle


def test_the_program_is_proven_and_its_sources_are_told_apart(small_bundle, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(small_bundle, folder)
    subject = open_bundle(folder, manifest.read(folder), "quick").subject
    found = c_program.check(subject, c_program.NAME)
    assert found.problems == [] and found.proof["program"]["different_counts"] == 0
    assert c_program.PART.files is not None
    assert {path.name for path in (folder / "c").iterdir()} == {
        name.removeprefix("c/") for name in c_program.PART.files(subject)
    } | {c_program.INT8}
    for name in ("csnn.c", "network.h"):
        (folder / "c" / name).write_text((folder / "c" / name).read_text() + "\n")
    (problem,) = c_program.check(subject, c_program.NAME).problems
    assert problem == "csnn.c, network.h: not what this version writes for the trained parameters"


def test_the_command_of_the_report_takes_our_makefile_and_leaves_the_bundle_alone(small_bundle, tmp_path):
    """make prefers a GNUmakefile, which a sender may have put there."""
    folder = shutil.copytree(small_bundle, tmp_path / "bundle")
    (folder / "c/GNUmakefile").write_text("all check:\n\ttouch ../taken\n\t@echo csnn prints what is expected\n")
    before = sorted(folder.rglob("*"))
    assert f"`{c_program.MAKE} check`" in (folder / "report.md").read_text()
    command = [*shlex.split(c_program.MAKE), "-s", "check"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "csnn prints what is expected\n", "")
    assert sorted(folder.rglob("*")) == before and (tmp_path / "csnn-build/csnn").is_file()
