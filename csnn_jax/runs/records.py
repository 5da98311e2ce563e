"""The records of training without a run directory."""

from typing import Any


class Records:
    """Holds the same objects as a run's `metrics.jsonl`, in memory.

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
