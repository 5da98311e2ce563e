"""Causes of differences between networks: what a program computes differently. Imports no framework."""

import functools
import operator
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

from csnn_jax.neurons.neuron import MEMBRANE, Neuron, Operations, Reset, State, Values

Subject = Literal[
    "threshold", "reset", "leak", "input", "delay", "weights", "pools", "decay", "time step", "scale", "spikes",
    "rounding", "precision", "other",
]  # fmt: skip
"""What a cause changes, in order of preference if several causes explain the same; `other`: the other network's."""


class Moment(NamedTuple):
    """What a step of neurons starts from.

    Attributes:
        kind: the neurons.
        ops: the array library.
        values: their parameters.
        state: their state after the step before.
        currents: their input: one current, unless they add several one by one.
        reset: their reset.
    """

    kind: Neuron
    ops: Operations
    values: Values
    state: State
    currents: tuple[Any, ...]
    reset: Reset

    @property
    def current(self) -> Any:
        """Their input in all."""
        return functools.reduce(operator.add, self.currents)

    def step(self) -> State:
        """The neurons' own step: the state after it."""
        return self.kind.step(self.ops, self.values, self.state, self.currents, self.reset)

    def without_leak(self) -> "Moment":
        """The same with a beta of 1."""
        return self._replace(values={**self.values, "beta": 0 * self.values["beta"] + 1})

    def without_subtraction(self) -> "Moment":
        """The same without a reset that subtracts, for `subtracted`."""
        return self._replace(reset="none") if self.reset == "subtract" else self

    def subtracted(self, after: State) -> State:
        """A state after the step, less the threshold if the state before it fired and the reset subtracts."""
        if self.reset != "subtract":
            return after
        threshold = self.kind.threshold(self.values, self.state)
        fired = self.ops.fired(self.state[MEMBRANE], threshold)
        return after | {MEMBRANE: after[MEMBRANE] - self.ops.masked(fired, threshold)}


Step = Callable[[Moment], State]
"""A step of neurons: the state after it, not yet reset by its own spike."""


class Cause(NamedTuple):
    """A difference between programs.

    Attributes:
        text: what the other program does, in a few words.
        subject: what it changes.
        change: returns a `first_difference.simulation.Network` that is computed that way; raises UserError if it can't
            be.
    """

    text: str
    subject: Subject
    change: Callable[[Any], Any]


def changes(text: str, subject: Subject, field: str, change: Callable[[Any], Any]) -> Cause:
    """A cause that changes one field of a network.

    Args:
        text: see `Cause`.
        subject: see `Cause`.
        field: the field's name.
        change: maps its value to the new one.
    """
    return Cause(text, subject, lambda network: replace(network, **{field: change(getattr(network, field))}))


def steps(text: str, subject: Subject, change: Callable[[Step, Moment], State]) -> Cause:
    """A cause that changes the step of all neurons: (their step, what it starts from) -> the state after it."""
    return changes(text, subject, "step", lambda step: partial(change, step))


def decays(text: str, function: Callable[[Any], Any], subject: Subject = "decay") -> Cause:
    """A cause that changes the decays of all neurons."""
    return changes(text, subject, "decays", lambda before: lambda decay: function(before(decay)))
