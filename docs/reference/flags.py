"""The page reference/flags.md: the flags of every command, from the dataclasses behind `--help`."""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, NamedTuple

from csnn_jax.devices.flags import JaxFlags
from csnn_jax.evaluate import EvaluateFlags
from csnn_jax.flags import GROUPS, TrainFlags, job_options
from csnn_jax.options import Option, flag_of, options_of
from csnn_jax.options.kinds import Kind
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
    found = [Group("", "", tuple(map(_flag, options_of(kind))))]
    if issubclass(kind, TrainFlags):
        job = job_options()
        for name, head in GROUPS.items():
            found.append(Group(name.capitalize(), head, tuple(_flag(one) for one in job if one.group == name)))
    return found


def _flag(one: Option) -> Flag:
    if one.kind.words == 0:
        text = f"Turns off: {one.help}" if one.default else one.help
        return Flag(flag_of(f"no_{one.name}") if one.default else one.flag, "off", "no value", text)
    return Flag(one.flag, _default(one.default), _values(one.kind), one.help)


def _default(value: Any) -> str:
    if value is MISSING:
        return "required"
    shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{shown}`" if shown else "none"


def _values(kind: Kind) -> str:
    """The values of an option: its choices as code, otherwise in words."""
    words = re.split("( or|, or)? one value per", kind.expected)[0].removeprefix("one of ")
    for name in kind.choices:
        words = re.sub(rf"(?<![\w`]){name}(?![\w`])", f"`{name}`", words, count=1)
    return words


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
