"""`python -m csnn_jax`: lists the commands of csnn_jax, csnn_torch and export."""

import ast
import importlib.util
import sys
from importlib.metadata import distribution
from pathlib import Path


def main() -> int:
    for command in distribution("csnn-jax").entry_points.select(group="console_scripts"):
        called, _, purpose = _summary(command.module).partition("`: ")
        print(f"{called.removeprefix('`')}\n    {purpose}")
    print("Each has --help.")
    return 0


def _summary(module: str) -> str:
    """The first line of a module's docstring, without importing what the module needs."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return (ast.get_docstring(ast.parse(Path(spec.origin).read_text("utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
