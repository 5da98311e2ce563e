"""How the processes of a job agree. Alone, a process agrees with itself; `devices.cluster` is for several."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

T = TypeVar("T")


class Processes(Protocol):
    """The processes of a job.

    Attributes:
        first: whether this is the first one, which alone prints, records and writes.
    """

    first: bool

    def each(self, function: Callable[[], T]) -> T:
        """Runs a function in every process. A `UserError` of one is raised in all, and names the process."""
        ...

    def of_first(self, function: Callable[[], bytes]) -> bytes:
        """What a function gives in the first process, for all; its `UserError` is raised in all."""
        ...

    def check_same(self, facts: Mapping[str, str]) -> None:
        """Whether all processes have the same facts.

        Raises:
            UserError: they have not; names a fact and two processes.
        """
        ...

    def greatest(self, value: int) -> int:
        """The greatest of all processes' values, from 0 to 255."""
        ...


class Alone:
    """The one process of a job."""

    first = True

    def each(self, function: Callable[[], T]) -> T:
        return function()

    def of_first(self, function: Callable[[], bytes]) -> bytes:
        return function()

    def check_same(self, facts: Mapping[str, str]) -> None:
        pass

    def greatest(self, value: int) -> int:
        return value
