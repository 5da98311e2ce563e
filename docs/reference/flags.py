"""The page reference/flags.md: the flags of every command, from the dataclasses behind `--help`."""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import tyro

from csnn_jax.config.checks import flag_of
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.evaluate import EvaluateFlags
from csnn_jax.flag_groups import form, texts
from csnn_jax.flags import TrainFlags
from csnn_jax.predict import PredictFlags
from csnn_jax.report.__main__ import ReportFlags
from csnn_torch.compare.__main__ import CompareFlags
from csnn_torch.convert import ConvertFlags
from csnn_torch.first_difference.__main__ import FirstDifferenceFlags
from csnn_torch.train import TorchFlags
from export.__main__ import ExportFlags
from export.demo.__main__ import DemoFlags
from export.verify import VerifyFlags

COMMANDS: dict[str, type] = {
    "csnn_jax.train": JaxFlags,
    "csnn_jax.evaluate": EvaluateFlags,
    "csnn_jax.predict": PredictFlags,
    "csnn_jax.report": ReportFlags,
    "csnn_torch.train": TorchFlags,
    "csnn_torch.convert": ConvertFlags,
    "csnn_torch.compare": CompareFlags,
    "csnn_torch.first_difference": FirstDifferenceFlags,
    "export": ExportFlags,
    "export.verify": VerifyFlags,
    "export.demo": DemoFlags,
}
"""The dataclass of each command's flags. The first command's anchors have no prefix."""

_FIRST = next(iter(COMMANDS))
_HEAD = """\
# Flags

Every flag of every command, with the text from `--help`. A flag's name is a link to its row. If the default is `None`,
the text says what happens without the flag. Separate multiple values with spaces.
"""


class Flag(NamedTuple):
    """A row of a table.

    Attributes:
        name: `--weight-bits`, or the capitals in `--help` for a positional argument.
        default: the value if the flag isn't given.
        values: the values it accepts.
        text: what it does.
    """

    name: str
    default: str
    values: str
    text: str


@dataclass(frozen=True)
class Group:
    """The flags in one box of `--help`, with its title and first line, both empty for the first box."""

    title: str
    head: str
    flags: tuple[Flag, ...]


def groups(kind: type) -> list[Group]:
    """A command's flags, in the groups and order of its `--help`."""
    grouped = issubclass(kind, TrainFlags)
    shown = form(kind()) if grouped else kind
    hints = get_type_hints(shown, include_extras=True)
    inner = [one for one in fields(shown) if is_dataclass(hints[one.name])]
    told = {} if grouped else texts(kind)
    alone = tuple(_flag(one, hints[one.name], told.get(one.name)) for one in fields(shown) if one not in inner)
    found = [Group("", "", alone)]
    for one in inner:
        group, own = hints[one.name], get_type_hints(hints[one.name], include_extras=True)
        flags = tuple(_flag(member, own[member.name]) for member in fields(group))
        found.append(Group(one.name.capitalize(), group.__doc__ or "", flags))
    return found


def _flag(one: Any, hint: Any, text: str | None = None) -> Flag:
    """A field as a row; `text` is None if the annotation has it."""
    kind, *marks = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
    argument = next((mark for mark in marks if hasattr(mark, "metavar")), tyro.conf.arg())
    text = " ".join((text or argument.help or "").split())
    if kind is bool:
        name = f"no_{one.name}" if one.default else one.name
        return Flag(flag_of(name), "off", "no value", f"Turns off: {text}" if one.default else text)
    positional = tyro.conf.Positional in marks
    name = argument.metavar or one.name.upper() if positional else flag_of(one.name)
    return Flag(name, _default(one.default), _values(kind, None if positional else argument.metavar), text)


def _default(value: Any) -> str:
    if value is MISSING:
        return "required"
    shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{shown}`" if shown else "none"


_WORDS = {int: ("whole number", "whole numbers"), float: ("number", "numbers"), str: ("text", "words")}
"""Words for one value of a type and for several."""


def _values(kind: Any, metavar: str | None = None) -> str:
    """The values of a type, in words, or the metavar from `--help`."""
    if metavar:
        return f"`{metavar}`"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin in (Union, UnionType):
        return _any_of([one for one in arguments if one is not NoneType])
    if origin is not tuple:
        return _WORDS[kind][0]
    if arguments[-1] is Ellipsis:
        return _several(arguments[0])
    return f"{len(arguments)} {_WORDS[arguments[0]][1]}"


def _any_of(kinds: list[Any]) -> str:
    """The values of a union; if it's one value or a tuple of them, only the tuple."""
    several = [one for one in kinds if get_origin(one) is tuple]
    return _values(several[0]) if several else ", or ".join(map(_values, kinds))


def _several(kind: Any) -> str:
    return _WORDS[kind][1] if kind in _WORDS else f"one or more of {_values(kind)}"


def render() -> str:
    """The page, as Markdown."""
    parts = (part for module in COMMANDS for part in _command(module))
    return "\n".join([_HEAD, '<div class="reference" markdown>\n', *parts, "</div>\n"])


def _command(module: str) -> Iterator[str]:
    found, first = groups(COMMANDS[module]), groups(COMMANDS[_FIRST])
    shared = (
        {one.name for one in _all(first)} if module != _FIRST and issubclass(COMMANDS[module], TrainFlags) else set()
    )
    prefix = "" if module == _FIRST else _anchor(re.sub(r"csnn_jax\.|csnn_torch\.(?!train)|csnn_", "", f"{module}."))
    anchors = {one.name: ("" if one.name in shared else prefix) + one.name.lower().strip("-.") for one in _all(found)}
    addresses = {name: f"#{anchor}" for name, anchor in anchors.items()}
    positional = [one.name for one in found[0].flags if not one.name.startswith("--")]
    yield f"## {escaped(module)} {{ #{_anchor(module)} }}\n"
    yield f"{linked(_description(module), addresses)}\n"
    yield f"```sh\npython -m {' '.join([module, *positional])} [FLAGS]\n```\n"
    if shared:
        lacking = ", ".join(f"[`{one.name}`](#{one.name[2:]})" for one in _all(first) if one.name not in anchors)
        yield f"Accepts the [flags of `{_FIRST}`](#{_anchor(_FIRST)}) except {lacking}, and also:\n"
        found = [Group("", "", tuple(one for one in _all(found) if one.name not in shared))]
    for group in found:
        if group.title:
            yield f"### {group.title} {{ #{group.title.lower()}-flags }}\n\n{linked(group.head, addresses)}\n"
        yield _table(group.flags, anchors)


def _all(found: list[Group]) -> list[Flag]:
    return [one for group in found for one in group.flags]


def _anchor(module: str) -> str:
    """The anchor of a command's heading."""
    return module.replace(".", "-").replace("_", "-")


def _description(module: str) -> str:
    """The first text in a command's `--help`."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    name = module if spec.submodule_search_locations is None else f"{module}.__main__"
    return importlib.import_module(name).DESCRIPTION


def _table(flags: tuple[Flag, ...], anchors: Mapping[str, str]) -> str:
    lines = ["| flag | default | values | what it does |", "|---|---|---|---|"]
    for one in flags:
        name = f"[`{one.name}`](#{anchors[one.name]}){{ #{anchors[one.name]} }}"
        others = {other: f"#{anchor}" for other, anchor in anchors.items() if other != one.name}
        lines.append(f"| {name} | {one.default} | {one.values} | {linked(one.text, others)} |")
    return "\n".join(lines) + "\n"


def linked(text: str, addresses: Mapping[str, str]) -> str:
    """A text in Markdown, with its flags as code linked to their addresses."""

    def link(code: str) -> str:
        name = code.strip("`")
        return f"[`{name}`]({addresses[name]})" if name in addresses else f"`{name}`"

    parts = re.split(r"(`[^`]+`|--[a-z][a-z-]*)", text)
    parts[::2] = map(escaped, parts[::2])
    parts[1::2] = map(link, parts[1::2])
    return "".join(parts)


def escaped(text: str) -> str:
    """Text with characters escaped that Markdown would treat as markup."""
    return re.sub(r"([*_|\[\]])", r"\\\1", text.replace("<", "&lt;"))
