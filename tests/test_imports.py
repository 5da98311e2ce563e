"""Imports go one way, and the way from a command to what it rests on is short."""

import ast
from functools import cache
from pathlib import Path

from documents import ROOT

PACKAGES = ("csnn_jax", "csnn_torch", "export")
LONGEST = 14
"""Modules in a row, each of which imports the next: 18 in version 0.4, where nobody counted them."""


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {named(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}


@cache
def imported(module: str, lazily: bool) -> frozenset[str]:
    """The project's modules that one imports: at its top, or also inside of functions."""
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
    """The longest chain of imports from a module on."""
    return (module, *max((chain(other) for other in imported(module, False)), key=len, default=()))


def test_the_longest_chain_of_imports_is_short():
    longest = max(map(chain, MODULES), key=len)
    assert len(longest) <= LONGEST, " > ".join(longest)


def test_there_is_no_cycle_not_even_one_inside_of_functions():
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
