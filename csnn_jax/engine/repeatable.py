"""Finds what could give a function other bits on another processor, by reading its jaxpr.

Compilers fuse a product and a sum into one multiply-add on some processors, XLA's own exponentials and logarithms are
polynomials that change with its version, and it replaces divisions by constants by products in some places
(csnn_jax/network/rounding.py avoids all of these). It splits long sums between threads and vector lanes
(csnn_jax/engine/fixed.py doesn't).
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from jax.interpreters.partial_eval import dce_jaxpr

MOST = 128
"""The most floats that XLA adds in the same order everywhere."""

_PRODUCTS = {"mul", "integer_pow", "square"}
_SUMS = {"add", "sub", "add_any", "reduce_sum", "cumsum", "reduce_window_sum", "scatter-add", "scatter-sub"}
_CONTRACTIONS = {"dot_general", "conv_general_dilated", "ragged_dot_general"}
_APPROXIMATIONS = {
    *("exp", "exp2", "expm1", "log", "log1p", "logistic", "tanh", "pow", "rsqrt", "cbrt", "sin", "cos", "tan"),
    *("asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "erfc", "erf_inv"),
    *("lgamma", "digamma", "cumlogsumexp", "cumprod", "reduce_prod"),
}
_ROUNDED = {"max", "min", "div", "sqrt", "ffi_call"}
"""Operations that no compiler merges with a product before them: `rounding.rounded` is a maximum."""


class _Value(NamedTuple):
    """What is known about an array.

    Attributes:
        product: the place in the source of a product that it may be, unrounded; None: it's rounded.
        number: its elements, if all are the same number, known before the function runs.
        flags: whether its elements are only 0 and 1, so products with it are exact.
        folded: whether it depends on no argument, so XLA computes it when it compiles the function.
    """

    product: str | None = None
    number: float | None = None
    flags: bool = False
    folded: bool = False


def problems(function: Callable, *arguments: Any) -> list[str]:
    """What could make a function's results differ between processors, one line for each place in its source.

    Args:
        function: a training step, or any function of arrays. Operations of the event engine are repeatable, and so are
            sums that don't round, if they are in the scope `exact` (`jax.named_scope`).
        arguments: as the function takes them; only their shapes and types matter.

    Returns:
        Lines such as `train.py:12:9 (update): add adds the product of train.py:12:13 (update), which isn't rounded`, in
            the order of the operations; none if the function is repeatable.
    """
    jitted = function if isinstance(function, jax.stages.Wrapped) else jax.jit(function)
    closed = jitted.trace(*arguments).jaxpr
    jaxpr, _ = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), True)  # gradients that nothing uses
    reader = _Reader()
    reader.read(ClosedJaxpr(jaxpr, closed.consts), [_Value()] * len(jaxpr.invars), "")
    return list(reader.lines)


def check(function: Callable, *arguments: Any) -> None:
    """Raises ValueError, naming the first of the `problems`, if there are any."""
    if lines := problems(function, *arguments):
        others = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise ValueError(f"{lines[0]}{others}; expected only what csnn_jax.engine.repeatable allows")


class _Reader:
    """Reads jaxprs, and collects a line for each problem."""

    def __init__(self) -> None:
        self.lines: dict[str, None] = {}

    def read(self, closed: ClosedJaxpr, values: Sequence[_Value], scope: str) -> list[_Value]:
        """Reads a function, given what is known about its arguments; returns what is known about its results."""
        jaxpr = closed.jaxpr
        known: dict[Var, _Value] = dict(zip(jaxpr.constvars, map(_of_constant, closed.consts), strict=True))
        known |= dict(zip(jaxpr.invars, values, strict=True))

        def value(atom: Any) -> _Value:
            return _of_constant(atom.val) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            path = f"{scope}/{equation.source_info.name_stack}"
            results = self._equation(equation, [value(atom) for atom in equation.invars], path)
            known |= dict(zip(equation.outvars, results, strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: JaxprEqn, values: list[_Value], scope: str) -> list[_Value]:
        name, results = equation.primitive.name, len(equation.outvars)
        if name in ("scan", "while"):
            return self._loop(equation, values, scope)
        if name == "cond":
            branches = [self.read(branch, values[1:], scope) for branch in equation.params["branches"]]
            return [_Value(_product_of(each)) for each in zip(*branches, strict=True)]
        if inner := _called(equation):
            return self.read(inner, values, scope)
        exact = re.search(r"[/(]exact[/)]", scope + "/") and "transpose(" not in scope
        if exact or not any(jnp.issubdtype(_aval(var).dtype, jnp.inexact) for var in equation.outvars):
            return [_Value(folded=_are_folded(values))] * results
        if problem := _problem(equation, values):
            self.lines[f"{_place(equation)}: {name} {problem}"] = None
        return [_result(equation, values)._replace(folded=_are_folded(values))] * results

    def _loop(self, equation: JaxprEqn, values: list[_Value], scope: str) -> list[_Value]:
        """A loop, read twice, because what an iteration returns enters the next one."""
        if equation.primitive.name == "scan":
            body = equation.params["jaxpr"]
            constants, carried = _scan_operands(equation.params)
        else:
            body, constants = equation.params["body_jaxpr"], equation.params["body_nconsts"]
            values = values[equation.params["cond_nconsts"] :]
            carried = len(values) - constants
        for _ in range(2):
            results = self.read(body, values, scope)
            after = constants + carried
            carry = zip(values[constants:after], results[:carried], strict=True)
            merged = [_Value(_product_of(both)) for both in carry]
            values = [*values[:constants], *merged, *values[after:]]
        return results


def _scan_operands(params: Mapping[str, Any]) -> tuple[int, int]:
    """The number of constants and of carried values among the operands of a scan; its inputs follow."""
    if "ft_in" in params:  # since JAX 0.12
        constants, carry, _ = params["ft_in"].unpack()
        return len(constants), len(carry)
    return params["num_consts"], params["num_carry"]


def _called(equation: JaxprEqn) -> ClosedJaxpr | None:
    """The function that an equation calls with its own operands; None if it calls none."""
    functions = [equation.params[name] for name in ("jaxpr", "call_jaxpr", "call") if name in equation.params]
    function = functions[0] if functions else None
    return ClosedJaxpr(function, ()) if isinstance(function, Jaxpr) else function


def _problem(equation: JaxprEqn, values: list[_Value]) -> str | None:
    """Why a float operation isn't repeatable; None if it is."""
    name = equation.primitive.name
    if name in _APPROXIMATIONS:
        return "is approximated by XLA or a library"
    if name in _CONTRACTIONS:
        return "adds products that aren't rounded"
    if name == "div" and values[1].number is not None and not _is_exact(values[1].number):
        return "divides by a constant"
    if name in _SUMS and not any(value.number == 0 for value in values) and (product := _product_of(values)):
        return f"adds the product of {product}, which isn't rounded"
    if name == "reduce_sum":
        terms = math.prod(_aval(equation.invars[0]).shape) // max(1, math.prod(_aval(equation.outvars[0]).shape))
        if terms > MOST:
            return f"adds {terms} floats"
        if terms > 2 and values[0].folded:
            return "adds constants, which XLA does when it compiles, in another order"
    return None


def _result(equation: JaxprEqn, values: list[_Value]) -> _Value:
    """What is known about the result of an operation."""
    name, product = equation.primitive.name, _product_of(values)
    if name in _PRODUCTS:
        exact = any(value.flags or _is_exact(value.number) for value in values) and len(values) == 2
        return _Value(product if exact else _place(equation))
    if name in ("add", "sub") and any(value.number == 0 for value in values):
        return _Value(product)
    if name in _SUMS or name in _CONTRACTIONS or name in _APPROXIMATIONS or name in _ROUNDED:
        return _Value()
    source = values[0] if len(values) == 1 else _Value()  # such as a reshape
    is_flag = name == "convert_element_type" and _aval(equation.invars[0]).dtype == bool
    return _Value(product, source.number, source.flags or is_flag)


def _are_folded(values: Iterable[_Value]) -> bool:
    return all(value.folded for value in values)


def _product_of(values: Iterable[_Value]) -> str | None:
    """The first product among values."""
    return next((value.product for value in values if value.product), None)


def _aval(atom: Any) -> Any:
    """The shape and type of an operand or a result."""
    return atom.aval


def _place(equation: JaxprEqn) -> str:
    """The line of the caller's code that an operation comes from."""
    return source_info_util.summarize(equation.source_info) or "?"


def _of_constant(array: Any) -> _Value:
    """What is known about a constant array."""
    shape = jnp.shape(array)
    if not jnp.issubdtype(jnp.result_type(array), jnp.inexact) or math.prod(shape) != 1:
        return _Value(folded=True)
    number = float(jnp.reshape(array, ()))
    return _Value(number=number, flags=number in (0, 1), folded=True)


def _is_exact(number: float | None) -> bool:
    """Whether products with a number, and quotients by it, don't round: powers of two."""
    return number is not None and math.isfinite(number) and math.frexp(abs(number))[0] in (0, 0.5)
