"""How the processes of a job agree. Alone, a process agrees with itself; `devices.cluster` is for several."""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeVar

import safetensors.numpy

from csnn_jax.runs.checkpoints import State

T = TypeVar("T")


class Beginning(NamedTuple):
    """The state that a job begins with, as its first process tells the others.

    Attributes:
        done: iterations done before.
        open: whether iterations or the final evaluation are left to do.
        owed: whether the network was not evaluated after `done` iterations; it may not be due.
        state: the training state; None: that of a trainer that was just made.
    """

    done: int
    open: bool
    owed: bool
    state: State | None

    def to_bytes(self, made: Callable[[], State]) -> bytes:
        """For other machines, which may round the initial weights otherwise: so these are sent, too.

        Args:
            made: gives the state of the trainer that was just made.
        """
        facts = {"done": self.done, "open": self.open, "owed": self.owed}
        state = made() if self.state is None else self.state
        return json.dumps(facts).encode() + b"\n" + safetensors.numpy.save(state)

    @classmethod
    def of(cls, data: bytes) -> "Beginning":
        """The beginning that `to_bytes` wrote."""
        facts, _, state = data.partition(b"\n")
        return cls(**json.loads(facts), state=safetensors.numpy.load(state))


class Processes(Protocol):
    """How the processes of a job agree and exchange what they need.

    Attributes:
        first: whether this is the first one, which alone prints, records and writes.
    """

    first: bool

    def each(self, function: Callable[[], T]) -> T:
        """Runs a function in every process. A `UserError` of one is raised in all, and names the process."""
        ...

    def broadcast(self, function: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> T:
        """The result of a function that the first process calls, in all processes; its `UserError` is raised in all.

        Where there are others, it is sent to them as the bytes that `pack` makes of it.
        """
        ...

    def check_same(self, facts: Callable[[], Mapping[str, str]]) -> None:
        """Whether all processes have the same facts, each by its name.

        Raises:
            UserError: they have not; names a fact and two processes.
        """
        ...

    def maximum(self, value: int) -> int:
        """The maximum of all processes' values, from 0 to 255."""
        ...


class SingleProcess:
    """A process that trains a job by itself, and so agrees with itself."""

    first = True

    def each(self, function: Callable[[], T]) -> T:
        return function()

    def broadcast(self, function: Callable[[], T], pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> T:
        return function()

    def check_same(self, facts: Callable[[], Mapping[str, str]]) -> None:
        pass

    def maximum(self, value: int) -> int:
        return value
