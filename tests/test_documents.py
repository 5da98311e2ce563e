"""The README and the pages of docs/: their examples run as shown, and what they name exists.

The flags of commands are always checked. The commands run in the slow tests, those of the README more often.

Every block of commands or Python has a comment above it. `run`: it is run here; the blocks of a page run in order in
one folder. `prints`: the output of the previous block. `train`, `test`, `library`: see below. `search`: see
test_search.py. `not run: REASON`: it isn't run. The pages of docs/extend have other markers, see test_guides.py.
"""

import functools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template

import pytest
from commands import ENVIRONMENT
from documents import PAGES, ROOT, Block, blocks, links, marked, prose, read
from idx_files import write_folder
from PIL import Image
from reference.flags import COMMANDS

import csnn_jax
from csnn_jax import data
from csnn_jax.config import Config, ModelConfig
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags, parse, parse_train

README = read("README.md")
SHORT = "--max-iters 2 --eval-every 0 --time-steps 4"
TINY = f"{SHORT} --conv-channels 4 --hidden 16"
SHORTER = (
    ("--resume --seeds", ""),
    ("--resume", "--max-iters 4"),
    ("arrays:halves", "--max-iters 2 --eval-every 0 --hidden 16"),
    ("--init-from", f"{SHORT} --eval-images 256"),
    ("export runs/tuned", "--quick"),
    ("--conv-channels", SHORT),
    ("--validation", f"{TINY} --validation 50"),
    ("--warmup", f"{TINY} --warmup 1"),
    ("--microbatch", "--max-iters 1 --eval-every 0 --conv-channels 4 --hidden 16 --time-steps 50"),
    ("csnn_jax.train", TINY),
    ("csnn_torch.train", TINY),
    ("csnn_torch.compare", "--questions network"),
    ("csnn_torch.convert", "--time-steps 4"),
)
"""Flags added to commands that would take minutes: those of the first entry whose left side is in the command."""

FOLDERS = {"CONTRIBUTING.md": ROOT}
"""Pages whose commands run in the clone; those of others run in a separate folder."""


@pytest.fixture
def folder(small_run: Path, tmp_path: Path) -> Path:
    """A reader's working directory: a run, a picture, and the four IDX files of another data set."""
    shutil.copytree(small_run, tmp_path / "runs" / "first")
    test = data.load("mnist", (28, 28, 1)).test
    Image.fromarray(test.images[0, :, :, 0]).save(tmp_path / "runs" / "digit.png")
    few = test.images[:200, :, :, 0], test.labels[:200]
    (tmp_path / "fashion").mkdir()
    write_folder(tmp_path / "fashion", few, few)
    return tmp_path


def script(block: Block) -> str:
    """The commands of a block, with this Python for the clone's, the small run for RUN, and the flags of `SHORTER`."""
    here = {"RUN": "runs/first", ".venv/bin/python": sys.executable, ".venv/bin/pytest": f"{sys.executable} -m pytest"}
    lines = []
    for line in block.text.replace("\\\n", " ").splitlines():
        command, _, _ = line.partition(" #")
        added = next((flags for held, flags in SHORTER if held in command), "")
        alone = command.removesuffix(" &")
        whole = f"{alone} {added}{command.removeprefix(alone)}"
        lines.append(re.sub(r"\bRUN\b|\.venv/bin/\w+", lambda match: here[match[0]], whole))
    return "\n".join(lines)


def execute(block: Block, folder: Path) -> str:
    """Runs a block; returns its output."""
    if block.language == "sh":
        command = ["bash", "-euo", "pipefail", "-c", script(block)]
    else:
        command = [sys.executable, "-c", block.text]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"line {block.line}: {done.stdout}{done.stderr}"
    return done.stdout


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """The module and arguments of each of our commands in a block, with variables replaced."""
    variables = dict(re.findall(r'^(\w+)="(.*)"$', block.text, re.M))
    text = Template(block.text.replace("\\\n", "")).safe_substitute(variables)
    matches = re.findall(r"python -m ((?:csnn_jax|csnn_torch|export)\S*)([^&|>\n]*)", text)
    return [(module, shlex.split(re.sub(r"\bN\b", "1", words), comments=True)) for module, words in matches]


@functools.cache
def take(module: str, *arguments: str) -> None:
    """Parses the flags as the command does; raises UserError for invalid ones."""
    kind = COMMANDS[module]
    if issubclass(kind, TrainFlags):
        parse_train(kind, module, "", arguments, lambda flags: Config(), lambda path: ModelConfig())
    else:
        parse(kind, module, "", list(arguments))


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(commands, blocks(read(page))))])
def test_commands_accept_the_flags_shown_on_a_page(page: str) -> None:
    for block in blocks(read(page)):
        for module, arguments in commands(block):
            if module == "csnn_jax.engine.build":
                assert arguments == []
                continue
            try:
                take(module, *arguments)
            except UserError as error:  # guides add the values and flags they show
                added = ": expected one of " in str(error) or ": expected a flag of this command" in str(error)
                assert page.startswith("docs/extend/") and added, error


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.rare] if page.startswith("docs/") else [])
        for page in PAGES
        if marked(page, "run") and not page.startswith("docs/extend/")
    ],
)
def test_the_examples_of_a_page_run(page: str, folder: Path) -> None:
    printed = ""
    for block in marked(page, "run", "prints"):
        if block.marker == "prints":
            assert printed == block.text, f"line {block.line}"
        else:
            printed = execute(block, FOLDERS.get(page, folder))


@pytest.mark.slow
def test_the_train_command_trains(tmp_path: Path) -> None:
    """Without the installation before it, because the packages are already installed."""
    (block,) = marked("README.md", "train")
    install, _, train = block.text.rpartition("&& ")
    assert install == "python3 -m venv .venv && .venv/bin/pip install -q -e . "
    assert "Final Test Accuracy: " in execute(block._replace(text=train), tmp_path)
    assert (tmp_path / "runs" / "first" / "weights.safetensors").is_file()


def test_ci_runs_the_test_command() -> None:
    (block,) = marked("README.md", "test")
    assert block.text.endswith("&& .venv/bin/pytest\n")
    assert "$(readme test)" in read(".ci/run")


@pytest.mark.slow
def test_the_library_example_learns(tmp_path: Path) -> None:
    (block,) = marked("docs/python.md", "library")
    assert float(re.fullmatch(r"loss (\d\.\d+)\n", execute(block, tmp_path))[1]) < 2.0
    answer = csnn_jax.load(tmp_path / "runs" / "own").classify(data.load("mnist", (28, 28, 1)).test.images[:100])
    assert len(set(answer.classes)) > 2


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("docs/extend/")])
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    markers = {block.marker for block in blocks(read(page)) if block.language in ("sh", "python")}
    assert {marker for marker in markers if not re.match(r"not run: \S", marker)} <= {
        *("run", "train", "test", "library", "search")
    }


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_resolve(page: str) -> None:
    for address in links(read(page)):
        path, _, heading = address.partition("#")
        if "://" in address:
            continue
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), address
        if heading:
            slugs = [slug(title) for title in re.findall(r"^#+ (.*)$", target.read_text(), re.M)]
            assert heading in slugs, address


def slug(title: str) -> str:
    """A heading's anchor on GitHub."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_files_and_tests_named_on_a_page_exist(page: str) -> None:
    code = re.findall(r"`([^`\n]+)`", prose(read(page)))
    roots = ("csnn_jax/", "csnn_torch/", "export/", "tests/", "benchmarks/", "results/", "docs/", ".ci/")
    assert [path for path in code if path.startswith(roots) and not (ROOT / path).exists()] == []
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    assert [name for name in code if re.fullmatch(r"test_\w+", name) and f"def {name}(" not in tests] == []


def test_all_files_name_the_same_version() -> None:
    version = re.search(r'^version = "(.*)"$', read("pyproject.toml"), re.M)[1]
    assert re.search(r"^version: (.*)$", read("CITATION.cff"), re.M)[1] == version
    assert re.search(r"^## (\d.*)$", read("CHANGELOG.md"), re.M)[1] == version
