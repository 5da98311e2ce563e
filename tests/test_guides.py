"""The guides in docs/extend: their additions work when applied to a copy of the repository.

Every block has a comment above it, and the blocks of a page are processed in order. `apply`: a diff. `write: PATH`: a
new file. `run`: commands or a program that must succeed. `prints`: the output of the previous block. `refused`:
commands that must each end with exit code 2 and one line.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ENVIRONMENT
from documents import PAGES, ROOT, Block, blocks, read

GUIDES = [page for page in PAGES if page.startswith("docs/extend/")]
COPIED = ("csnn_jax", "csnn_torch", "export", "tests", "pyproject.toml")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages and their tests for a guide to change."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    imported = start(tmp_path, sys.executable, "-c", "import csnn_jax; print(csnn_jax.__file__)").stdout
    assert imported.startswith(str(tmp_path))
    return tmp_path


def start(folder: Path, *command: str, given: str = "") -> subprocess.CompletedProcess:
    """Runs a command in the copy, with its packages."""
    environment = ENVIRONMENT | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, text=True, timeout=600
    )


def here(commands: str) -> str:
    """The commands with this Python instead of the clone's."""
    programs = {".venv/bin/python": sys.executable, ".venv/bin/pytest": f"{sys.executable} -m pytest"}
    return re.sub(r"\.venv/bin/\w+", lambda match: programs[match[0]], commands)


def follow(block: Block, folder: Path) -> str:
    """Carries out a block; returns its output."""
    verb, _, path = block.marker.partition(": ")
    if verb == "write":
        assert not (folder / path).exists()
        (folder / path).write_text(block.text)
        return ""
    if verb == "apply":
        done = start(folder, "git", "apply", given=block.text)
    elif block.language == "python":
        done = start(folder, sys.executable, "-c", block.text)
    else:
        done = start(folder, "bash", "-euo", "pipefail", "-c", here(block.text))
    assert done.returncode == 0, f"line {block.line}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.parametrize("page", GUIDES)
def test_the_additions_of_a_guide_work(page: str, copy: Path) -> None:
    printed = ""
    for block in blocks(read(page)):
        if block.marker == "prints":
            assert printed == block.text, f"line {block.line}"
        elif block.marker == "refused":
            for command in block.text.splitlines():
                done = start(copy, "bash", "-c", here(command))
                assert done.returncode == 2 and done.stderr.startswith("error: --") and done.stderr.count("\n") == 1, (
                    done
                )
        elif block.marker:
            printed = follow(block, copy)


@pytest.mark.parametrize("page", GUIDES)
def test_every_block_of_a_guide_is_followed(page: str) -> None:
    fenced = blocks(read(page))
    verbs = {"sh": {"run", "refused"}, "python": {"run", "write"}, "diff": {"apply"}, "text": {"prints", ""}}
    assert [block for block in fenced if block.marker.partition(":")[0] not in verbs[block.language]] == []
    assert {"run", "apply"} <= {block.marker for block in fenced}


@pytest.mark.parametrize("page", GUIDES)
def test_the_diffs_of_a_guide_apply_to_the_current_files(page: str, tmp_path: Path) -> None:
    diffs = [block.text for block in blocks(read(page)) if block.marker == "apply"]
    for name in re.findall(r"^\+\+\+ b/(.+)$", "".join(diffs), re.M):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for diff in diffs:
        done = subprocess.run(["git", "apply"], input=diff, text=True, capture_output=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
