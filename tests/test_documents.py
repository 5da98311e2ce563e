"""The README and the pages of docs/: what they show runs as it stands, and what they name exists.

The flags of their commands are read each time; the commands run where tests that take long do, the README's more often.

Every block of commands or Python has a comment above it. `run`: it is run here, a page's blocks in order in one folder.
`prints`: what the block before it prints. `train`, `test`, `library`: see below. `not run: REASON`: counted in
`NOT_RUN`. The pages of docs/extend have markers of their own, see test_guides.py.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from string import Template

import pytest
from commands import ENVIRONMENT, UNOPTIMISED
from documents import PAGES, ROOT, Block, blocks, links, marked, prose, read
from idx_files import write_folder
from PIL import Image

import csnn_jax
from csnn_jax import data
from csnn_jax.config import Config, ModelConfig
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.errors import UserError
from csnn_jax.evaluate import EvaluateFlags
from csnn_jax.flags import TrainFlags, parse, parse_train
from csnn_jax.markdown import two_digits
from csnn_jax.predict import PredictFlags
from csnn_jax.report.__main__ import ReportFlags
from csnn_torch.compare.__main__ import CompareFlags
from csnn_torch.convert import ConvertFlags
from csnn_torch.train import TorchFlags
from export.__main__ import ExportFlags
from export.demo.__main__ import DemoFlags
from export.verify import VerifyFlags

README = read("README.md")
NOT_RUN = {
    "docs/train.md, docs/compare.md and docs/deploy.md run these commands": 1,
    "installs packages": 2,
    "installs torch and snnTorch": 1,
    "needs data that have to be downloaded": 1,
    "installs the packages that exports need": 1,
    "installs TensorFlow": 1,
    "installs the package that reads event files": 1,
    "installs CUDA": 1,
    "installs a tool of others": 14,
    "tests/test_site.py builds it": 1,
    "needs several GPUs": 1,
    "needs a GPU; tests/benchmarks/test_gpu.py runs it without": 1,
    "needs several machines": 2,
    "needs an idle machine for minutes": 3,
    "takes minutes, and its parts are tested": 2,
    "needs npm; tests/export/demo runs it": 1,
    ".ci/run runs these": 2,
    "takes minutes, for it compiles for three machines": 1,
    "needs root, for the compiler and the emulator of a Cortex-M7": 1,
    "needs a compiler and an emulator of a Cortex-M7; tests/export/c/test_microcontroller.py runs it": 1,
    "rewrites the library that other tests have loaded; tests/csnn_jax/engine/test_build.py builds": 2,
    "rewrites the library that other tests have loaded, and needs root for the emulator": 1,
}
"""Reasons for which blocks are not run, and how many have each: one more has to be decided on."""

SHORT = "--max-iters 2 --eval-every 0 --time-steps 4"
TINY = f"{SHORT} --conv-channels 4 --hidden 16"
SHORTER = (
    ("--resume", "--max-iters 4"),
    ("tfds:halves", "--max-iters 2 --eval-every 0 --hidden 16"),
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
"""What is added here to a command that takes minutes as it stands: the first entry whose left side it holds."""

QUICKLY = ENVIRONMENT | {"XLA_FLAGS": UNOPTIMISED}
"""Optimising takes XLA longer than these short commands take to run."""

FLAGS = {
    "csnn_jax.train": JaxFlags,
    "csnn_jax.evaluate": EvaluateFlags,
    "csnn_jax.predict": PredictFlags,
    "csnn_jax.report": ReportFlags,
    "csnn_torch.train": TorchFlags,
    "csnn_torch.convert": ConvertFlags,
    "csnn_torch.compare": CompareFlags,
    "export": ExportFlags,
    "export.verify": VerifyFlags,
    "export.demo": DemoFlags,
}
"""What the flags of each command are read into."""

FOLDERS = {"CONTRIBUTING.md": ROOT}
"""Pages whose commands run in the clone; the others' run in a folder of their own."""


@pytest.fixture
def folder(small_run: Path, tmp_path: Path) -> Path:
    """Where a reader of the pages stands: a run, a picture, and the four IDX files of another data set."""
    shutil.copytree(small_run, tmp_path / "runs" / "first")
    test = data.load("mnist", (28, 28, 1)).test
    Image.fromarray(test.images[0, :, :, 0]).save(tmp_path / "digit.png")
    few = test.images[:200, :, :, 0], test.labels[:200]
    (tmp_path / "fashion").mkdir()
    write_folder(tmp_path / "fashion", few, few)
    return tmp_path


def script(block: Block) -> str:
    """The commands of a block, with this Python for the clone's, the small run for RUN, and `SHORTER`."""
    here = {"RUN": "runs/first", ".venv/bin/python": sys.executable, ".venv/bin/pytest": f"{sys.executable} -m pytest"}
    lines = []
    for line in block.text.replace("\\\n", " ").splitlines():
        command, _, _ = line.partition(" #")
        added = next((flags for held, flags in SHORTER if held in command), "")
        alone = command.removesuffix(" &")
        whole = f"{alone} {added}{command.removeprefix(alone)}"
        lines.append(re.sub(r"\bRUN\b|\.venv/bin/\w+", lambda found: here[found[0]], whole))
    return "\n".join(lines)


def execute(block: Block, folder: Path) -> str:
    """Runs a block; what it printed."""
    if block.language == "sh":
        command = ["bash", "-euo", "pipefail", "-c", script(block)]
    else:
        command = [sys.executable, "-c", block.text]
    done = subprocess.run(command, cwd=folder, env=QUICKLY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"line {block.line}: {done.stdout}{done.stderr}"
    return done.stdout


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """The module and the arguments of every command of ours in a block, with its variables put in."""
    variables = dict(re.findall(r'^(\w+)="(.*)"$', block.text, re.M))
    text = Template(block.text.replace("\\\n", "")).safe_substitute(variables)
    found = re.findall(r"python -m ((?:csnn_jax|csnn_torch|export)\S*)([^&|>\n]*)", text)
    return [(module, shlex.split(re.sub(r"\bN\b", "1", words), comments=True)) for module, words in found]


def take(module: str, arguments: list[str]) -> None:
    """Reads the flags of a command as it does itself; raises UserError for one that it does not take."""
    kind = FLAGS[module]
    if issubclass(kind, TrainFlags):
        parse_train(kind, module, "", arguments, lambda flags: Config(), lambda path: ModelConfig())
    else:
        parse(kind, module, "", arguments)


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(commands, blocks(read(page))))])
def test_commands_take_the_flags_that_a_page_shows(page: str) -> None:
    for block in blocks(read(page)):
        for module, arguments in commands(block):
            if module == "csnn_jax.engine.build":
                assert arguments == []
                continue
            try:
                take(module, arguments)
            except UserError as error:  # a guide adds the values that it shows
                assert page.startswith("docs/extend/") and str(error).startswith("invalid choice"), error


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.rare] if page.startswith("docs/") else [])
        for page in PAGES
        if marked(page, "run") and not page.startswith("docs/extend/")
    ],
)
def test_what_a_page_shows_runs(page: str, folder: Path) -> None:
    printed = ""
    for block in marked(page, "run", "prints"):
        if block.marker == "prints":
            assert printed == block.text, f"line {block.line}"
        else:
            printed = execute(block, FOLDERS.get(page, folder))


@pytest.mark.slow
def test_the_train_command_trains(tmp_path: Path) -> None:
    """But for the installation before it: the packages are here."""
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
    found = csnn_jax.load(tmp_path / "runs" / "own").classify(data.load("mnist", (28, 28, 1)).test.images[:100])
    assert len(set(found.classes)) > 2


def test_every_block_is_run_or_says_why_not() -> None:
    pages = [page for page in PAGES if not page.startswith("docs/extend/")]
    found = [block for page in pages for block in blocks(read(page)) if block.language in ("sh", "python")]
    reasons = [block.marker.removeprefix("not run: ") for block in found if block.marker.startswith("not run: ")]
    assert Counter(reasons) == NOT_RUN
    assert {block.marker for block in found} - {f"not run: {reason}" for reason in NOT_RUN} == {
        *("run", "train", "test", "library")
    }


def test_the_printed_lines_are_those_of_the_recorded_job() -> None:
    (block,) = marked("README.md", "figure: default job")
    recorded = read("results/default_job.txt").splitlines()
    assert len(block.text.splitlines()) == 4 and set(block.text.splitlines()) <= set(recorded)


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    curves = json.loads(read("results/first_epoch.json"))["curves"]
    assert f"after {curves['csnn_jax']['minutes'][-1]:.1f} minutes at {curves['csnn_jax']['accuracy'][-1]:.1%}" in (
        " ".join(README.split()).replace(" %", "%")
    )
    for side in ("snnTorch", "snnTorch, channels last"):
        assert f"through {curves[side]['iterations']} " in " ".join(README.split())
    step = json.loads(read("results/train_step.json"))
    faster = step["times_faster"]["snntorch"]
    text = " ".join(README.split())
    times = two_digits(faster["training"]), two_digits(faster["inference"])
    assert f"{times[0]} times and inference {times[1]} times as fast as snnTorch's tutorial loop" in text
    *densities, last = (two_digits(100 * value) for value in step["csnn_jax"]["densities"].values())
    assert f"at a step, {', '.join(densities)} and {last} % of the neurons of the four layers spike" in text
    jobs = step["default_job_s_extrapolated"]
    ours, theirs = (
        f"{two_digits(jobs[side] / 60)} minutes and {step[name]['peak_memory_mb'] / 1000:.1f} GB"
        for side, name in (("event", "csnn_jax"), ("snntorch", "snntorch"))
    )
    assert f"The default job, extrapolated, takes {ours}, and {theirs} in snnTorch" in text
    compared = json.loads(read("results/comparison/comparison.json"))["spikes"]
    exact = [spikes for spikes in compared if spikes["dtype"] == "float64" and not spikes["refused"]]
    assert sum(spikes["different"] for spikes in exact) == 0
    assert f"0 of {sum(spikes['compared'] for spikes in exact) / 1e9:.1f} billion spikes differ" in text
    outputs = [json.loads(path.read_text()) for path in (ROOT / "results/targets").glob("*.json")]
    equal = [tool for tool in outputs if any(_equal(trial) for trial in tool["trials"])]
    assert len(equal) == 10 and "Ten other tools ran files of a bundle with equal spikes" in text


def _equal(trial: dict) -> bool:
    return trial.get("different_spikes", "").startswith("0 of ")


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
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
    """A heading as GitHub names it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_files_and_tests_that_are_named_exist(page: str) -> None:
    code = re.findall(r"`([^`\n]+)`", prose(read(page)))
    roots = ("csnn_jax/", "csnn_torch/", "export/", "tests/", "benchmarks/", "results/", "docs/", ".ci/")
    assert [path for path in code if path.startswith(roots) and not (ROOT / path).exists()] == []
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    assert [name for name in code if re.fullmatch(r"test_\w+", name) and f"def {name}(" not in tests] == []


def test_all_name_the_same_version() -> None:
    version = re.search(r'^version = "(.*)"$', read("pyproject.toml"), re.M)[1]
    assert re.search(r"^version: (.*)$", read("CITATION.cff"), re.M)[1] == version
    assert re.search(r"^## (\d.*)$", read("CHANGELOG.md"), re.M)[1] == version
