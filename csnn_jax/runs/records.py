"""The records of a training whose run directory isn't made yet."""

from typing import Any


class Records:
    """Holds what `metrics.jsonl` of a run holds: one object for each thing that happened.

    Attributes:
        all: the records, in order.
    """

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def record(self, kind: str, **values: Any) -> None:
        """Appends one object."""
        self.all.append({"kind": kind, **values})

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """All objects, or those of one kind."""
        return [record for record in self.all if kind in (None, record["kind"])]
