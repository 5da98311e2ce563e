"""The rules of CONTRIBUTING: file sizes, no dispatch on attributes, imports in one direction, documented arguments."""

import ast
import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from documents import ROOT

import csnn_jax

PACKAGES = ("csnn_jax", "csnn_torch", "export")
LONGEST = 13
"""The maximum number of modules in a chain of imports."""
LINES = 500
"""The maximum length of a file."""
SOURCES = (".py", ".cc", ".c", ".h", ".js", ".css")


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {named(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}


@cache
def imported(module: str, lazily: bool) -> frozenset[str]:
    """The project's modules that a module imports at the top level; if `lazily`, also inside functions."""
    tree = ast.parse(MODULES[module].read_text())
    found = set()
    for node in ast.walk(tree) if lazily else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module for name in names}
    return frozenset(found & MODULES.keys() - {module})


@cache
def chain(module: str) -> tuple[str, ...]:
    """The longest chain of imports starting at a module."""
    return (module, *max((chain(other) for other in imported(module, False)), key=len, default=()))


def test_the_longest_chain_of_imports_is_short():
    longest = max(map(chain, MODULES), key=len)
    assert len(longest) <= LONGEST, " > ".join(longest)


def test_there_is_no_import_cycle_even_inside_functions():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " > ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in imported(module, True):
                visit(other, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_csnn_jax_imports_neither_of_the_others():
    lower = [module for module in MODULES if module.startswith("csnn_jax")]
    assert {other.split(".")[0] for module in lower for other in imported(module, True)} == {"csnn_jax"}


def test_references_import_nothing_of_the_product():
    """Except the one that takes a configuration apart."""
    paths = {*(ROOT / "tests/helpers").glob("reference_*.py")} - {ROOT / "tests/helpers/reference_settings.py"}
    wrong = re.compile(rf"^\s*(from|import) ({'|'.join(PACKAGES)})\b", re.M)
    assert len(paths) > 5 and [path.name for path in paths if wrong.search(path.read_text())] == []


def test_no_file_is_too_long():
    paths = [path for folder in (*PACKAGES, "benchmarks", "tests") for path in (ROOT / folder).rglob("*")]
    long = {path for path in paths if path.suffix in SOURCES and len(path.read_text().splitlines()) > LINES}
    assert sorted(str(path.relative_to(ROOT)) for path in long) == []


def test_nothing_probes_for_attributes():
    probes = [
        f"{module}, line {node.lineno}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) > 2)
    ]
    assert probes == []


def public() -> dict[str, object]:
    """What users call or extend: the package's names, neurons, readers of data sets, and parts of bundles."""
    modules = ["csnn_jax.neurons.neuron", "csnn_jax.data.source", "export.parts.part"]
    names = [("csnn_jax", name) for name in csnn_jax.__all__] + [("csnn_jax.data", "load")]
    for module in map(importlib.import_module, modules):
        names += [(module.__name__, name) for name, one in vars(module).items() if documented(module, name, one)]
    return {f"{module}.{name}": getattr(importlib.import_module(module), name) for module, name in names}


def documented(module: ModuleType, name: str, value: object) -> bool:
    is_own = isinstance(value, type | FunctionType) and value.__module__ == module.__name__
    return is_own and not name.startswith("_")


def arguments(value: object) -> list[str]:
    """The names that a function or a class takes, without self and those of Python's exceptions."""
    if not callable(value) or (isinstance(value, type) and issubclass(value, Exception)):
        return []
    return [name for name in inspect.signature(value).parameters if name not in ("self", "args", "kwargs")]


@pytest.mark.parametrize("name", public())
def test_public_functions_document_their_arguments(name):
    """As entries of Google's style. A configuration's fields have texts of their own, the help of their flags."""
    value = public()[name]
    if isinstance(value, type) and value.__name__.endswith("Config"):
        return
    text = inspect.getdoc(value) or ""
    missing = [one for one in arguments(value) if not re.search(rf"^ +(\w+, )*{one}(, \w+)*: ", text, re.M)]
    assert text and missing == []
