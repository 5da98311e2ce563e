"""The rules of CONTRIBUTING: file sizes, no dispatch on attributes, imports in one direction, documented arguments."""

import ast
import importlib
import inspect
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType

import pytest
from documents import ROOT

from csnn_jax.config import DataConfig, ModelConfig, TrainConfig
from csnn_jax.neurons import NEURONS

PACKAGES = ("csnn_jax", "csnn_torch", "export")
LONGEST = 13
"""The maximum number of modules in a chain of imports."""
LINES = 500
"""The maximum length of a file."""
IMPORTS = (ast.Import, ast.ImportFrom)
SOURCES = (".py", ".cc", ".c", ".h", ".js", ".css")


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {named(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}


@cache
def imported(module: str, lazily: bool) -> frozenset[str]:
    """The project's modules that a module imports at the top level; if `lazily`, also inside functions."""
    tree = ast.parse(MODULES[module].read_text())
    imports = set()
    for node in ast.walk(tree) if lazily else tree.body:
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            imports |= {name if name in MODULES else node.module for name in names}
    return frozenset(imports & MODULES.keys() - {module})


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


def test_the_reference_imports_nothing_that_it_is_a_reference_for():
    """Whatever `reference_settings`, which passes jobs to it, imports."""
    helpers = {path.stem: path for path in (ROOT / "tests/helpers").glob("*.py")}
    references = {name for name in helpers if name.startswith("reference_")} - {"reference_settings"}
    for name in references:
        lines = [node for node in ast.walk(ast.parse(helpers[name].read_text())) if isinstance(node, IMPORTS)]
        modules = {one.name for node in lines if isinstance(node, ast.Import) for one in node.names}
        modules |= {node.module or "" for node in lines if isinstance(node, ast.ImportFrom)}
        assert modules & helpers.keys() <= references, name
        assert {module.split(".")[0] for module in modules}.isdisjoint({*PACKAGES, "torch", "snntorch"}), name


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


OPEN = ("csnn_jax", "csnn_jax.ops", "csnn_jax.data")
"""The packages whose `__all__` users call."""
EXTENDED = ("csnn_jax.neurons.neuron", "csnn_jax.data.source", "csnn_jax.config.operations", "export.parts.part")
"""The modules that a new neuron, data set, operation or part of bundles uses."""


def public() -> dict[str, object]:
    """The functions and classes that users call or extend, and the methods of `csnn_jax.__all__`."""
    values = {}
    for package in map(importlib.import_module, OPEN):
        values |= {f"{package.__name__}.{name}": getattr(package, name) for name in package.__all__}
    for module in map(importlib.import_module, EXTENDED):
        own = {name: one for name, one in vars(module).items() if getattr(one, "__module__", "") == module.__name__}
        values |= {f"{module.__name__}.{name}": one for name, one in own.items() if not name.startswith("_")}
    for neuron in NEURONS.values():
        values[f"{neuron.step.__module__}.step"] = neuron.step
    methods = {
        f"{path}.{name}": getattr(value, name)
        for path, value in values.items()
        if path.startswith("csnn_jax.") and path.count(".") == 1 and isinstance(value, type)
        for name, one in vars(value).items()
        if isinstance(one, FunctionType | classmethod) and not name.startswith("_")
    }
    return {path: value for path, value in (values | methods).items() if isinstance(value, Callable)}


def arguments(value: object) -> list[str]:
    """The names that a function or a class takes, without self and those of Python's exceptions."""
    if isinstance(value, type) and issubclass(value, Exception):
        return []
    if isinstance(value, type) and "__init__" in vars(value):
        value = value.__init__
    return [name for name in inspect.signature(value).parameters if name not in ("self", "args", "kwargs")]


@pytest.mark.parametrize("name", public())
def test_public_functions_document_their_arguments(name):
    """As entries of Google's style. The fields of jobs have texts of their own, the help of their flags."""
    value = public()[name]
    text = inspect.getdoc(value) or ""
    assert text
    if value not in (ModelConfig, DataConfig, TrainConfig):
        missing = [one for one in arguments(value) if not re.search(rf"^ +(\w+, )*{one}(, \w+)*: ", text, re.M)]
        assert missing == []


ENTRIES = re.compile(r"^Args:\n((?:(?: .*)?\n?)*)", re.M)


def documented(function: ast.FunctionDef) -> list[str]:
    """What the entries of a docstring's arguments are named."""
    section = ENTRIES.search(ast.get_docstring(function) or "")
    return re.findall(r"^    (\S.*?): ?", section[1], re.M) if section else []


@pytest.mark.parametrize("package", PACKAGES)
def test_documented_arguments_are_in_the_signature(package):
    """One for each entry; otherwise the site isn't built."""
    unknown = [
        f"{module}.{function.name}: {name}"
        for module, path in MODULES.items()
        if module.split(".")[0] == package
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for name in documented(function)
        if name.lstrip("*") not in [one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)]
    ]
    assert unknown == []
