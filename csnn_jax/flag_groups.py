"""Groups the training flags for `--help`: a box per group, regardless of the dataclass that holds them."""

import ast
import functools
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from csnn_jax.config import RECORDED, DataConfig, ModelConfig, NeuronFields, TrainConfig

T = TypeVar("T")

TITLES = {
    "data": "The data set, and how images become the network's input.",
    "network": "The layers, and the number of time steps.",
    "neuron": "The neurons of the layers. docs/design.md has the equations.",
    "training": "Duration, initial weights, evaluations, checkpoints and engine.",
    "optimization": "The loss and the optimizer. docs/optimization.md has the formulas.",
}
"""The groups in the order of the help, and the heading of each."""

_OF_CLASS = {DataConfig: "data", ModelConfig: "network", TrainConfig: "training"}
_MEMBERS = {
    "data": ("dataset", "validation", "encoding", "scale"),
    "neuron": (*(one.name for one in fields(NeuronFields)), "reset", "output", "surrogate", "slope"),
    "optimization": (
        *("optimizer", "lr", "momentum", "schedule", "warmup", "weight_decay", "clip_norm", "dropout", "ema"),
        *("loss", "label_smoothing", "rate_target", "rate_weight"),
    ),
}  # in the order of the help; other fields follow, in the group of their class
_OF_FIELD = {name: group for group, names in _MEMBERS.items() for name in names}


def form(flags: Any) -> type:
    """A dataclass with the fields of `flags`, with its configuration's fields in one dataclass per group.

    Args:
        flags: the defaults, an instance of `flags.TrainFlags` or a subclass.
    """
    groups: dict[str, list[tuple]] = {group: [] for group in TITLES}
    alone: list[tuple] = []
    order = list(_OF_FIELD)
    for owner, one, value in _leaves(flags):
        made = (one.name, _annotation(owner, one), field(default=value))
        into = groups[_OF_FIELD.get(one.name, _OF_CLASS[owner])] if owner in _OF_CLASS else alone
        into.append(made)
    for group, members in groups.items():
        members.sort(key=lambda made: order.index(made[0]) if made[0] in order else len(order))
        kind = make_dataclass(group.title(), members, frozen=True)
        kind.__doc__ = TITLES[group]
        alone.append((group, kind, field(default_factory=kind)))
    return make_dataclass("Form", alone, frozen=True)


def plain(kind: type[T]) -> type[T]:
    """The same dataclass, with help texts that say what happens without a flag instead of "None"."""
    members = [
        (one.name, _annotation(kind, one), field() if one.default is MISSING else field(default=one.default))
        for one in fields(kind)  # type: ignore[arg-type]
    ]
    return make_dataclass(kind.__name__, members, bases=(kind,), frozen=True)


def fill(kind: type[T], filled: Any) -> T:
    """The flags as a `kind`, from a filled-in `form`.

    Raises:
        UserError: a value is out of range.
    """
    values: dict[str, Any] = {}
    for one in fields(filled):
        value = getattr(filled, one.name)
        values |= vars(value) if one.name in TITLES else {one.name: value}
    return _made(kind, values)


def fill_own(kind: type[T], filled: Any) -> T:
    """`fill` with the default configuration, ignoring configuration flags."""
    return kind(**{one.name: getattr(filled, one.name) for one in fields(filled) if one.name not in TITLES})


def _made(kind: type[T], values: dict[str, Any]) -> T:
    hints = get_type_hints(kind)
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    given = [name for name in names if name not in RECORDED]
    return kind(**{name: _made(hints[name], values) if is_dataclass(hints[name]) else values[name] for name in given})


def _leaves(flags: Any) -> Iterator[tuple[type, Field, Any]]:
    """Every flag: (its dataclass, its field, its value)."""
    for one in fields(flags):
        value = getattr(flags, one.name)
        if is_dataclass(value):
            yield from _leaves(value)
        elif one.name not in RECORDED:
            yield type(flags), one, value


def _annotation(owner: type, one: Field) -> Any:
    """The field's type, with its docstring as the flag's help."""
    text = " ".join((one.metadata.get("help") or texts(owner)[one.name]).split())
    told = tyro.conf.arg(help=text, help_behavior_hint=_default)
    return Annotated[get_type_hints(owner, include_extras=True)[one.name], told]


def _default(label: str) -> str:
    """The end of a flag's help. Help texts of flags that default to None or True explain the default themselves."""
    return "" if label in ("None", "True", "") else f"(default: {label})"


@functools.cache
def texts(kind: type) -> dict[str, str]:
    """The docstring of each field of a dataclass, including inherited ones; generated fields carry their own."""
    found = {}
    for base in kind.__mro__[:-1]:
        if base is NeuronFields:
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for one, following in itertools.pairwise(definition.body):
            match one, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = text
    return found
