"""Single-operator changes of the product's source: which ones exist, and how they are drawn.

A change is one of: another comparison; another sign (+ and -, * and /, a dropped minus); another bound (min and max,
`and` and `or`, a dropped `not`); a whole number one larger; a dropped statement.

Changes that can't matter are left out by these rules, which are older than any run:

1. Text: docstrings, comments, string literals, f-strings, and whatever is inside a call of an exception, `print`,
   `warn`, `say`, `note` or `log`. A test asserts what a message names, not how it's worded.
2. Types: annotations, `if TYPE_CHECKING`, overloads, protocols, `Literal` and the bodies of abstract methods.
3. Assertions, and `del` of an argument.
4. Speed: constants in capitals whose docstring or comment says that they only affect speed or memory (SPEED below);
   options of the compiler; functions that only measure time (TIMERS below).
5. Pages: CSS, JavaScript, figures and the layout of HTML and Markdown (LAYOUT below). Tests look at them in a browser.
6. A number in a slice, an index or a format of text that's only displayed is treated like any other; a comparison is
   never left out because its change is believed to be equivalent.
"""

import ast
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("csnn_jax", "csnn_torch", "export")
LAYOUT = (
    "csnn_jax/document/",
    "csnn_jax/figures/",
    "csnn_jax/report/",
    "export/report/",
    "export/demo/",
    "csnn_torch/compare/figure.py",
)
TIMERS = ("csnn_torch/compare/cost.py", "csnn_torch/compare/cost.py", "csnn_torch/compare/worker.py")
SPEED = {"_WIDTHS", "_FEW", "SETTLING", "LEAST", "PIECE", "_CPU_OPTIONS", "BATCH"}
SAID = {"print", "warn", "say", "note", "log", "announce", "write"}

COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is": "is not", "is not": "is"}
COMPARISONS |= {"in": "not in", "not in": "in"}
SIGNS = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*", "<<": ">>", ">>": "<<", "&": "|", "|": "&"}
BOUNDS = {"and": "or", "or": "and", "min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}
BOUNDS |= {"any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}


@dataclass(frozen=True, order=True)
class Mutation:
    """A change of one place of a file.

    Attributes:
        path: relative to the repository.
        start, end: the bytes that are replaced.
        new: what replaces them.
        kind: comparison, sign, bound, off by one, or dropped statement.
    """

    path: str
    start: int
    end: int
    new: str
    kind: str

    def apply(self, root: Path) -> None:
        """Changes the file in a copy of the repository."""
        file = root / self.path
        source = file.read_bytes()
        file.write_bytes(source[: self.start] + self.new.encode() + source[self.end :])

    def line(self, root: Path) -> int:
        """The number of the changed line, from 1."""
        return (root / self.path).read_bytes()[: self.start].count(b"\n") + 1

    def describe(self, root: Path) -> dict[str, object]:
        """Place, line and change, for a table."""
        source = (root / self.path).read_bytes()
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.end)
        before = source[first:last].decode()
        after = (source[first : self.start] + self.new.encode() + source[self.end : last]).decode()
        return {
            "path": self.path,
            "line": self.line(root),
            "kind": self.kind,
            "before": before.strip(),
            "after": after.strip(),
        }


def sources(root: Path) -> list[Path]:
    """The files whose changes are drawn."""
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*"))]
    kinds = (".py", ".cc", ".c", ".h")
    return [path for path in paths if path.suffix in kinds and not _is_left_out(str(path.relative_to(root)))]


def _is_left_out(path: str) -> bool:
    return path.startswith(LAYOUT) or path in TIMERS


def draw(root: Path, seed: int, number: int) -> list[Mutation]:
    """Draws changes, each from another file: first the file, weighted by its code, then a kind, then a place."""
    generator = random.Random(seed)
    by_file = {path: mutations for path in sources(root) if (mutations := list(of_file(root, path)))}
    paths = sorted(by_file)
    drawn: list[Mutation] = []
    while len(drawn) < number:
        path = generator.choices(paths, [len(by_file[path]) for path in paths])[0]
        kinds = sorted({mutation.kind for mutation in by_file[path]})
        kind = generator.choice(kinds)
        mutation = generator.choice(sorted(one for one in by_file[path] if one.kind == kind))
        if mutation not in drawn:
            drawn.append(mutation)
    return drawn


def of_file(root: Path, path: Path) -> Iterator[Mutation]:
    """Every change of a file that the rules allow."""
    name = str(path.relative_to(root))
    if path.suffix == ".py":
        yield from _Python(name, path.read_bytes()).found
    else:
        yield from _of_c(name, path.read_text())


class _Python(ast.NodeVisitor):
    """Collects the changes of a Python file."""

    def __init__(self, name: str, source: bytes):
        self._name, self._source = name, source
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self.found: list[Mutation] = []
        self.visit(ast.parse(source))

    def _add(self, kind: str, start: int, end: int, new: str) -> None:
        self.found.append(Mutation(self._name, start, end, new, kind))

    def _span(self, node: ast.AST) -> tuple[int, int]:
        start = self._lines[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return start, self._lines[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def _between(self, left: ast.AST, right: ast.AST, words: dict[str, str], kind: str) -> None:
        """The operator between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        text = self._source[start:end].decode()
        for word in sorted(words, key=len, reverse=True):
            pattern = rf"\b{word}\b" if word[0].isalpha() else re.escape(word)
            if match := re.search(pattern, text):
                self._add(kind, start + match.start(), start + match.end(), words[word])
                return

    def visit_body(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if any(
            "overload" in ast.dump(decorator) or "abstract" in ast.dump(decorator) for decorator in node.decorator_list
        ):
            return
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        self.visit_body(node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if not any("Protocol" in ast.dump(base) for base in node.bases):
            self.visit_body(node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None and not _names(node.target) & SPEED:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if "Literal" in ast.dump(node.value) or any(_names(target) & SPEED for target in node.targets):
            return
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.dump(node.test):
            self.generic_visit(node)
            if not node.orelse and all(isinstance(one, ast.Raise | ast.Expr | ast.AugAssign) for one in node.body):
                self._drop(node)
        else:
            self.visit_body(node.orelse)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and not _names(node.value.func) & SAID:
            self._drop(node)
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._drop(node)
        self._between(node.target, node.value, {f"{a}=": f"{b}=" for a, b in SIGNS.items()}, "sign")
        self.visit(node.value)

    def _drop(self, node: ast.stmt) -> None:
        self._add("dropped statement", *self._span(node), "pass")

    def visit_Assert(self, node: ast.Assert) -> None: ...
    def visit_Delete(self, node: ast.Delete) -> None: ...
    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...

    def visit_Raise(self, node: ast.Raise) -> None: ...

    def visit_Call(self, node: ast.Call) -> None:
        names = _names(node.func)
        if names & SAID or any(name.endswith(("Error", "Warning")) for name in names):
            return
        for name in names & BOUNDS.keys():
            _, end = self._span(node.func)
            self._add("bound", end - len(name), end, BOUNDS[name])
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, right in zip((node.left, *node.comparators), node.comparators, strict=False):
            self._between(left, right, COMPARISONS, "comparison")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not (isinstance(node.op, ast.BitOr) and _is_type(node)):
            self._between(node.left, node.right, SIGNS, "sign")
            self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, {"and": "or", "or": "and"}, "bound")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        start, _ = self._span(node)
        kinds = {ast.USub: "sign", ast.Not: "bound"}
        if type(node.op) in kinds:
            self._add(kinds[type(node.op)], start, self._span(node.operand)[0], "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if type(node.value) is int:
            self._add("off by one", *self._span(node), str(node.value + 1))


def _names(node: ast.AST) -> set[str]:
    """The name that an expression ends in."""
    if isinstance(node, ast.Attribute):
        return {node.attr}
    return {node.id} if isinstance(node, ast.Name) else set()


def _is_type(node: ast.BinOp) -> bool:
    """Whether a | b is a type: its parts are names in capitals, None or subscripts."""
    parts = [node.left, node.right]
    while isinstance(parts[0], ast.BinOp):
        parts = [parts[0].left, parts[0].right, *parts[1:]]
    known = {"int", "str", "float", "bool", "bytes", "list", "tuple", "dict", "set", "type"}
    return all(
        (isinstance(part, ast.Constant) and part.value is None)
        or any(
            name in known or name[0].isupper()
            for name in _names(part.value if isinstance(part, ast.Subscript) else part)
        )
        for part in parts
    )


C_TOKENS = re.compile(
    r"""(?P<skip>//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|^[ \t]*\#[^\n]*(?:\\\n[^\n]*)*"""
    r"""|<[\w:, *&]+>\(?|static_assert\([^;]*;|assert\([^;]*;|template\s*<[^>]*>)"""
    r"""|(?P<comparison>(?<=[\w)\] ])(?:<=|>=|==|!=|(?<!<)<(?!<|=)|(?<!>|-)>(?!>|=))(?=[ \w(]))"""
    r"""|(?P<logic>&&|\|\|)|(?P<sign>(?<=[\w)\]] )[-+*/](?= [\w(])|(?<=[\w)\]] )[-+]=(?= ))"""
    r"""|(?P<number>(?<![\w.])\d+(?![\w.]))|(?P<bound>\b(?:min|max)\b(?=[(<]))""",
    re.S | re.M | re.X,
)
STATEMENT = re.compile(
    r"^[ \t]+(?!return|break|continue|const|static|typedef|using|auto|case|default|goto|else|assert\()"
    r"[A-Za-z_][^;{}\n]*;$",
    re.M,
)
DECLARATION = re.compile(r"^\s*(?:\w+(?:::\w+)*[\s*&<>,\w:]*\s)?[\w:]+\s+\**\w+(?:\[[^\]]*\])?\s*(?:=|;|,)")


def _of_c(name: str, source: str) -> Iterator[Mutation]:
    """The changes of a C or C++ file."""
    encoded = len(source.encode()) == len(source)

    def made(kind: str, start: int, end: int, new: str) -> Mutation:
        before = start if encoded else len(source[:start].encode())
        return Mutation(name, before, before + len(source[start:end].encode()), new, kind)

    for match in C_TOKENS.finditer(source):
        word = match[0]
        if match["comparison"]:
            yield made("comparison", *match.span(), COMPARISONS[word])
        elif match["logic"]:
            yield made("bound", *match.span(), {"&&": "||", "||": "&&"}[word])
        elif match["sign"]:
            yield made("sign", *match.span(), {"+=": "-=", "-=": "+="}.get(word) or SIGNS[word])
        elif match["number"]:
            yield made("off by one", *match.span(), str(int(word) + 1))
        elif match["bound"]:
            yield made("bound", *match.span(), BOUNDS[word])
    for match in STATEMENT.finditer(source):
        is_assignment = re.match(r"\s+[\w.\->\[\]*() ]+ [-+*/|&]?= ", match[0]) or re.match(
            r"\s+[\w.:\->]+\(", match[0]
        )
        if is_assignment and not DECLARATION.match(match[0]):
            yield made("dropped statement", match.start(), match.end(), ";")
