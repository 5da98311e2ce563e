"""Generates `neurons.h`, the network's neurons in C, by tracing their step in `csnn_jax.neurons`."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from csnn_jax.config.network import ModelConfig
from csnn_jax.neurons.neuron import MEMBRANE, Reset
from csnn_jax.runs.layouts import Tensors
from export.c.text import array, literal, table

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


_ARGUMENTS = "struct neurons p, float *states, int32_t c, float current, float unit"


def header(config: ModelConfig, tensors: Tensors) -> Iterator[str]:
    """`neurons.h`, in pieces."""
    resets = list(dict.fromkeys(config.resets))
    yield f"""\
/*
 * The neurons of this network: {config.kind.description}.
 * Generated from csnn_jax/neurons. Included by csnn.c only.
 *
 * p: the layer's parameters.
 * states: a pixel's part of csnn_state.value; a neuron's states are CSNN_NEURONS floats apart.
 * c: the neuron's channel.
 * unit: a 1 that the compiler can't see, see csnn.c.
 */

"""
    yield from _parameters(config, tensors, resets)
    yield from (_step(config, reset) for reset in resets)
    *others, last = (f"step_{reset}(p, states, c, current, unit)" for reset in resets)
    branches = "".join(f"if (p.reset == {number}) {call};\n    else " for number, call in enumerate(others))
    yield f"""
/* One time step of a neuron; updates its states. */
static inline void step({_ARGUMENTS})
{{
    {branches}{last};
}}

/* Whether a neuron spikes, from its states after the step. */
static inline bool spikes(struct neurons p, const float *states, int32_t c)
{{
{_spikes(config)}}}
"""


def _parameters(config: ModelConfig, tensors: Tensors, resets: Sequence[Reset]) -> Iterator[str]:
    """`struct neurons` and its values for all layers; with a `reset` field if there are several resets."""
    kinds = {name: "const float *" if name in config.per_channel else "float " for name in config.kind.parameters}
    fields = [f"{kind}{name};" for name, kind in kinds.items()]
    if len(resets) > 1:
        fields.append(f"int32_t reset; /* {', '.join(f'{number}: {reset}' for number, reset in enumerate(resets))} */")
    yield f"struct neurons {{\n{_indented(fields)}}};\n"
    rows = []
    for node in config.graph.neurons:
        row = []
        for name, value in node.operation.values(tensors).items():
            if name in config.per_channel:
                row.append(f"{node.name}_{name}")
                # An integrator's threshold is a single value even so.
                yield from array("float", row[-1], np.broadcast_to(value, node.operation.channels))
            else:
                row.append(literal(value))
        if len(resets) > 1:
            row.append(str(resets.index(node.operation.reset)))
        rows.append(", ".join(row))
    yield table("neurons neurons[CSNN_LAYERS]", rows)


def _values(config: ModelConfig) -> dict[str, Expression]:
    each = {name: Expression(f"p.{name}[c]", local=name) for name in config.per_channel}
    return {name: each.get(name, Expression(f"p.{name}")) for name in config.kind.parameters}


def _state(config: ModelConfig) -> dict[str, Expression]:
    return {
        name: Expression(f"states[CSNN_STATE_{name.upper()} * CSNN_NEURONS + c]", local=name)
        for name in config.kind.states
    }


def _step(config: ModelConfig, reset: Reset) -> str:
    """The step with one kind of reset. All new values are computed before the first one is stored."""
    state = _state(config)
    after = config.kind.step(Operations(), _values(config), state, (Expression("current"),), reset)
    body = _Body(*after.values())
    stores = [f"{state[name].form} = {body.text(after[name])};" for name in config.kind.states]
    used = "".join(body.lines + stores)
    unused = [f"(void){name};" for name in ("p", "current", "unit") if not re.search(rf"\b{name}\b", used)]
    equations = "".join(f" *     {line}\n" for line in config.kind.equations[reset])
    return f"""
/*
 * Reset {reset}:
{equations} */
static inline void step_{reset}({_ARGUMENTS})
{{
{_indented(body.lines, stores, unused)}}}
"""


def _spikes(config: ModelConfig) -> str:
    state = _state(config)
    threshold = config.kind.threshold(_values(config), state)
    body = _Body(state[MEMBRANE], threshold)
    returned = f"return {body.text(state[MEMBRANE])} > {body.text(threshold)};"
    return _indented(body.lines, [returned])


def _indented(*lines: Sequence[str]) -> str:
    return "".join(f"    {line}\n" for some in lines for line in some)
