"""The public names: the same for Python, for editors, and for `import *`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import csnn_jax


def test_editors_see_the_names_that_python_finds():
    tree = ast.parse(Path(csnn_jax.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom) and node.module
        seen |= {alias.name: node.module for alias in node.names}
    assert sorted(seen) == sorted(csnn_jax.__all__) == sorted(csnn_jax._HOME)
    assert {name: f"csnn_jax.{home}" for name, home in csnn_jax._HOME.items()} == seen


@pytest.mark.parametrize("name", csnn_jax.__all__)
def test_every_name_is_there(name):
    assert getattr(csnn_jax, name) is not None


def test_importing_the_package_imports_no_jax():
    code = "import sys, csnn_jax, csnn_jax.data, csnn_jax.config; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
