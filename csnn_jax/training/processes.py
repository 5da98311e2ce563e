"""How the processes of a job agree; `SingleProcess` is for one, `devices.cluster` for several."""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeVar

import safetensors.numpy

from csnn_jax.runs.checkpoints import State

T = TypeVar("T")


class Beginning(NamedTuple):
    """The state that a job begins with, which the first process sends to the others.

    Attributes:
        done: number of iterations already done.
        unfinished: whether some iterations or the final evaluation remain.
        unevaluated: whether no evaluation was recorded after `done` iterations.
        state: the training state; None: a new trainer's.
    """

    done: int
    unfinished: bool
    unevaluated: bool
    state: State | None

    def to_bytes(self, made: Callable[[], State]) -> bytes:
        """Packs it for other machines, with the initial weights, which they might round differently.

        Args:
            made: returns the state of a new trainer.
        """
        facts = {"done": self.done, "unfinished": self.unfinished, "unevaluated": self.unevaluated}
        state = made() if self.state is None else self.state
        return json.dumps(facts).encode() + b"\n" + safetensors.numpy.save(state)

    @classmethod
    def of(cls, data: bytes) -> "Beginning":
        """Unpacks the result of `to_bytes`."""
        facts, _, state = data.partition(b"\n")
        return cls(**json.loads(facts), state=safetensors.numpy.load(state))


class Processes(Protocol):
    """How the processes of a job agree and exchange what they need.

    Attributes:
        first: whether this is the first process, the only one that prints, records and writes.
    """

    first: bool

    def each(self, function: Callable[[], T]) -> T:
        """Runs a function in every process. A `UserError` in one is raised in all and names the process."""

    def broadcast(self, function: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> T:
        """Calls a function in the first process and returns its result in all; its `UserError` is raised in all.

        The result is sent to other processes as bytes from `pack`.
        """

    def check_same(self, facts: Callable[[], Mapping[str, str]]) -> None:
        """Checks that all processes have the same facts, by name.

        Raises:
            UserError: they differ; the message names a fact and two processes.
        """

    def maximum(self, value: int) -> int:
        """The maximum of all processes' values, from 0 to 255."""


class SingleProcess:
    """A process that trains a job alone."""

    first = True

    def each(self, function: Callable[[], T]) -> T:
        return function()

    def broadcast(self, function: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> T:
        return function()

    def check_same(self, facts: Callable[[], Mapping[str, str]]) -> None:
        pass

    def maximum(self, value: int) -> int:
        return value
