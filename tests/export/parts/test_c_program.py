"""The commands in a bundle's report build its own program."""

import shlex
import shutil
import subprocess

from export.parts import c_program


def test_the_reports_command_uses_our_makefile_and_leaves_the_bundle_unchanged(small_bundle, tmp_path):
    """make prefers a GNUmakefile, which a sender might have added."""
    folder = shutil.copytree(small_bundle, tmp_path / "bundle")
    (folder / "c/GNUmakefile").write_text("all check:\n\ttouch ../taken\n\t@echo csnn prints what is expected\n")
    before = sorted(folder.rglob("*"))
    assert f"`{c_program.MAKE} check`" in (folder / "report.md").read_text()
    command = [*shlex.split(c_program.MAKE), "-s", "check"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "csnn prints what is expected\n", "")
    assert sorted(folder.rglob("*")) == before and (tmp_path / "csnn-build/csnn").is_file()
