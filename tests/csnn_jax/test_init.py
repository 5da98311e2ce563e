import ast
import doctest
import operator
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import csnn_jax
from csnn_jax import ops


def test_editors_see_the_same_names_as_python():
    tree = ast.parse(Path(csnn_jax.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom) and node.module
        seen |= {alias.name: node.module for alias in node.names}
    packages = dict.fromkeys(csnn_jax._PACKAGES, "csnn_jax")
    assert sorted(csnn_jax.__all__) == sorted(csnn_jax._HOME)
    assert {name: f"csnn_jax.{home}" for name, home in csnn_jax._HOME.items()} | packages == seen


@pytest.mark.parametrize("name", csnn_jax.__all__)
def test_every_name_exists(name):
    assert getattr(csnn_jax, name) is not None


def test_packages_need_no_import_of_their_own():
    code = "import csnn_jax; print(csnn_jax.data.pictures.read, csnn_jax.config.ModelConfig, csnn_jax.ops.pack)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and set(csnn_jax._PACKAGES) < set(dir(csnn_jax))


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (
            "csnn_jax.data; csnn_jax.data.load('mnist', (28, 28, 1))",
            "tensorflow_datasets csnn_jax.data.events",
        ),
        ("csnn_jax.config, csnn_jax.runs.rundir, csnn_jax.runs.metrics, csnn_jax.runs.footprint", "flax"),
    ],
)
def test_no_framework_is_imported_unless_needed(module, absent):
    heavy = {"jax", "torch", "tensorflow", "PIL", *absent.split()}
    code = f"import sys, {module}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("CSNN", "Config", "Trained", "ce_rate", "fit", "forward", "leaky", "load", "save", "spike", "trace"),
        *(f"ops.{name}" for name in ops.__all__ if name[0].islower()),
    ],
)
def test_docstring_examples_run(name, request, tmp_path, monkeypatch):
    text = operator.attrgetter(name)(csnn_jax).__doc__
    if "runs/first" in text:
        shutil.copytree(request.getfixturevalue("small_run"), tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    said = []
    result = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(examples, out=said.append)
    assert result.attempted > 2 and not result.failed, "".join(said)
