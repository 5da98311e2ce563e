"""The page reference/support.md: which options work with which engine, framework and file, according to the code.

`python -m reference.support` prints it. It runs in a separate process, because it imports JAX and needs two devices.
"""

import functools
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from reference import options
from reference.flags import COMMANDS, groups, linked
from reference.options import Option
from reference.targets import TARGETS, Fields, Question, ask

from csnn_jax.engine import library
from csnn_jax.errors import UserError
from csnn_jax.options import words_of

_HEAD = """\
---
hide:
  - toc
---

# Support matrix

This page shows which options work with which engine, framework and exported file. The answers come from the code: when
this site was built, for version {version}, every engine, trainer and exporter was tried on a job with one option
changed. The number after a *no* links to the reason.

| column | meaning |
|---|---|
| event engine, scan engine | the [engines](../engines.md); `--engine auto` uses the first if it can |
| snnTorch | `csnn_torch.train`, which trains the same network in [snnTorch](../coming-from-snntorch.md) |
| C, ONNX, NIR | the files in a [bundle](../deploy.md); {readers} each need their own NIR file |
"""
_USUAL = """
NIR can't express the default network, so in all tables except the first, its columns are for networks trained with
`{flags}`.
"""
YES = "✓"


class Notes:
    """Numbers the reasons, each text once."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}

    def mark(self, text: str) -> str:
        """The link to a note, Markdown."""
        text = re.sub(r"arrays:\S+\.npz", "arrays:FILE.npz", text)
        number = self._texts.setdefault(text[0].upper() + text[1:], len(self._texts) + 1)
        shown = text.replace('"', "'")
        return f'[{number}](#reason-{number} "{shown}")'

    def listed(self) -> str:
        """All notes."""
        lines = (
            f'{number}. <span id="reason-{number}"></span>{linked(text, _addresses())}'
            for text, number in self._texts.items()
        )
        return "\n".join(lines)


def render() -> str:
    """The page, as Markdown.

    Raises:
        UserError: the event engine isn't built, so every answer about it would be no.
    """
    if not library.available():
        raise UserError(library.failure())
    notes, usual = Notes(), {name: ask(target, Question({})).needs for name, target in TARGETS.items()}
    readers = [name.partition("(")[2].strip(")") for name in TARGETS if "(" in name]
    head = _HEAD.format(version=version("csnn-jax"), readers=f"{', '.join(readers[:-1])} and {readers[-1]}")
    if needed := {name: value for needs in usual.values() for name, value in needs.items()}:
        head += _USUAL.format(flags=_flags(needed))
    with tempfile.TemporaryDirectory() as folder:
        of_command = options.of_command()
        sections = {"Whole jobs": options.jobs(), "Devices and runs": [*options.platforms(), *of_command.pop("")]}
        for title, rows in of_command.items():
            sections[title.capitalize()] = [*(options.data_sets(Path(folder)) if title == "data" else ()), *rows]
        parts = [f"## {title}\n\n{table(rows, notes, usual)}" for title, rows in sections.items()]
    return "\n".join(
        [head, '<div class="reference" markdown>\n', *parts, "</div>\n", f"## Reasons\n\n{notes.listed()}\n"]
    )


def _flags(needs: Fields) -> str:
    return " ".join(word for name, value in needs.items() for word in words_of(name, value))


def table(rows: Sequence[Option], notes: Notes, usual: Mapping[str, Fields]) -> str:
    """The table of some options, and a line on the flags that work everywhere and don't choose among words.

    Args:
        rows: the options.
        notes: collects the reasons.
        usual: what each column needs for the default job, and so for most options.
    """
    grouped: dict[str, dict[tuple[str, ...], list[Option]]] = {}
    for row in rows:
        grouped.setdefault(row.name, {}).setdefault(tuple(cells(row.question, notes, usual)), []).append(row)
    everywhere, lines = [], []
    for name, by_cells in grouped.items():
        for found, same in by_cells.items():
            if len(by_cells) == 1 and set(found) == {YES} and not any(one.choice for one in same):
                everywhere.append(linked(name, _addresses()))
            else:
                lines.append(
                    f"| {linked(name, _addresses())} | {', '.join(one.value for one in same)} | {' | '.join(found)} |"
                )
    head = f"| option | value | {' | '.join(TARGETS)} |\n|---|---|{':-:|' * len(TARGETS)}"
    last = f"\nThese work everywhere: {', '.join(everywhere)}.\n" if everywhere else ""
    return "\n".join([head, *lines, last])


def cells(question: Question, notes: Notes, usual: Mapping[str, Fields]) -> Iterator[str]:
    """The cell of each column, Markdown."""
    for name, target in TARGETS.items():
        answer = ask(target, question)
        more = {key: value for key, value in answer.needs.items() if usual[name].get(key) != value}
        if answer.reason is not None:
            yield f"no&nbsp;{notes.mark(answer.reason)}"
        else:
            yield f"{YES}&nbsp;{notes.mark(f'with {_flags(more)}')}" if more else YES


@functools.cache
def _addresses() -> dict[str, str]:
    """The address of each flag's row on the page of flags."""
    first = groups(next(iter(COMMANDS.values())))
    return {one.name: f"flags.md#{one.name.strip('-')}" for group in first for one in group.flags}


if __name__ == "__main__":
    print(render(), end="")
