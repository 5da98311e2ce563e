"""Generates `neurons.h`, the network's neurons in C, by tracing their step in `csnn_jax.neurons`."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from csnn_jax.config.graph import NeuronNode
from csnn_jax.config.network import ModelConfig
from csnn_jax.neurons.neuron import MEMBRANE, Neuron, Reset
from csnn_jax.runs.layouts import Tensors
from export.c.layout import per_channel
from export.c.text import array, identifiers, literal, table

CHOICE, SUM, PRODUCT, NAME = range(4)
"""Precedence of C's operators, ascending."""


@dataclass(frozen=True, eq=False)
class Expression:
    """A float in C: a name, or an operation on other expressions.

    Attributes:
        form: C, with `{}` for each operand.
        operands: the expressions it's computed from.
        binds: precedence of its operator.
        local: prefix of the local variable that holds it; "": none, unless it's used more than once.
    """

    form: str
    operands: tuple["Expression", ...] = ()
    binds: int = NAME
    local: str = ""

    def __add__(self, other: "Expression | float") -> "Expression":
        return _operation(SUM, "{} + {}", self, other)

    def __radd__(self, other: float) -> "Expression":
        return _operation(SUM, "{} + {}", other, self)

    def __sub__(self, other: "Expression | float") -> "Expression":
        return _operation(SUM, "{} - {}", self, other)

    def __rsub__(self, other: float) -> "Expression":
        return _operation(SUM, "{} - {}", other, self)


def _operation(binds: int, form: str, *operands: Expression | float, local: str = "") -> Expression:
    made = (one if isinstance(one, Expression) else Expression(literal(one)) for one in operands)
    return Expression(form, tuple(made), binds, local)


class Operations:
    """The operations of a neuron's step in C, see `csnn_jax.neurons.neuron`; `fired` is 1.0f or 0.0f."""

    def fired(self, membrane: Expression, threshold: Expression) -> Expression:
        """Whether a membrane is above the threshold."""
        return _operation(CHOICE, "{} > {} ? 1.0f : 0.0f", membrane, threshold, local="fired")

    def masked(self, fired: Expression, x: Expression) -> Expression:
        """x if the neuron fired, else 0: an exact product, without a branch."""
        return _operation(PRODUCT, "{} * {}", fired, x)

    def decayed(self, factor: Expression, x: Expression) -> Expression:
        """The product, rounded before anything is added; csnn.c says why it's multiplied by 1."""
        return _operation(PRODUCT, "unit * ({} * {})", factor, x)


class _Body:
    """The statements that compute some expressions.

    Args:
        results: the expressions. Shared operands are computed once.

    Attributes:
        lines: the statements needed before one that uses the `text` of a result.
    """

    def __init__(self, *results: Expression):
        self.lines: list[str] = []
        self._uses: Counter[Expression] = Counter()
        self._locals: dict[Expression, str] = {}
        for one in results:
            self._count(one)

    def _count(self, one: Expression) -> None:
        self._uses[one] += 1
        if self._uses[one] == 1:
            for operand in one.operands:
                self._count(operand)

    def text(self, one: Expression) -> str:
        """C for an expression; adds the statements it needs to `lines`."""
        if one in self._locals:
            return self._locals[one]
        code = one.form.format(*(self._operand(one, place) for place in range(len(one.operands))))
        shared = one.operands and self._uses[one] > 1
        if not one.local and not shared:
            return code
        name = f"{one.local or 'term'}{len(self._locals)}"  # the number avoids C's keywords and other names
        self.lines.append(f"const float {name} = {code};")
        self._locals[one] = name
        return name

    def _operand(self, one: Expression, place: int) -> str:
        operand = one.operands[place]
        text = self.text(operand)
        tight = operand in self._locals or operand.binds > one.binds or (operand.binds == one.binds and place == 0)
        return text if tight else f"({text})"


_ARGUMENTS = "struct neurons p, float *states, int32_t c, const float *current, float unit"


class Rule(NamedTuple):
    """A step of neurons.

    Attributes:
        kind: the neuron model.
        reset: its reset.
        currents: how many it adds to the state, one by one.
    """

    kind: Neuron
    reset: Reset
    currents: int

    @classmethod
    def of(cls, neurons: NeuronNode) -> "Rule":
        """The rule of a layer."""
        one = neurons.operation
        return cls(one.kind, one.reset, len(neurons.inputs) if one.separate else 1)


def header(config: ModelConfig, tensors: Tensors) -> Iterator[str]:
    """`neurons.h`, in pieces."""
    rules = _names(dict.fromkeys(map(Rule.of, config.graph.neurons)))
    yield f"""\
/*
 * The neurons of this network: {"; ".join(kind.description for kind in config.kinds)}.
 * Generated from csnn_jax/neurons. Included by csnn.c only.
 *
 * p: the layer's parameters.
 * states: a pixel's part of csnn_state.value; a neuron's states are CSNN_NEURONS floats apart.
 * c: the neuron's channel.
 * current: its input; if several are added one by one, they're CSNN_LANES floats apart.
 * unit: a 1 that the compiler can't see, see csnn.c.
 */

"""
    yield from _parameters(config, tensors, rules)
    yield from (_step(config, rule, name) for rule, name in rules.items())
    *others, last = (f"step_{name}(p, states, c, current, unit)" for name in rules.values())
    branches = "".join(f"if (p.rule == {number}) {call};\n    else " for number, call in enumerate(others))
    yield f"""
/* One time step of a neuron; updates its states. */
static inline void step({_ARGUMENTS})
{{
    {branches}{last};
}}

/* Whether a neuron spikes, from its states after the step. */
static inline bool spikes(struct neurons p, const float *states, int32_t c)
{{
{_indented(_spikes(config, [*rules]))}}}
"""


def _names(rules: Iterable[Rule]) -> dict[Rule, str]:
    """A name for each rule: its reset, with what else differs."""
    columns = [*zip(*((rule.reset, str(rule.kind), str(rule.currents)) for rule in rules), strict=True)]
    columns = [columns[0], *(column for column in columns[1:] if len(set(column)) > 1)]
    return dict(zip(rules, map("_".join, zip(*columns, strict=True)), strict=True))


def _parameters(config: ModelConfig, tensors: Tensors, rules: Mapping[Rule, str]) -> Iterator[str]:
    """`struct neurons` and its values for all layers; with a `rule` field if there are several `rules`."""
    wide, numbered = per_channel(config), list(rules)
    fields = list(dict.fromkeys(name for kind in config.kinds for name in kind.parameters))
    lines = [f"{'const float *' if name in wide else 'float '}{name};" for name in fields]
    if len(rules) > 1:
        meaning = ", ".join(f"{number}: {name}" for number, name in enumerate(rules.values()))
        lines.append(f"int32_t rule; /* {meaning} */")
    yield f"struct neurons {{\n{_indented(lines)}}};\n"
    rows, nodes = [], config.graph.neurons
    for node, identifier in zip(nodes, identifiers(node.name for node in nodes), strict=True):
        row, values = [], node.operation.values(tensors)
        for name in fields:
            if name not in values:
                row.append("NULL" if name in wide else "0.0f")
            elif name in wide:
                row.append(f"{identifier}_{name}")
                # Other layers may have a single value.
                yield from array("float", row[-1], np.broadcast_to(values[name], node.operation.channels))
            else:
                row.append(literal(values[name]))
        if len(rules) > 1:
            row.append(str(numbered.index(Rule.of(node))))
        rows.append(", ".join(row))
    yield table("neurons neurons[CSNN_LAYERS]", rows)


def _values(config: ModelConfig, kind: Neuron) -> dict[str, Expression]:
    each = {name: Expression(f"p.{name}[c]", local=name) for name in per_channel(config)}
    return {name: each.get(name, Expression(f"p.{name}")) for name in kind.parameters}


def _state(kind: Neuron) -> dict[str, Expression]:
    return {
        name: Expression(f"states[CSNN_STATE_{name.upper()} * CSNN_NEURONS + c]", local=name) for name in kind.states
    }


def _step(config: ModelConfig, rule: Rule, name: str) -> str:
    """The step with one rule. All new values are computed before the first one is stored."""
    kind, state = rule.kind, _state(rule.kind)
    currents = [Expression("current[0]"), *(Expression(f"current[{k} * CSNN_LANES]") for k in range(1, rule.currents))]
    after = kind.step(Operations(), _values(config, kind), state, currents, rule.reset)
    body = _Body(*after.values())
    stores = [f"{state[name].form} = {body.text(after[name])};" for name in kind.states]
    used = "".join(body.lines + stores)
    unused = [f"(void){name};" for name in ("p", "current", "unit") if not re.search(rf"\b{name}\b", used)]
    equations = "".join(f" *     {line}\n" for line in kind.equations[rule.reset])
    separate = f", with {rule.currents} currents I[t], added from left to right" if rule.currents > 1 else ""
    return f"""
/*
 * Reset {rule.reset}{separate}:
{equations} */
static inline void step_{name}({_ARGUMENTS})
{{
{_indented(body.lines, stores, unused)}}}
"""


def _spikes(config: ModelConfig, rules: Sequence[Rule]) -> list[str]:
    """The statements of `spikes`; they depend on the rule only if neuron models differ in their thresholds."""
    bodies = []
    for rule in rules:
        state = _state(rule.kind)
        threshold = rule.kind.threshold(_values(config, rule.kind), state)
        made = _Body(state[MEMBRANE], threshold)
        returned = f"return {made.text(state[MEMBRANE])} > {made.text(threshold)};"
        bodies.append([*made.lines, returned])
    if all(body == bodies[0] for body in bodies):
        return bodies[0]
    *others, last = bodies
    lines = []
    for number, body in enumerate(others):
        lines += [f"if (p.rule == {number}) {{", *(f"    {line}" for line in body), "}"]
    return lines + last


def _indented(*lines: Sequence[str]) -> str:
    return "".join(f"    {line}\n" for some in lines for line in some)
