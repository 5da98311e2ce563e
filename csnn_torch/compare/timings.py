"""What one side of the cost question takes, and whether its seconds are good for a ratio. Imports no framework."""

import itertools
import statistics
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from csnn_jax.markdown import two_digits

BASE = "snntorch"
"""The side that the others are compared with: the loop of snnTorch's tutorials."""
APART = 4 / 3
"""The medians of a side's turns may differ by this factor, a third; else there is no ratio."""
OTHERS = 0.1
"""Other programs may take this share of the processors' time during a turn; else there is no ratio."""

Work = Literal["step", "infer"]


@dataclass
class Rounds:
    """Seconds of all timed rounds of one kind of work, a list for each turn.

    Attributes:
        clock: on the clock.
        processor: of all processors together, as all threads of the side used them; empty where nobody measured it.
    """

    clock: list[list[float]] = field(default_factory=list)
    processor: list[list[float]] = field(default_factory=list)

    @property
    def clock_s(self) -> float:
        """Median seconds on the clock."""
        return statistics.median(itertools.chain(*self.clock))

    @property
    def processor_s(self) -> float | None:
        """Median seconds of processor time."""
        return statistics.median(itertools.chain(*self.processor)) if self.processor else None

    @property
    def range(self) -> tuple[float, float]:
        """The shortest and the longest round on the clock."""
        return min(map(min, self.clock)), max(map(max, self.clock))

    @property
    def apart(self) -> float:
        """How many times as long as the fastest turn's median the slowest turn's is."""
        medians = [statistics.median(turn) for turn in self.clock]
        return max(medians) / min(medians)

    def __str__(self) -> str:
        processor = "" if self.processor_s is None else f" ({two_digits(self.processor_s)} s of CPU time)"
        return f"{two_digits(self.clock_s)} s{processor}"


@dataclass(frozen=True)
class Speed:
    """How many times as fast as the base a side is, on the clock.

    Attributes:
        ratio: None where the seconds are not good for one.
        why: the reason, in words.
    """

    ratio: float | None
    why: str | None = None

    def __str__(self) -> str:
        return f"none: {self.why}" if self.ratio is None else two_digits(self.ratio)

    def as_json(self) -> float | str:
        """Its two digits, or that there is none and why."""
        return str(self) if self.ratio is None else float(str(self))


@dataclass
class Cost:
    """The time and memory that one side takes.

    Attributes:
        failed: why it could not be measured; the rest is then empty.
        step, infer: the timed training iterations and inference batches.
        first_step, first_infer: seconds of the very first ones, with an empty compilation cache.
        others: share of the processors' time that other programs took during each turn; empty where the system does
            not tell.
        predictions, densities: of the inference batch, at the run's weights.
    """

    side: str
    failed: str | None = None
    description: str = ""
    step: Rounds = field(default_factory=Rounds)
    infer: Rounds = field(default_factory=Rounds)
    first_step: float = 0.0
    first_infer: float = 0.0
    peak_memory_mb: int = 0
    others: list[float] = field(default_factory=list)
    predictions: list[int] = field(default_factory=list)
    densities: dict[str, float] = field(default_factory=dict)

    @property
    def compile_s(self) -> float:
        """Seconds that the first training iteration took longer than the median one."""
        return max(0.0, self.first_step - self.step.clock_s)

    def rounds(self, work: Work) -> Rounds:
        """Those of a kind of work."""
        return self.step if work == "step" else self.infer

    def unsteady(self, work: Work) -> str | None:
        """Why no ratio can be made of its seconds; None: one can."""
        if max(self.others, default=0.0) > OTHERS:
            return f"the machine was busy, other programs took {max(self.others):.0%} of it".replace("%", " %")
        if (apart := self.rounds(work).apart) > APART:
            return f"turns differ by a factor of {two_digits(apart)}"
        return None

    def speed(self, base: "Cost", work: Work) -> Speed:
        """Of this side, compared with the base."""
        for side in (self, base):
            if why := side.unsteady(work):
                return Speed(None, why if side is self else f"{readable(base.side)}: {why}")
        return Speed(base.rounds(work).clock_s / self.rounds(work).clock_s)

    def __str__(self) -> str:
        if self.failed:
            return f"{self.side}: not measured: {self.failed}"
        return f"{self.side}: iteration {self.step}, inference batch {self.infer}, {self.peak_memory_mb} MB"

    def as_json(self) -> dict[str, Any]:
        """All fields, the medians, and why there is no ratio."""
        if self.failed:
            return {"side": self.side, "failed": self.failed}
        medians = {
            "step_s": self.step.clock_s,
            "step_processor_s": self.step.processor_s,
            "infer_s": self.infer.clock_s,
            "infer_processor_s": self.infer.processor_s,
            "compile_s": round(self.compile_s, 3),
        }
        return asdict(self) | medians | {"no_ratio": {"step": self.unsteady("step"), "infer": self.unsteady("infer")}}


def readable(side: str) -> str:
    """A side's name for readers."""
    return side.replace("snntorch", "snnTorch") if side.startswith("snntorch") else f"csnn_jax {side}"
